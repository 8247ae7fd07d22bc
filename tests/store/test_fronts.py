"""Fronts: kept in step with the records, candidate by candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from autocompress.core.outcome import RUNG_SLICED, Evaluated, Failed, Infeasible, Measurement, Outcome, values
from autocompress.core.pareto import dominates, oriented
from autocompress.store import Lease, Store

from . import given

# Few values, so that equal points, ties in one objective and chains of dominance are frequent.
POINTS = st.tuples(st.sampled_from([0.5, 0.7, 0.9]), st.sampled_from([1.0, 2.0, 3.0, 4.0]))
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    POINTS.map(lambda point: given.evaluated(*point)),
    POINTS.map(lambda point: given.evaluated(*point)),
    POINTS.map(lambda point: Infeasible("latency_ms <= 1", given.measured(*point))),
    st.just(Failed("build", "ValueError", "x")),
    st.just(Evaluated((Measurement("quality", 1.0, "share", "measured"),))),
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    file: Path = tmp_path_factory.mktemp("fronts") / "studies.db"
    with Store.open(str(file)) as store:
        yield store


_names = count()


@settings(max_examples=25)
@drawn(outcomes=st.lists(OUTCOMES, max_size=14))
def test_the_stored_front_is_what_no_other_candidate_dominates(outcomes: list[Outcome], many: Store) -> None:
    name = given.study(many, f"study-{next(_names)}")
    points = {}
    with many.lease(name) as lease:
        for number, outcome in enumerate(outcomes, start=1):
            given.finished(many, lease, number, outcome)
            if isinstance(outcome, Evaluated) and len(outcome.measurements) == len(given.OBJECTIVES):
                points[number] = oriented(values(outcome.measurements), given.OBJECTIVES)
    stored = many.front(name, rung=RUNG_SLICED)

    assert stored == [n for n, point in points.items() if not any(dominates(p, point) for p in points.values())]
    assert many.check(name) == []
    assert many.rebuild_front(name, rung=RUNG_SLICED) == stored


def test_each_rung_has_a_front_of_its_own(store: Store, lease: Lease) -> None:
    given.finished(store, lease, 1, given.evaluated(0.9, 1.0), rung=0)
    given.finished(store, lease, 2, given.evaluated(0.5, 5.0), rung=1)
    assert (store.front("trec", rung=0), store.front("trec", rung=1), store.front("trec", rung=2)) == ([1], [2], [])


def test_a_front_out_of_step_is_reported_and_healed(
    store: Store, lease: Lease, sql: Callable[[str], list[Any]]
) -> None:
    given.finished(store, lease, 1, given.evaluated(0.9, 1.0))
    given.finished(store, lease, 2, given.evaluated(0.5, 5.0))
    sql("UPDATE front SET candidate_id = (SELECT id FROM candidates WHERE number = 2)")

    assert store.check("trec") == ["front of rung 1: stored [2], but the measurements say [1]"]
    assert store.rebuild_front("trec", rung=RUNG_SLICED) == [1]
    assert store.check("trec") == []


@pytest.mark.parametrize(
    ("damage", "report"),
    [
        ("UPDATE candidates SET generation = 99", "candidate 2: running, but nobody who could finish it"),
        ("UPDATE candidates SET policy = '[]' WHERE number = 1", "candidate 1: its policy has digest"),
        ("DELETE FROM measurements", "candidate 1: evaluated, but without measurements"),
        ("UPDATE measurements SET candidate_id = candidate_id + 1", "candidate 2: running, yet it has measurements"),
        ("DELETE FROM proposals WHERE number = 1", "candidate 1: no proposal led to it"),
        ("UPDATE candidates SET number = 9 WHERE number = 2", "candidates: numbers up to 9, but only 2 of them"),
    ],
)
def test_every_broken_rule_is_reported(
    store: Store, lease: Lease, sql: Callable[[str], list[Any]], damage: str, report: str
) -> None:
    given.finished(store, lease, 1, given.evaluated(0.9, 1.0))
    store.propose(lease, given.proposal(2), given.policy(2))
    assert store.check("trec") == []
    sql(damage)
    assert any(line.startswith(report) for line in store.check("trec"))
