"""Studies: made once, found by name, never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autocompress.core.outcome import Failed, Infeasible
from autocompress.errors import NotFoundError, SpecError, StudyLockedError
from autocompress.store import Counts, Lease, Store

from . import given


def test_a_study_is_read_back_as_it_was_created(store: Store, lease: Lease) -> None:
    store.set_state(lease, "searching")
    store.set_fact(lease, "kendall_tau", {"rung 1 to 3": 0.8})
    store.set_fact(lease, "kendall_tau", {"rung 1 to 3": 0.9})
    store.set_fact(lease, "note", None)

    study = store.study("trec")

    assert (study.name, study.state) == ("trec", "searching")
    assert list(study.objectives.items()) == list(given.OBJECTIVES.items())
    assert study.resolved["seed"] == 0
    assert study.facts == {"kendall_tau": {"rung 1 to 3": 0.9}, "note": None}
    assert study.created <= study.updated


def test_a_taken_name_is_refused_with_the_way_to_go_on(store: Store) -> None:
    with pytest.raises(SpecError, match="autocompress resume trec"):
        given.study(store)


@pytest.mark.parametrize("name", ["../../etc", "a\0b", "x" * 129, "'; DROP TABLE studies;--", "a\n", ""])
def test_a_name_that_is_no_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(SpecError, match="a study name holds"):
        given.study(store, name)


def test_an_unknown_study_is_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'trec'"):
        store.study("trek")
    with pytest.raises(NotFoundError, match="no study 'trek'"), store.lease("trek"):
        pass


def test_counts_say_how_far_a_study_is(store: Store, lease: Lease) -> None:
    store.insert_baseline(lease)
    given.finished(store, lease, 1, given.evaluated(0.9, 3.0))
    given.finished(store, lease, 2, Infeasible("latency_ms <= 2", given.measured(0.5, 9.0)))
    given.finished(store, lease, 3, Failed("build", "ValueError", "no heads left"))
    store.propose(lease, given.proposal(4), given.policy(1))
    store.propose(lease, given.proposal(5), given.policy(5))

    expected = Counts(proposals=5, candidates=5, evaluated=1, infeasible=1, failed=1, running=1, pending=1, repeated=1)
    assert store.counts("trec") == expected
    given.study(store, "empty")
    assert [(one.name, one.counts) for one in store.studies()] == [("trec", expected), ("empty", Counts())]


def test_a_deleted_study_leaves_no_rows(store: Store, sql: Callable[[str], list[Any]]) -> None:
    with store.lease("trec") as lease:
        candidate = given.finished(store, lease, 1, given.evaluated(0.9, 3.0))
        store.nominate(lease, [candidate.number])
        store.set_fact(lease, "note", 1)
        with pytest.raises(StudyLockedError, match="is being run by process"):
            store.delete_study("trec")
    store.delete_study("trec")

    tables = ("studies", "candidates", "proposals", "measurements", "finalists", "front", "facts", "leases")
    assert [sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables] == [0] * len(tables)


def test_a_value_that_is_no_json_is_refused(store: Store, lease: Lease) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        store.set_fact(lease, "loss", float("nan"))
    assert store.study("trec").facts == {}
