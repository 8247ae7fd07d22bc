"""Proposals and candidates: each policy judged once, each outcome stored once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from autocompress.core.outcome import Evaluated, Failed, Infeasible, Measurement, Outcome
from autocompress.core.policy import BASELINE
from autocompress.errors import NotFoundError, SpecError, StoreError
from autocompress.store import Lease, Store

from . import given

OUTCOMES: list[Outcome] = [
    given.evaluated(0.9, 3.0),
    Infeasible("latency_ms <= 2", given.measured(0.5, 9.0)),
    Infeasible("parameters <= 1e6"),
    Failed("build", "ValueError", "no heads left", "Traceback ..."),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_is_read_back_as_it_was_stored(store: Store, lease: Lease, outcome: Outcome) -> None:
    candidate = given.finished(store, lease, 1, outcome)

    record = store.record("trec", candidate.number)

    assert record.candidate == candidate
    assert record.outcome == outcome
    assert (record.attempt, record.seconds, record.provenance) == (1, 0.5, {"torch": "2.15"})
    assert store.records("trec") == [record]
    assert store.check("trec") == []


def test_a_repeated_policy_is_one_candidate_and_brings_its_outcome(store: Store, lease: Lease) -> None:
    first = store.propose(lease, given.proposal(0), given.policy(7))
    again = store.propose(lease, given.proposal(1), given.policy(7))
    assert (first.is_new, again.is_new, again.outcome) == (True, False, None)

    given.finish(store, lease, first.candidate.number, OUTCOMES[0])
    known = store.propose(lease, given.proposal(2), given.policy(7))

    assert known.candidate == first.candidate
    assert known.outcome == OUTCOMES[0]
    assert len(store.records("trec")) == 1
    digest = given.policy(7).digest
    assert store.proposals("trec") == [(given.proposal(number), digest) for number in range(3)]


def test_a_proposal_is_logged_once(store: Store, lease: Lease) -> None:
    store.propose(lease, given.proposal(0), given.policy(1))
    with pytest.raises(StoreError, match="contradicts what is stored"):
        store.propose(lease, given.proposal(0), given.policy(2))
    assert len(store.records("trec")) == 1


def test_the_baseline_is_candidate_zero_however_often_and_late_it_comes(store: Store, lease: Lease) -> None:
    given.finished(store, lease, 1, OUTCOMES[0])
    assert [store.insert_baseline(lease).number for _ in range(2)] == [0, 0]
    assert store.propose(lease, given.proposal(2), BASELINE).candidate.number == 0
    assert [record.candidate.number for record in store.records("trec")] == [0, 1]
    assert store.restart(lease, 0) == 1


def test_a_late_result_changes_nothing(store: Store, lease: Lease) -> None:
    number = store.propose(lease, given.proposal(0), given.policy(1)).candidate.number
    assert store.restart(lease, number) == 2
    assert not given.finish(store, lease, number, OUTCOMES[3], attempt=1)
    assert given.finish(store, lease, number, OUTCOMES[0], attempt=2)
    assert not given.finish(store, lease, number, OUTCOMES[3], attempt=2)
    assert store.record("trec", number).outcome == OUTCOMES[0]


def test_a_judged_candidate_is_not_run_again(store: Store, lease: Lease) -> None:
    number = given.finished(store, lease, 1, OUTCOMES[3]).number
    with pytest.raises(StoreError, match=f"candidate {number} is failed already"):
        store.restart(lease, number)


def test_a_finish_that_cannot_be_stored_whole_is_not_stored_at_all(store: Store, lease: Lease) -> None:
    number = store.propose(lease, given.proposal(0), given.policy(1)).candidate.number
    twice = Measurement("quality", 0.5, "share", "measured")
    with pytest.raises(StoreError, match="contradicts what is stored"):
        given.finish(store, lease, number, Evaluated((twice, twice)))
    assert store.record("trec", number).outcome is None
    assert given.finish(store, lease, number, OUTCOMES[0])


def test_an_error_text_may_hold_any_character(store: Store, lease: Lease) -> None:
    number = given.finished(store, lease, 1, Failed("score", "ValueError", "a\0b \ud800 <script> \x1b[31m")).number
    outcome = store.record("trec", number).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message == "a\\x00b \\ud800 <script> \x1b[31m"


def test_a_candidate_is_found_by_number_and_by_the_beginning_of_its_digest(store: Store, lease: Lease) -> None:
    for heads in range(1, 40):
        given.finished(store, lease, heads, OUTCOMES[3])
    digest = given.policy(7).digest

    assert store.record("trec", 7) == store.record("trec", digest) == store.record("trec", digest[:10])
    with pytest.raises(SpecError, match=r"fits more than one: .*, \.\.\.; write more"):
        store.record("trec", "")
    with pytest.raises(NotFoundError, match=r"no candidate 40 .*from 0 to 39"):
        store.record("trec", 40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(reference=st.text(alphabet=st.characters(), min_size=1))
def test_no_text_is_taken_for_sql(reference: str, store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no candidate"):
        store.record("trec", reference)
    with pytest.raises(NotFoundError, match="there is no study"):
        store.study(reference)


@pytest.mark.parametrize(
    "impossible",
    [
        "UPDATE candidates SET state = 'failed'",
        "UPDATE candidates SET state = 'running'",
        "UPDATE candidates SET state = 'infeasible'",
        "UPDATE candidates SET state = 'done'",
        "UPDATE candidates SET stage = 'build'",
        "UPDATE candidates SET rung = NULL",
        "UPDATE candidates SET attempt = -1",
        "UPDATE measurements SET low = NULL",
        "UPDATE measurements SET candidate_id = 99",
        "UPDATE leases SET owner = NULL",
        "UPDATE studies SET state = 'lost'",
        "INSERT INTO candidates SELECT 99, study_id, 99, digest, state, attempt, generation, rung, seconds,"
        " broken_constraint, stage, error, message, traceback, policy, provenance, created_at, started_at, finished_at"
        " FROM candidates",
    ],
)
def test_an_impossible_state_cannot_be_stored(
    store: Store, lease: Lease, sql: Callable[[str], list[Any]], impossible: str
) -> None:
    given.finished(store, lease, 1, OUTCOMES[0])
    if store.url.startswith("sqlite"):
        impossible = impossible.replace("SET candidate_id = 99", "SET candidate_id = NULL")  # no foreign keys back here
    with pytest.raises(Exception, match="constraint"):
        sql(impossible)
