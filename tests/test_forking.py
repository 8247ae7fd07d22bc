"""A study begun from another one: what is taken over, what is proposed first, what is left there."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autocompress import config, operators
from autocompress.core.outcome import RUNG_SLICED, Evaluated, Measurement, Proposal
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.spec import Bound
from autocompress.core.workload import Workload
from autocompress.errors import NotFoundError, SpecError
from autocompress.pricing import Pricing, draw, point_of
from autocompress.samplers import SAMPLERS, OptunaSampler
from autocompress.store import Lease, Store
from autocompress.study.forking import FORK_FACT, check_origin, take_over_from
from autocompress.study.judged import JUDGED_WITH
from autocompress.study.study import SilentObserver
from tests.report.given import OBJECTIVES, SHAPE

WITH = {"model": "m", "elastic": "e"}
JUDGED = 40


def space(*heads: int, bits: tuple[int, ...] = (8, 32)) -> SearchSpace:
    """Layers and heads go one by one, all is rounded alike."""
    steps = (
        StepSpace("remove_layer", "layers.*", optional=True),
        StepSpace("prune_heads", "layers.*.attention", {"heads": Choice(heads)}),
        StepSpace("quantize", "layers.*", {"bits": Choice(bits)}, per="step"),
    )
    return operators.bound(SearchSpace("tiny", 1, steps), SHAPE)


def pricing(**constraints: Bound) -> Pricing:
    profile = config.load_device("raspberry-pi-5")
    assert profile.cost is not None
    load = Workload(length=32, threads=profile.cost.threads)
    return Pricing.of(profile, SHAPE, workload=load, objectives=OBJECTIVES, constraints=constraints)


class Notes(SilentObserver):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """With a study `old` of 40 random candidates and the baseline, judged with the digests `WITH`."""
    generator, here, prices = random.Random(3), space(6, 9, 12), pricing()
    with Store.open(str(tmp_path_factory.mktemp("fork") / "own.db")) as store:
        with new_study(store, "old") as lease:
            store.insert_baseline(lease)
            judge(store, lease, 0, 0.99, prices)
            for number in range(JUDGED):
                point = {name: draw(knob, generator) for name, knob in here.knobs().items()}
                policy = prices(here.policy(lambda name, _, at=point: at[name])).policy
                if store.propose(lease, Proposal(number, point), policy).is_new:
                    judge(store, lease, store.record("old", policy.digest).candidate.number, 0.9, prices, attempt=1)
        yield store


def new_study(store: Store, name: str, **facts: Any) -> Any:
    return store.new_study(name, given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES, facts=facts)


def judge(
    store: Store, lease: Lease, number: int, quality: float, prices: Pricing, *, attempt: int | None = None
) -> None:
    attempt = attempt or store.restart(lease, number)
    policy = store.record(lease.study, number).candidate.policy
    score = Measurement("quality", quality - 0.001 * number, "accuracy", "measured", interval=(0.5, 1.0))
    store.finish(
        lease,
        number,
        attempt=attempt,
        outcome=Evaluated((*prices(policy).measurements, score)),
        rung=RUNG_SLICED,
        seconds=0.5,
        provenance={JUDGED_WITH: WITH, "versions": {}},
    )


@pytest.mark.expectation(13)
def test_what_was_judged_alike_keeps_its_quality_and_is_a_point_of_the_new_space(origin: Store) -> None:
    narrower, prices, observer = space(9, 12), pricing(size_mb=Bound(max=250)), Notes()
    with new_study(origin, "narrower", **{FORK_FACT: {"from": "old"}}) as lease:
        first = take_over_from(origin, lease, narrower, prices, WITH, observer, trials=30)
        records = origin.records("narrower")
        again = take_over_from(origin, lease, narrower, prices, WITH, observer, trials=30)
    fact = origin.study("narrower").facts[FORK_FACT]
    assert (list(first), list(again)) == ([], [])
    assert 0 < fact["taken"] == len(records) - 1, "and the baseline"
    assert fact["outside"] > 0
    old = {one.candidate.digest: one for one in origin.records("old")}
    assert fact["taken"] + fact["outside"] + fact["broken"] + fact["otherwise"] == len(old) - 1
    for record in records:
        before = old[record.candidate.digest]
        assert quality(record) == quality(before)
        assert record.provenance["forked"] == {"from": "old", "as": before.candidate.number}
    for proposal, digest in origin.proposals("narrower"):
        policy = narrower.policy(lambda name, _, at=proposal.parameters: at[name])
        assert prices(policy).policy.digest == digest
    assert origin.check("narrower") == []
    assert len(observer.notes) == 2, "it is told once"
    assert (
        f"from study 'old': {fact['taken']} candidates are taken over as they were judged, 0 of its front"
        in (observer.notes[0])
    )
    assert f"left there: {fact['outside']} no points of this space" in observer.notes[0]
    assert observer.notes[1] == f"budget.trials: 30 candidates in all, so {29 - fact['taken']} are left to judge"


@pytest.mark.parametrize(
    "sampler",
    ["nsga2", *(pytest.param(name, marks=pytest.mark.long) for name in sorted({*SAMPLERS} - {"nsga2"}))],
)
def test_a_sampler_goes_on_from_what_was_taken_over(sampler: str, origin: Store) -> None:
    name, wider = f"of-{sampler}", space(3, 6, 9, 12)
    with new_study(origin, name, **{FORK_FACT: {"from": "old"}}) as lease:
        take_over_from(origin, lease, wider, pricing(), WITH, Notes(), trials=99)
    outcomes = {one.candidate.digest: one.outcome for one in origin.records(name)}
    history = [(proposal, outcomes[digest]) for proposal, digest in origin.proposals(name)]

    def asked() -> Mapping[str, Any]:
        made = OptunaSampler(
            sampler,
            knobs=wider.knobs(),
            objectives=OBJECTIVES,
            constraints={},
            seed=0,
            population=8,
            history=history,
        )
        proposal = made.ask()
        assert proposal.number == len(history)
        assert proposal.attributes.get("generation") in (None, 1), "what was taken over is the first generation"
        return proposal.parameters

    assert asked() == asked(), "rebuilt from the store alone"


@pytest.mark.expectation(13)
def test_where_the_elastic_model_is_another_the_old_front_is_proposed_first(origin: Store) -> None:
    other = {**WITH, "elastic": "another"}
    with new_study(origin, "first", **{FORK_FACT: {"from": "old"}}) as lease:
        prices, here = pricing(), space(6, 9, 12)
        first = take_over_from(origin, lease, here, prices, other, Notes(), trials=30)
        assert list(take_over_from(origin, lease, here, prices, other, Notes(), trials=30)) == list(first)
    front = {
        origin.record("old", number).candidate.digest for number in origin.front("old", rung=RUNG_SLICED) if number
    }
    found = {prices(here.policy(lambda name, _, at=point: at[name])).policy.digest for point in first}
    taken = {one.candidate.digest for one in origin.records("first")}
    assert all(not operators.elastic(one.candidate.policy.steps) for one in origin.records("first"))
    assert found <= front <= found | taken
    assert found
    assert origin.record("first", 0).outcome is not None, "the uncompressed model is that of the same teacher"


def test_of_another_teacher_nothing_is_taken_over(origin: Store) -> None:
    with new_study(origin, "none", **{FORK_FACT: {"from": "old"}}) as lease:
        take_over_from(origin, lease, space(6, 9, 12), pricing(), {**WITH, "model": "n"}, Notes(), trials=30)
    assert origin.records("none") == []
    with new_study(origin, "gone", **{FORK_FACT: {"from": "nobody"}}) as lease:
        observer = Notes()
        assert list(take_over_from(origin, lease, space(6), pricing(), WITH, observer, trials=30)) == []
    assert "study 'nobody', which this one was to take over from, is gone" in observer.notes[0]


def test_a_policy_is_found_in_a_space_whose_knobs_have_other_names() -> None:
    uniform = SearchSpace(
        "uniform",
        1,
        (
            StepSpace("prune_heads", "layers.*.attention", {"heads": Choice((6, 9, 12))}, per="step"),
            StepSpace("quantize", "layers.*", {"bits": Choice((8, 32))}, per="step", name="rounded", optional=True),
        ),
    )
    alike = operators.bound(uniform, SHAPE)
    each, prices = space(6, 9, 12), pricing()
    policy = prices(alike.policy(lambda name, _: {"heads": 9, "bits": 8, "apply": True}[name.split("/")[-1]])).policy
    hint = {"prune_heads/heads": 9, "rounded/apply": True, "rounded/bits": 8}
    point = point_of(each, SHAPE, policy, hint)
    assert point is not None
    assert prices(each.policy(lambda name, _: point[name])).policy == policy
    back = point_of(alike, SHAPE, policy, point)
    assert back == hint
    uneven = {**point, "prune_heads/layers.0.attention/heads": 6}
    assert point_of(alike, SHAPE, prices(each.policy(lambda name, _: uneven[name])).policy, uneven) is None


def test_what_has_nothing_to_take_over_is_refused(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "own.db")) as store:
        with new_study(store, "new"):
            pass
        with pytest.raises(SpecError, match="fork: study 'new' has judged nothing yet, so there is nothing to take"):
            check_origin(store, "new")
        with pytest.raises(NotFoundError, match="there is no study 'nwe'; did you mean 'new'"):
            check_origin(store, "nwe")


def quality(record: Any) -> float:
    return next(one.value for one in record.outcome.measurements if one.metric == "quality")
