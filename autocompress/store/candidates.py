"""Proposals and candidates: what was asked for, what is being judged, what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from autocompress.core.outcome import (
    Candidate,
    Evaluated,
    Failed,
    Infeasible,
    Measurement,
    Measurements,
    Outcome,
    Proposal,
    Record,
    values,
)
from autocompress.core.policy import BASELINE, CompressionPolicy, Setting
from autocompress.errors import NotFoundError, SpecError, StoreError
from autocompress.store import front
from autocompress.store.outcomes import (
    judged_by,
    measurement,
    outcome_columns,
    outcome_of,
    storable,
    write_measurements,
)
from autocompress.store.rows import Proposed
from autocompress.store.schema import candidates, measurements, proposals

log = logging.getLogger(__name__)


def propose(
    connection: Connection,
    study_id: int,
    generation: int,
    *,
    proposal: Proposal,
    policy: CompressionPolicy,
    rejected: Infeasible | None,
    rung: int,
    provenance: Mapping[str, Any],
) -> Proposed:
    """Log a proposal and start its candidate (or conclude it at once, when it is `rejected`), or find what became of
    it."""
    digest = policy.digest
    known = connection.execute(
        select(candidates).where(candidates.c.study_id == study_id, candidates.c.digest == digest)
    ).one_or_none()
    if known is None:
        number = 0 if policy.is_baseline else _next_number(connection, study_id)
        candidate_id = _insert(connection, study_id, generation, Candidate(number, policy), running=True)
        if rejected is not None:
            finish(
                connection, study_id, number=number, attempt=1, outcome=rejected, rung=rung, seconds=0.0,
                provenance=provenance,
            )  # fmt: skip
        proposed = Proposed(Candidate(number, policy), is_new=True, outcome=rejected)
    else:
        candidate_id = known.id
        outcome = outcome_of(known, judged_by(connection, known))
        proposed = Proposed(Candidate(known.number, policy), is_new=False, outcome=outcome)
    connection.execute(
        insert(proposals).values(
            study_id=study_id,
            number=proposal.number,
            candidate_id=candidate_id,
            parameters=dict(proposal.parameters),
            attributes=dict(proposal.attributes),
            created_at=datetime.now(UTC),
        )
    )
    return proposed


def adopt(
    connection: Connection,
    study_id: int,
    generation: int,
    found: Iterable[Record],
    *,
    points: Mapping[str, Mapping[str, Setting]],
    rung: int,
) -> None:
    """Take over candidates that another study judged, with the outcomes they have here, and the `points` of the space
    at which they lie, by digest: to a sampler of generations these are the first one."""

    def proposed(number: int, one: Record) -> Proposal:
        point, known = points.get(one.candidate.digest), {"adopted": one.candidate.number}
        return Proposal(number, {}, known) if point is None else Proposal(number, point, {**known, "generation": 0})

    taken = ((proposed(number, one), one) for number, one in enumerate(found))
    inherit(connection, study_id, generation, None, taken, rung=rung)


def inherit(
    connection: Connection,
    study_id: int,
    generation: int,
    baseline: Record | None,
    found: Iterable[tuple[Proposal, Record]],
    *,
    rung: int,
) -> None:
    """The same where each is proposed as it says, after the baseline, which nobody proposes."""

    def concluded(number: int, one: Record) -> None:
        if one.outcome is not None:
            finish(
                connection, study_id, number=number, attempt=1, outcome=one.outcome, rung=rung, seconds=one.seconds,
                provenance=one.provenance,
            )  # fmt: skip

    if baseline is not None:
        insert_baseline(connection, study_id, generation)
        restart(connection, study_id, generation, number=0)
        concluded(0, baseline)
    for proposal, one in found:
        proposed = propose(
            connection, study_id, generation, proposal=proposal, policy=one.candidate.policy,
            rejected=None, rung=rung, provenance={},
        )  # fmt: skip
        if proposed.is_new:
            concluded(proposed.candidate.number, one)


def insert_baseline(connection: Connection, study_id: int, generation: int) -> Candidate:
    """Candidate 0, pending until it is started; nothing happens when it is there."""
    baseline = Candidate(0, BASELINE)
    there = select(candidates.c.id).where(candidates.c.study_id == study_id, candidates.c.number == 0)
    if connection.execute(there).one_or_none() is None:
        _insert(connection, study_id, generation, baseline, running=False)
    return baseline


def restart(connection: Connection, study_id: int, generation: int, *, number: int) -> int:
    """Run an unfinished candidate (again). Returns its attempt, from 1."""
    attempt = connection.execute(
        update(candidates)
        .where(
            candidates.c.study_id == study_id,
            candidates.c.number == number,
            candidates.c.state.in_(("pending", "running")),
        )
        .values(state="running", attempt=candidates.c.attempt + 1, generation=generation, started_at=datetime.now(UTC))
        .returning(candidates.c.attempt)
    ).scalar_one_or_none()
    if attempt is None:
        state = _row(connection, study_id, candidates.c.number == number, f"candidate {number}").state
        raise StoreError(f"candidate {number} is {state} already; only one without an outcome can be started again")
    return int(attempt)


def finish(
    connection: Connection,
    study_id: int,
    *,
    number: int,
    attempt: int,
    outcome: Outcome,
    rung: int,
    seconds: float,
    provenance: Mapping[str, Any],
) -> bool:
    """Store what became of a candidate. False, and nothing stored, when it is not running this attempt."""
    candidate_id = connection.execute(
        update(candidates)
        .where(
            candidates.c.study_id == study_id,
            candidates.c.number == number,
            candidates.c.state == "running",
            candidates.c.attempt == attempt,
        )
        .values(
            **outcome_columns(outcome),
            rung=rung,
            seconds=max(0.0, seconds),
            provenance=dict(provenance),
            finished_at=datetime.now(UTC),
        )
        .returning(candidates.c.id)
    ).scalar_one_or_none()
    if candidate_id is None:
        log.warning("candidate %d: a late result of attempt %d was dropped", number, attempt)
        return False
    if not isinstance(outcome, Failed):
        write_measurements(connection, candidate_id, rung=rung, found=outcome.measurements)
    if isinstance(outcome, Evaluated):
        front.enter(connection, study_id, candidate_id, rung=rung, found=values(outcome.measurements))
    return True


def reprice(connection: Connection, study_id: int, found: Iterable[Record]) -> None:
    """Put outcomes in the place of stored ones, measurements and front with them."""
    rungs = set()
    for one in found:
        row = candidate_row(connection, study_id, one.candidate.number)
        rungs.add(row.rung)
        connection.execute(
            delete(measurements).where(measurements.c.candidate_id == row.id, measurements.c.rung == row.rung)
        )
        columns: dict[str, Any] = {"broken_constraint": None, "provenance": dict(one.provenance)}
        if one.outcome is None:
            columns |= {"state": "pending", "attempt": 0, "rung": None, "finished_at": None}
        else:
            columns |= outcome_columns(one.outcome)
        connection.execute(update(candidates).where(candidates.c.id == row.id).values(**columns))
        if isinstance(one.outcome, Evaluated | Infeasible):
            write_measurements(connection, row.id, rung=row.rung, found=one.outcome.measurements)
    for rung in rungs:
        front.rebuild(connection, study_id, rung=rung)


def records(connection: Connection, study_id: int) -> list[Record]:
    """Every candidate by number."""
    found: dict[int, list[Measurement]] = {}
    rows = connection.execute(
        select(measurements)
        .join(candidates, candidates.c.id == measurements.c.candidate_id)
        .where(candidates.c.study_id == study_id, measurements.c.rung == candidates.c.rung)
        .order_by(measurements.c.candidate_id, measurements.c.position)
    )
    for row in rows:
        found.setdefault(row.candidate_id, []).append(measurement(row))
    every = select(candidates).where(candidates.c.study_id == study_id).order_by(candidates.c.number)
    return [_record(row, tuple(found.get(row.id, ()))) for row in connection.execute(every)]


def record(connection: Connection, study_id: int, ref: int | str) -> Record:
    """One candidate by its number or by the beginning of its digest."""
    if isinstance(ref, int):
        row = _row(connection, study_id, candidates.c.number == ref, f"candidate {ref}")
    else:
        begins = candidates.c.digest.startswith(storable(ref), autoescape=True)
        row = _row(connection, study_id, begins, f"candidate {ref[:80]!r}")
    return _record(row, judged_by(connection, row))


def measured(connection: Connection, study_id: int, *, rung: int) -> dict[int, Measurements]:
    """Number -> everything measured at a rung, raw samples included."""
    rows = connection.execute(
        select(candidates.c.number, measurements)
        .join(candidates, candidates.c.id == measurements.c.candidate_id)
        .where(candidates.c.study_id == study_id, measurements.c.rung == rung)
        .order_by(candidates.c.number, measurements.c.position)
    )
    found: dict[int, list[Measurement]] = {}
    for row in rows:
        found.setdefault(row.number, []).append(measurement(row))
    return {number: tuple(rest) for number, rest in found.items()}


def log_of_proposals(connection: Connection, study_id: int) -> list[tuple[Proposal, str]]:
    """Every proposal with its candidate's digest, in the order asked."""
    rows = connection.execute(
        select(proposals, candidates.c.digest)
        .join(candidates, candidates.c.id == proposals.c.candidate_id)
        .where(proposals.c.study_id == study_id)
        .order_by(proposals.c.number)
    )
    return [(Proposal(row.number, row.parameters, row.attributes), row.digest) for row in rows]


def candidate_row(connection: Connection, study_id: int, number: int) -> Row[Any]:
    """The row of one candidate. Raises NotFoundError."""
    return _row(connection, study_id, candidates.c.number == number, f"candidate {number}")


def policy_of(row: Row[Any]) -> CompressionPolicy:
    return CompressionPolicy.from_json(row.policy)


def _row(connection: Connection, study_id: int, wanted: ColumnElement[bool], name: str) -> Row[Any]:
    query = select(candidates).where(candidates.c.study_id == study_id, wanted).order_by(candidates.c.number)
    rows = connection.execute(query.limit(4)).all()
    if not rows:
        last = _next_number(connection, study_id) - 1
        raise NotFoundError(f"there is no {name} in this study (allowed: a number from 0 to {last}, or a digest)")
    if len(rows) > 1:
        fits = ", ".join([f"{row.number} ({row.digest})" for row in rows[:3]] + ["..."] * (len(rows) > 3))
        raise SpecError(f"{name} fits more than one: {fits}; write more of the digest")
    return rows[0]


def _next_number(connection: Connection, study_id: int) -> int:
    """From 1: number 0 is the baseline's, whether it is there yet or not."""
    last = connection.execute(
        select(func.max(candidates.c.number)).where(candidates.c.study_id == study_id)
    ).scalar_one()
    return int(last or 0) + 1


def _insert(connection: Connection, study_id: int, generation: int, candidate: Candidate, *, running: bool) -> int:
    now = datetime.now(UTC)
    return int(
        connection.execute(
            insert(candidates)
            .values(
                study_id=study_id,
                number=candidate.number,
                digest=candidate.digest,
                state="running" if running else "pending",
                attempt=1 if running else 0,
                generation=generation,
                seconds=0.0,
                policy=candidate.policy.to_json(),
                provenance={},
                created_at=now,
                started_at=now if running else None,
            )
            .returning(candidates.c.id)
        ).scalar_one()
    )


def _record(row: Row[Any], found: Measurements) -> Record:
    return Record(
        candidate=Candidate(row.number, policy_of(row)),
        outcome=outcome_of(row, found),
        attempt=row.attempt,
        seconds=row.seconds,
        provenance=row.provenance,
    )
