"""Scaling: a write costs the same with ten thousand candidates as with a hundred.

Counted in instructions of SQLite's virtual machine, which no busy machine disturbs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from autocompress.store import Store

from . import given

_CANDIDATES = """
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
INSERT INTO candidates (study_id, number, digest, state, attempt, generation, rung, seconds, policy, provenance,
                        created_at, started_at, finished_at)
SELECT study_id, i, 'digest' || i, state, attempt, generation, rung, seconds, policy, provenance,
       created_at, started_at, finished_at FROM n, candidates WHERE number = 1
"""
_PROPOSALS = """
INSERT INTO proposals SELECT study_id, number, id, '{}', '{}', created_at FROM candidates WHERE number > 1
"""
_MEASUREMENTS = """
INSERT INTO measurements SELECT c.id, m.rung, m.metric, m.position, m.value * 2, m.unit, m.source, m.low, m.high,
                                m.samples, m.device
FROM candidates c, measurements m WHERE c.number > 1
"""


@contextmanager
def _counting_instructions() -> Iterator[Callable[[], int]]:
    counted = 0

    def tick() -> int:
        nonlocal counted
        counted += 1
        return 0

    def watch(connection: Any, _record: Any) -> None:
        connection.set_progress_handler(tick, 1)

    event.listen(Engine, "connect", watch)
    try:
        yield lambda: counted
    finally:
        event.remove(Engine, "connect", watch)


def _instructions(file: Path, many: int) -> dict[str, int]:
    """What each write costs in a study of so many candidates."""
    with Store.open(str(file)) as store:
        given.study(store)
        with store.lease("trec") as lease:
            given.finished(store, lease, 1, given.evaluated(0.5, 2.0))
    with closing(sqlite3.connect(file)) as made:
        for statement in (_CANDIDATES.format(many=many), _PROPOSALS, _MEASUREMENTS):
            made.execute(statement)
        made.commit()
    with _counting_instructions() as counted, Store.open(str(file)) as store, store.lease("trec") as lease:
        writes: dict[str, Callable[[], object]] = {
            "propose anew": lambda: store.propose(lease, given.proposal(many + 1), given.policy(many + 1)),
            "finish": lambda: given.finish(store, lease, many + 1, given.evaluated(0.6, 3.0)),
            "propose again": lambda: store.propose(lease, given.proposal(many + 2), given.policy(many + 1)),
            "propose the next": lambda: store.propose(lease, given.proposal(many + 3), given.policy(many + 2)),
            "restart": lambda: store.restart(lease, many + 2),
            "late finish": lambda: given.finish(store, lease, 1, given.evaluated(0.6, 3.0)),
            "set_state": lambda: store.set_state(lease, "searching"),
        }
        costs = {}
        for name, work in writes.items():
            before = counted()
            work()
            costs[name] = counted() - before
        return costs


def test_a_write_costs_the_same_in_a_large_study_as_in_a_small_one(tmp_path: Path) -> None:
    small = _instructions(tmp_path / "small.db", 100)
    large = _instructions(tmp_path / "large.db", 10_000)
    assert min(small.values()) > 20
    assert {name: cost for name, cost in large.items() if cost > 1.2 * small[name]} == {}
