"""Finalists: nominated from the search, trained and exported, then verified or rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from autocompress.core.outcome import RUNG_FINALIST, Candidate, Measurements
from autocompress.errors import StoreError
from autocompress.store import candidates as rows
from autocompress.store import front
from autocompress.store.outcomes import storable, write_measurements
from autocompress.store.rows import Artifact, Finalist
from autocompress.store.schema import artifacts, candidates, finalists, measurements


def nominate(connection: Connection, study_id: int, *, numbers: Sequence[int]) -> None:
    """Add candidates to the finalists, in this order; those nominated before keep their place."""
    for number in numbers:
        _candidate_id(connection, study_id, number, nominate=True)


def conclude(
    connection: Connection,
    study_id: int,
    *,
    number: int,
    verified: bool,
    reason: str,
    found: Measurements,
    files: Sequence[Artifact],
    provenance: Mapping[str, Any],
) -> None:
    """Store how a finalist did, in place of what was concluded before, and derive the front of the finalists."""
    candidate_id = _candidate_id(connection, study_id, number, nominate=number == 0)
    connection.execute(
        update(finalists)
        .where(finalists.c.candidate_id == candidate_id)
        .values(
            state="verified" if verified else "rejected",
            reason=storable(reason),
            provenance=dict(provenance),
            concluded_at=datetime.now(UTC),
        )
    )
    connection.execute(
        delete(measurements).where(measurements.c.candidate_id == candidate_id, measurements.c.rung == RUNG_FINALIST)
    )
    write_measurements(connection, candidate_id, rung=RUNG_FINALIST, found=found)
    connection.execute(delete(artifacts).where(artifacts.c.candidate_id == candidate_id))
    if files:
        connection.execute(
            insert(artifacts),
            [
                {"candidate_id": candidate_id, "path": one.path, "kind": one.kind, "sha256": one.sha256,
                 "bytes": one.bytes}
                for one in files
            ],
        )  # fmt: skip
    front.rebuild(connection, study_id, rung=RUNG_FINALIST)  # a handful of rows, and members may leave it here


def remeasure(connection: Connection, study_id: int, *, concluded: Sequence[Finalist]) -> None:
    """Store finalists that were concluded before as they are now; their files stay theirs."""
    for one in concluded:
        if one.state == "nominated":
            raise StoreError(f"candidate {one.candidate.number} is nominated only; conclude it first")
        conclude(
            connection,
            study_id,
            number=one.candidate.number,
            verified=one.state == "verified",
            reason=one.reason,
            found=one.measurements,
            files=one.artifacts,
            provenance=one.provenance,
        )


def reopen(connection: Connection, study_id: int) -> None:
    """All finalists wait to be concluded again; those that are no evaluated candidates any more are none. What was
    measured of them stays until then, their files stay theirs."""
    lost = (
        select(finalists.c.candidate_id)
        .join(candidates, candidates.c.id == finalists.c.candidate_id)
        .where(finalists.c.study_id == study_id, finalists.c.position > 0, candidates.c.state != "evaluated")
    )
    for table in (artifacts, finalists):
        connection.execute(delete(table).where(table.c.candidate_id.in_(lost.scalar_subquery())))
    connection.execute(
        update(finalists)
        .where(finalists.c.study_id == study_id, finalists.c.position > 0)
        .values(state="nominated", reason="", concluded_at=None)
    )
    front.rebuild(connection, study_id, rung=RUNG_FINALIST)


def listed(connection: Connection, study_id: int) -> list[Finalist]:
    """The finalists by position, the baseline first once it was concluded."""
    found = rows.measured(connection, study_id, rung=RUNG_FINALIST)
    files: dict[int, list[Artifact]] = {}
    kept = (
        select(artifacts)
        .join(finalists, finalists.c.candidate_id == artifacts.c.candidate_id)
        .where(finalists.c.study_id == study_id)
        .order_by(artifacts.c.path)
    )
    for row in connection.execute(kept):
        files.setdefault(row.candidate_id, []).append(Artifact(row.kind, row.path, row.sha256, row.bytes))
    chosen = (
        select(finalists, candidates.c.number, candidates.c.policy)
        .join(candidates, candidates.c.id == finalists.c.candidate_id)
        .where(finalists.c.study_id == study_id)
        .order_by(finalists.c.position)
    )
    return [
        Finalist(
            candidate=Candidate(row.number, rows.policy_of(row)),
            position=row.position,
            state=row.state,
            reason=row.reason,
            provenance=row.provenance,
            measurements=found.get(row.number, ()),
            artifacts=tuple(files.get(row.candidate_id, ())),
        )
        for row in connection.execute(chosen)
    ]


def _candidate_id(connection: Connection, study_id: int, number: int, *, nominate: bool) -> int:
    """The row of a finalist, made if it is to be nominated."""
    row = rows.candidate_row(connection, study_id, number)
    known = select(finalists.c.candidate_id).where(finalists.c.candidate_id == row.id)
    if connection.execute(known).one_or_none() is None:
        if not nominate:
            raise StoreError(f"candidate {number} is no finalist; nominate it first")
        if row.state != "evaluated":
            raise StoreError(f"candidate {number} is {row.state}; only an evaluated candidate can be a finalist")
        connection.execute(
            insert(finalists).values(
                candidate_id=row.id,
                study_id=study_id,
                position=0 if number == 0 else _next_position(connection, study_id),
                state="nominated",
                reason="",
                provenance={},
                nominated_at=datetime.now(UTC),
            )
        )
    return int(row.id)


def _next_position(connection: Connection, study_id: int) -> int:
    """From 1: position 0 is the baseline's."""
    last = connection.execute(
        select(func.max(finalists.c.position)).where(finalists.c.study_id == study_id)
    ).scalar_one()
    return int(last or 0) + 1
