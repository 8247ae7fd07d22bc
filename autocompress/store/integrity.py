"""What must be true of every study, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, exists, func, select

from autocompress.core.outcome import RUNG_FINALIST
from autocompress.core.policy import CompressionPolicy
from autocompress.store import front
from autocompress.store.schema import artifacts, candidates, finalists, leases, measurements, proposals
from autocompress.store.schema import front as front_rows

Rule = Callable[[Connection, int], Iterator[str]]


def broken_rules(connection: Connection, study_id: int, folder: Path) -> list[str]:
    """Every broken invariant of one study, one line each."""
    rules: tuple[Rule, ...] = (_running, _digests, _measured, _proposed, _fronts, _finalists)
    found = [line for rule in rules for line in rule(connection, study_id)]
    return found + list(_files(connection, study_id, folder))


def broken_file(connection: Connection) -> list[str]:
    """What SQLite's own check says of the file; reads all of it."""
    lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    broken = [f"database file: {line}" for line in lines if line != "ok"]
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return broken + [f"database file: a row of {row[0]} refers to a missing row of {row[2]}" for row in dangling]


def _running(connection: Connection, study_id: int) -> Iterator[str]:
    """A candidate runs only under the lease that started it."""
    rows = connection.execute(
        select(candidates.c.number, candidates.c.generation, leases.c.owner, leases.c.generation.label("current"))
        .join(leases, leases.c.study_id == candidates.c.study_id)
        .where(candidates.c.study_id == study_id, candidates.c.state == "running")
    )
    for row in rows:
        if row.owner is None or row.generation != row.current:
            yield f"candidate {row.number}: running, but nobody who could finish it holds the study"


def _digests(connection: Connection, study_id: int) -> Iterator[str]:
    rows = connection.execute(
        select(candidates.c.number, candidates.c.digest, candidates.c.policy).where(candidates.c.study_id == study_id)
    )
    seen: dict[str, int] = {}
    for number, digest, policy in rows:
        actual = CompressionPolicy.from_json(policy).digest
        if actual != digest:
            yield f"candidate {number}: its policy has digest {actual}, stored as {digest}"
        if actual in seen:
            yield f"candidate {number}: the same policy as candidate {seen[actual]}"
        seen.setdefault(actual, number)


def _measured(connection: Connection, study_id: int) -> Iterator[str]:
    """An evaluated candidate was measured at the rung that judged it; a failed or unfinished one nowhere."""
    here = select(measurements.c.metric).where(measurements.c.candidate_id == candidates.c.id)
    mine = select(candidates.c.number, candidates.c.state).where(candidates.c.study_id == study_id)
    bare = mine.where(candidates.c.state == "evaluated", ~exists(here.where(measurements.c.rung == candidates.c.rung)))
    for number, _state in connection.execute(bare):
        yield f"candidate {number}: evaluated, but without measurements"
    extra = mine.where(candidates.c.state.in_(("pending", "running", "failed")), exists(here))
    for number, state in connection.execute(extra):
        yield f"candidate {number}: {state}, yet it has measurements"


def _proposed(connection: Connection, study_id: int) -> Iterator[str]:
    unasked = select(candidates.c.number).where(
        candidates.c.study_id == study_id,
        candidates.c.number > 0,
        ~exists(select(proposals.c.number).where(proposals.c.candidate_id == candidates.c.id)),
    )
    for number in connection.execute(unasked).scalars():
        yield f"candidate {number}: no proposal led to it"
    astray = (
        select(proposals.c.number)
        .join(candidates, candidates.c.id == proposals.c.candidate_id)
        .where(proposals.c.study_id == study_id, candidates.c.study_id != study_id)
    )
    for number in connection.execute(astray).scalars():
        yield f"proposal {number}: its candidate belongs to another study"
    many, last = connection.execute(
        select(func.count(), func.max(candidates.c.number)).where(
            candidates.c.study_id == study_id, candidates.c.number > 0
        )
    ).one()
    if many != (last or 0):
        yield f"candidates: numbers up to {last}, but only {many} of them"


def _fronts(connection: Connection, study_id: int) -> Iterator[str]:
    stored_at = select(front_rows.c.rung).where(front_rows.c.study_id == study_id)
    judged_at = select(candidates.c.rung).where(candidates.c.study_id == study_id, candidates.c.rung.is_not(None))
    concluded = select(finalists.c.position).where(finalists.c.study_id == study_id)
    rungs = set(connection.execute(stored_at.union(judged_at)).scalars())
    if connection.execute(concluded.limit(1)).one_or_none() is not None:
        rungs.add(RUNG_FINALIST)
    for rung in sorted(rungs):
        stored = front.members(connection, study_id, rung=rung)
        derived = list(front.derive(connection, study_id, rung=rung).values())
        if stored != derived:
            yield f"front of rung {rung}: stored {stored}, but the measurements say {derived}"


def _finalists(connection: Connection, study_id: int) -> Iterator[str]:
    rows = connection.execute(
        select(candidates.c.number, candidates.c.state)
        .join(finalists, finalists.c.candidate_id == candidates.c.id)
        .where(finalists.c.study_id == study_id, candidates.c.state != "evaluated")
    )
    for number, state in rows:
        yield f"finalist {number}: {state}, never evaluated"


def _files(connection: Connection, study_id: int, folder: Path) -> Iterator[str]:
    """Sizes only: reading every model to compare its hash is the work of `autocompress verify`."""
    rows = connection.execute(
        select(candidates.c.number, artifacts.c.path, artifacts.c.bytes)
        .join(artifacts, artifacts.c.candidate_id == candidates.c.id)
        .where(candidates.c.study_id == study_id)
        .order_by(candidates.c.number, artifacts.c.path)
    )
    for number, path, size in rows:
        file = folder / path
        if not file.is_file():
            yield f"finalist {number}: its file {path} is missing from {folder}"
        elif file.stat().st_size != size:
            yield f"finalist {number}: its file {path} has {file.stat().st_size} bytes, not {size}"
