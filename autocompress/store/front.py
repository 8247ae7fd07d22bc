"""The Pareto front of a rung, kept in step with the records.

A new point is compared with the front's members only: what they dominate leaves, and what dominates a former member
dominates whatever that member kept out, so the result is the front of all points.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, and_, delete, insert, select

from autocompress.core.metrics import Direction
from autocompress.core.outcome import RUNG_FINALIST
from autocompress.core.pareto import Point, dominates, oriented
from autocompress.core.pareto import front as non_dominated
from autocompress.store.schema import candidates, finalists, front, measurements, studies

Directions = Mapping[str, Direction]


def enter(connection: Connection, study_id: int, candidate_id: int, *, rung: int, found: Mapping[str, float]) -> None:
    """Put a newly evaluated candidate on the front of its rung if it belongs there."""
    directions = _directions(connection, study_id)
    if not directions.keys() <= found.keys():
        return
    point = oriented(found, directions)
    members = _points(connection, study_id, rung, directions, members_only=True)
    if any(dominates(member, point) for member in members.values()):
        return
    beaten = [member_id for member_id, member in members.items() if dominates(point, member)]
    if beaten:
        connection.execute(delete(front).where(front.c.rung == rung, front.c.candidate_id.in_(beaten)))
    connection.execute(insert(front).values(study_id=study_id, rung=rung, candidate_id=candidate_id))


def members(connection: Connection, study_id: int, *, rung: int) -> list[int]:
    """The numbers of the candidates on the stored front."""
    return list(
        connection.execute(
            select(candidates.c.number)
            .join(front, front.c.candidate_id == candidates.c.id)
            .where(front.c.study_id == study_id, front.c.rung == rung)
            .order_by(candidates.c.number)
        ).scalars()
    )


def derive(connection: Connection, study_id: int, *, rung: int) -> dict[int, int]:
    """Candidate id -> number of the front as the rows say it must be, by number."""
    points = _points(connection, study_id, rung, _directions(connection, study_id), members_only=False)
    ids = list(points)
    kept = {ids[i] for i in non_dominated([points[id_] for id_ in ids])}
    numbered = connection.execute(
        select(candidates.c.id, candidates.c.number)
        .where(candidates.c.study_id == study_id)
        .order_by(candidates.c.number)
    )
    return {id_: number for id_, number in numbered if id_ in kept}


def rebuild(connection: Connection, study_id: int, *, rung: int) -> list[int]:
    """Store the front anew from the rows. Returns its numbers."""
    derived = derive(connection, study_id, rung=rung)
    connection.execute(delete(front).where(front.c.study_id == study_id, front.c.rung == rung))
    if derived:
        connection.execute(
            insert(front), [{"study_id": study_id, "rung": rung, "candidate_id": id_} for id_ in derived]
        )
    return list(derived.values())


def _directions(connection: Connection, study_id: int) -> Directions:
    directions: Directions = connection.execute(
        select(studies.c.objectives).where(studies.c.id == study_id)
    ).scalar_one()
    return directions


def _points(
    connection: Connection, study_id: int, rung: int, directions: Directions, *, members_only: bool
) -> dict[int, Point]:
    """Candidate id -> point, for the members of the stored front or for everyone entitled to be on it."""
    wanted = and_(measurements.c.rung == rung, measurements.c.metric.in_(directions))
    query = select(measurements.c.candidate_id, measurements.c.metric, measurements.c.value)
    if members_only:
        query = query.join(front, front.c.candidate_id == measurements.c.candidate_id)
        query = query.where(front.c.study_id == study_id, front.c.rung == rung, wanted)
    elif rung == RUNG_FINALIST:  # measured and rejected finalists exist, and the baseline is measured for comparison
        query = query.join(finalists, finalists.c.candidate_id == measurements.c.candidate_id)
        query = query.where(finalists.c.study_id == study_id, finalists.c.state == "verified", wanted)
    else:
        query = query.join(candidates, candidates.c.id == measurements.c.candidate_id)
        query = query.where(candidates.c.study_id == study_id, candidates.c.state == "evaluated", wanted)
    found: dict[int, dict[str, float]] = {}
    for candidate_id, metric, value in connection.execute(query):
        found.setdefault(candidate_id, {})[metric] = value
    return {id_: oriented(by, directions) for id_, by in found.items() if len(by) == len(directions)}
