"""The search loop over an arithmetic evaluator: budgets, failures, repeats, and death at any moment."""

import os
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.core.outcome import RUNG_SLICED, Evaluated, Failed, Infeasible, Outcome, Priced
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Done, Job, Lost, Tally
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.spec import Bound, Budget
from autocompress.errors import ExhaustedError, HostError
from autocompress.search import Watch
from autocompress.store import Store
from autocompress.testing import arithmetic_evaluate, arithmetic_price, arithmetic_space
from tests.fresh import FRESH
from tests.search.arithmetic import STUDY, digests, run_search, search_slowly, whole_in_8_bits

TRIALS = 60


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


class LossyRunner:
    """Two slots; the first attempt of every third candidate loses its worker, all attempts of a poisonous one do."""

    slots = 2

    def __init__(self, *, poison: int | None = None) -> None:
        self._queue: deque[Job] = deque()
        self._poison = poison
        self.most = 0

    def submit(self, job: Job) -> None:
        self._queue.append(job)
        self.most = max(self.most, len(self._queue))

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        job = self._queue.popleft()
        if job.number == self._poison or (job.number % 3 == 2 and job.attempt == 1):
            return [Lost(job, "the worker died: signal 9")]
        return [Done(job, arithmetic_evaluate(job.policy), 0.0)]

    def close(self) -> None: ...


@pytest.mark.expectation(18, 19)
def test_the_budget_is_exact_and_the_baseline_comes_first(database: Path) -> None:
    tally = run_search(database, budget=Budget(25))
    with Store.open(str(database)) as store:
        records = store.records(STUDY)
        assert records[0].candidate.policy.is_baseline
        assert sum(isinstance(record.outcome, Evaluated) for record in records) == tally.evaluated == 25
        assert store.check(STUDY) == []


def test_a_finished_search_resumed_does_nothing(database: Path) -> None:
    run_search(database)
    before = digests(database)
    run_search(database)
    assert digests(database) == before


def test_a_larger_budget_goes_on_where_the_smaller_ended(database: Path) -> None:
    # the population follows the budget, so only a sampler without one must agree
    run_search(database, sampler="random", budget=Budget(10))
    first = digests(database)
    run_search(database, sampler="random", budget=Budget(20))
    assert digests(database)[: len(first)] == first
    assert len(digests(database)) == 20


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "qmc", "random"])
def test_a_first_point_is_proposed_once_and_before_all_others(database: Path, sampler: str) -> None:
    first = whole_in_8_bits()
    for budget in (Budget(10), Budget(20)):
        run_search(database, sampler=sampler, budget=budget, first=[first])
    with Store.open(str(database)) as store:
        proposals = [dict(proposal.parameters) for proposal, _ in store.proposals(STUDY)]
    assert proposals[0] == first
    assert len(proposals) >= 19
    assert proposals.count(first) == 1


def test_several_first_points_are_proposed_in_their_order_whenever_the_driver_died(database: Path) -> None:
    first = [whole_in_8_bits() | {name: size} for size, name in enumerate(whole_in_8_bits(), start=3)][:3]
    for trials in (2, 3, 8):  # the baseline is one of them
        run_search(database, budget=Budget(trials), first=first)
    with Store.open(str(database)) as store:
        proposals = [dict(proposal.parameters) for proposal, _ in store.proposals(STUDY)]
    assert proposals[:3] == first
    assert [proposals.count(point) for point in first] == [1, 1, 1]


def test_outcomes_hold_what_was_known_before_and_what_was_found(database: Path) -> None:
    run_search(database)
    with Store.open(str(database)) as store:
        found = store.measurements(STUDY, rung=RUNG_SLICED)
    assert all({m.metric for m in each} == {"quality", "latency_ms", "size_mb"} for each in found.values())


@pytest.mark.expectation(20)
def test_a_repeated_policy_is_answered_from_the_store(database: Path) -> None:
    tiny = SearchSpace(
        "tiny", 1, (StepSpace("shrink", "layers.0", {"size": Choice((1, 2, 3))}, targets=("layers.0",)),)
    )
    evaluated: list[str] = []

    def evaluate(policy: CompressionPolicy) -> Outcome:
        evaluated.append(policy.digest)
        return arithmetic_evaluate(policy)

    tally = run_search(database, space=tiny, evaluate=evaluate, budget=Budget(30))
    assert len(evaluated) == len(set(evaluated)) == tally.evaluated == 4, "three points and the baseline, each once"
    assert tally.repeated > 0, "and the search ended although its budget was not spent"


def test_an_infeasible_candidate_is_recorded_and_never_evaluated(database: Path) -> None:
    bound = Bound(max=12.0)

    def price(policy: CompressionPolicy) -> Priced:
        priced = arithmetic_price(policy)
        latency = priced.measurements[0].value
        return priced if latency <= 12 else Priced(policy, priced.measurements, f"latency_ms {bound}")

    tally = run_search(database, price=price, constraints={"latency_ms": bound}, budget=Budget(15))
    with Store.open(str(database)) as store:
        rejected = [r for r in store.records(STUDY) if isinstance(r.outcome, Infeasible)]
        kept = store.measurements(STUDY, rung=RUNG_SLICED)
        front = store.front(STUDY, rung=RUNG_SLICED)
    assert tally.evaluated == 15, "infeasible candidates cost none of the budget"
    assert tally.infeasible == len(rejected) > 0
    assert not {record.candidate.number for record in rejected} & set(front)
    assert all(r.outcome.constraint == "latency_ms <= 12" for r in rejected if isinstance(r.outcome, Infeasible))
    assert kept


def test_a_lost_worker_costs_one_retry(database: Path) -> None:
    runner = LossyRunner()
    tally = run_search(database, runner=runner, budget=Budget(12))
    assert (tally.evaluated, tally.failed) == (12, 0)
    assert runner.most == 2, "both slots were used and no more"
    with Store.open(str(database)) as store:
        assert {record.attempt for record in store.records(STUDY)} == {1, 2}


class QueueingRunner:
    """One worker with a second job waiting, as warm actors have; outcomes are handed on as they come, or two at once
    when the driver is slow."""

    slots = 2

    def __init__(self, *, at_once: int) -> None:
        self._queue: deque[Job] = deque()
        self._at_once = at_once

    def submit(self, job: Job) -> None:
        self._queue.append(job)

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        ended = [self._queue.popleft() for _ in range(min(self._at_once, len(self._queue)))]
        return [Done(job, arithmetic_evaluate(job.policy), 0.0) for job in ended]

    def close(self) -> None: ...


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_what_is_asked_does_not_depend_on_how_fast_outcomes_come(sampler: str, tmp_path: Path) -> None:
    found = []
    for at_once in (1, 2):
        database = tmp_path / f"{at_once}.db"
        run_search(database, sampler=sampler, runner=QueueingRunner(at_once=at_once), budget=Budget(TRIALS))
        found.append(digests(database))
    assert found[0] == found[1]


def test_a_candidate_that_always_kills_its_worker_fails_and_the_others_go_on(database: Path) -> None:
    tally = run_search(database, runner=LossyRunner(poison=4), budget=Budget(12))
    assert (tally.evaluated, tally.failed) == (11, 1)
    with Store.open(str(database)) as store:
        outcome = store.record(STUDY, 4).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.stage, outcome.error) == ("worker", "WorkerLost")
    assert "signal 9" in outcome.message


class HoardingRunner(LossyRunner):
    """One of whose candidates takes more memory than it may, whatever worker it is given."""

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        return [
            replace(event, reason="held 3 GB", error="MemoryLimit") if isinstance(event, Lost) else event
            for event in super().wait(seconds)
        ]


@pytest.mark.expectation(16)
def test_a_candidate_that_takes_too_much_memory_twice_fails_by_that_name(database: Path) -> None:
    tally = run_search(database, runner=HoardingRunner(poison=4), budget=Budget(12, memory_gb=2.0))
    assert (tally.evaluated, tally.failed) == (11, 1)
    assert list(tally.causes) == ["worker: MemoryLimit: held 3 GB"]
    with Store.open(str(database)) as store:
        record = store.record(STUDY, 4)
    assert (record.outcome, record.attempt) == (Failed("worker", "MemoryLimit", "held 3 GB"), 2)


class StillbornRunner:
    """One slot, whose workers die `times` in a row before they begin with the third candidate, or with all from it."""

    slots = 1

    def __init__(self, *, times: int) -> None:
        self._queue: deque[Job] = deque()
        self._left = times

    def submit(self, job: Job) -> None:
        self._queue.append(job)

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        job = self._queue.popleft()
        if job.number >= 3 and self._left:
            self._left -= 1
            return [Lost(job, "the worker died: SIGKILL", began=False)]
        return [Done(job, arithmetic_evaluate(job.policy), 0.0)]

    def close(self) -> None: ...


def test_a_worker_that_dies_before_it_began_costs_its_candidate_nothing(database: Path) -> None:
    tally = run_search(database, runner=StillbornRunner(times=4), budget=Budget(12))
    assert (tally.evaluated, tally.failed) == (12, 0)


def test_workers_that_never_begin_end_the_search_in_words_and_it_can_be_gone_on_with(database: Path) -> None:
    with pytest.raises(HostError, match=r"5 workers in a row died before they began: .*SIGKILL.*autocompress resume"):
        run_search(database, runner=StillbornRunner(times=99), budget=Budget(12))
    tally = run_search(database, budget=Budget(12))
    assert (tally.evaluated, tally.failed) == (12, 0)


class SlowRunner(StillbornRunner):
    """Never ends with what it was given."""

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        return []


def test_a_stopped_search_waits_for_what_is_in_flight_for_seconds_only(database: Path) -> None:
    now = iter(range(10_000))
    watch = Watch(stopped=lambda: True, clock=lambda: float(next(now)))
    run_search(database, runner=SlowRunner(times=0), budget=Budget(12), watch=watch)
    with Store.open(str(database)) as store:
        assert store.counts(STUDY).pending == 1, "it waits to be run again"


@pytest.mark.expectation(15)
def test_too_many_failures_stop_the_search_and_name_the_cause(database: Path) -> None:
    def broken(policy: CompressionPolicy) -> Outcome:
        return Failed("score", "ValueError", "no such thing")

    with pytest.raises(ExhaustedError, match=r"5 of 5 candidates failed.*score: ValueError: no such thing"):
        run_search(database, evaluate=broken)
    with Store.open(str(database)) as store:
        assert store.counts(STUDY).failed == 5


@pytest.mark.expectation(11)
def test_a_stop_finishes_what_is_running_and_asks_nothing_more(database: Path) -> None:
    seen: list[int] = []

    def on_change(tally: Tally) -> None:
        seen.append(tally.judged)

    run_search(database, watch=Watch(on_change=on_change, stopped=lambda: len(seen) >= 7))
    with Store.open(str(database)) as store:
        counts = store.counts(STUDY)
    assert counts.evaluated == 7
    assert counts.running == counts.pending == 0


@pytest.mark.expectation(18)
def test_time_is_a_budget_too_and_counts_over_interruptions(database: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    first = run_search(database, budget=Budget(1000, search_minutes=1.0), watch=Watch(clock=clock))
    assert 1 < first.evaluated < 60
    again = run_search(database, budget=Budget(1000, search_minutes=1.0), watch=Watch(clock=clock))
    assert again.evaluated == first.evaluated


def test_a_tiny_space_ends_a_search_whatever_its_budget(tmp_path: Path) -> None:
    """Its sixteen policies are found soon; after that nothing but repetitions comes."""
    done = run_search(tmp_path / "tiny.db", budget=Budget(100_000), space=arithmetic_space(layers=1))
    assert 10 < done.evaluated <= 17
    assert done.repeated < 1_000


def test_minutes_pass_while_nothing_new_is_proposed(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    budget = Budget(100_000, search_minutes=1.0)
    done = run_search(tmp_path / "tiny.db", budget=budget, space=arithmetic_space(layers=1), watch=Watch(clock=clock))
    assert done.repeated < 60


def start(database: Path, sampler: str) -> Any:
    process = FRESH.Process(target=search_slowly, args=(database, sampler, TRIALS), daemon=True)
    process.start()
    return process


def judged(database: Path) -> int:
    with Store.open(str(database)) as store:
        return store.counts(STUDY).evaluated if STUDY in [study.name for study in store.studies()] else 0


def kill_while_searching(database: Path, sampler: str, generator: random.Random) -> None:
    """SIGKILL at a random moment after the process has finished at least one candidate more."""
    before = judged(database)
    process = start(database, sampler)
    while judged(database) == before and process.is_alive():
        time.sleep(0.005)
    time.sleep(generator.uniform(0, 0.06))
    assert process.is_alive(), "the process ended before it could be killed"
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("sampler", "kills"),
    [
        ("nsga2", 3),
        *(pytest.param(name, 2, marks=pytest.mark.long) for name in ("tpe", "random", "nsga3", "qmc")),
    ],
)
def test_killed_at_any_moment_it_ends_where_the_uninterrupted_search_does(
    sampler: str, kills: int, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.db", tmp_path / "broken.db"
    run_search(whole, sampler=sampler, budget=Budget(TRIALS), first=[whole_in_8_bits()])
    seed = int(os.environ.get("AUTOCOMPRESS_TEST_SEED", "1"))
    generator = random.Random(f"{seed}/{sampler}")
    for _ in range(kills):
        kill_while_searching(broken, sampler, generator)
    last = start(broken, sampler)
    last.join(60)
    assert last.exitcode == 0
    with Store.open(str(broken)) as store:
        assert store.check(STUDY) == []
        counts = store.counts(STUDY)
    assert counts.evaluated == TRIALS
    assert counts.running == counts.pending == counts.failed == 0
    assert digests(broken) == digests(whole), f"after {kills} kills (seed {seed})"
