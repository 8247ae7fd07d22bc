"""What each step of a policy took, what that is worth, and what it cost."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autocompress import config
from autocompress.core.device import CostModel, DeviceProfile
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.outcome import Evaluated, Measurement
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.spec import StudySpec
from autocompress.core.stored_parts import parts_to_json
from autocompress.core.workload import Workload
from autocompress.explain.steps import explain_steps
from autocompress.explain.steps.algebra import Found, found_of
from autocompress.explain.steps.groups import Decisions
from autocompress.explain.steps.prices import Prices
from autocompress.operators import OPERATORS
from autocompress.pricing import Pricing
from autocompress.report.json_forms import DOCUMENTS
from autocompress.report.steps import Judged, Steps, StepTold, as_steps, places_of
from autocompress.store import Store

from . import given

TINY = encoder(
    8,
    [encoder_layer(index, 8, heads=2, head_size=4, channels=16) for index in range(3)],
    words=10,
    others=4,
    head=(3,),
)
LOAD = Workload(length=4)
REMOVED = Step("remove_layer", "layers.0")
NARROW = Step("prune_channels", "layers.1.feed_forward", {"channels": 8})
INT8 = Step("quantize", "layers.1.feed_forward", {"bits": 8})


def board() -> DeviceProfile:
    """A million multiply-accumulates a millisecond, whatever they are in, and 0.25 ms a layer; memory costs nothing."""
    known = config.device_to_json(config.load_device("raspberry-pi-4"))
    cost = CostModel(gmacs_fp32=1.0, gbytes_per_second=1e9, spread=0.5, threads=1, ms_per_layer=0.25, ms_base=0.1)
    return replace(config.device_from_json(known), tables=(), cost=cost, energy=None)


def algebra(*steps: Step) -> list[Found]:
    pricing = Pricing.of(board(), TINY, workload=LOAD, objectives=(), constraints={})
    policy = CompressionPolicy(steps)
    return found_of(policy, Decisions(None).groups(policy), TINY, Prices(LOAD, pricing))[0]


@pytest.mark.expectation(23)
def test_a_step_takes_what_those_before_it_have_left() -> None:
    removed, narrow, rounded = algebra(REMOVED, NARROW, INT8)
    assert (removed.taken.parameters, removed.taken.bytes) == (-600, -2400)
    assert removed.taken.macs == -(4 * 4 * 64 + 2 * 2 * 4 * 4 * 4 + 4 * 2 * 128)
    assert [(one.matrix, str(one.before), one.after) for one in removed.taken.matrices][-1] == (
        "down",
        "16x8 fp32",
        None,
    )
    assert len(removed.taken.matrices) == 6
    assert (narrow.taken.parameters, narrow.taken.macs) == (-(64 + 8 + 64), -4 * 128)
    assert [(one.matrix, str(one.before), str(one.after)) for one in rounded.taken.matrices] == [
        ("up", "8x8 fp32", "8x8 int8"),
        ("down", "8x8 fp32", "8x8 int8"),
    ]
    assert rounded.taken.bytes == -2 * 8 * (4 * 8 - (8 + 4))
    assert (rounded.taken.parameters, rounded.taken.macs) == (0, 0)


def test_alone_and_last_share_what_steps_take() -> None:
    _, narrow, rounded = algebra(REMOVED, NARROW, INT8)
    assert narrow.alone.costs["latency_ms"] == pytest.approx(-4 * 128 / 1e6)
    assert narrow.alone.costs["size_mb"] == pytest.approx(-4 * (64 + 8 + 64) / 1e6)
    assert narrow.last.costs["size_mb"] == pytest.approx(-(8 * (8 + 4) + 4 * 8 + 8 * 8) / 1e6), (
        "a byte a weight by then"
    )
    assert rounded.alone.costs["size_mb"] == pytest.approx(-(16 * (32 - 12) + 8 * (64 - 20)) / 1e6)
    assert algebra(REMOVED)[0].alone.costs["latency_ms"] == pytest.approx(-0.25 - 2304 / 1e6)


def test_a_step_that_another_makes_void_says_so() -> None:
    first, second = algebra(Step("remove_layer", "layers.1"), NARROW)
    assert (second.void, second.void_by) == (True, (1,))
    assert (second.taken.bytes, second.last.costs["size_mb"]) == (0, 0.0)
    assert second.alone.costs["size_mb"] < 0
    assert first.gone >= {"layers.1", "layers.1.feed_forward"}


def test_ranks_and_zeros_are_told_of_the_matrices_that_have_them() -> None:
    (low,) = algebra(Step("low_rank", "layers.1.feed_forward", {"rank": 0.25}))
    assert [str(one.after) for one in low.taken.matrices] == ["8x16 fp32, rank 2", "16x8 fp32, rank 2"]
    assert low.taken.parameters == 2 * (2 * (8 + 16) - 8 * 16)
    (sparse,) = algebra(Step("prune_weights", "layers.1.feed_forward", {"pattern": "2:4"}))
    assert str(sparse.taken.matrices[0].after) == "8x16 fp32, 50 % zeros (2:4)"


def test_equal_steps_of_many_layers_are_one_and_named_by_their_layers() -> None:
    steps = [Step("prune_heads", f"layers.{layer}.attention", {"heads": 1}) for layer in (0, 1, 2)]
    steps += [Step("remove_layer", "layers.3"), Step("remove_layer", "layers.4")]
    groups = Decisions(None).groups(CompressionPolicy(tuple(steps)))
    assert [places_of(one.targets) for one in groups] == ["layers.0-2.attention", "layers.3", "layers.4"]
    assert places_of(["layers.0", "layers.2", "layers.3", "embeddings"]) == "embeddings, layers.0,2-3"


# Judged candidates

EFFECTS = {9: -0.02, 6: -0.06, "removed": -0.04, "int8": -0.01}
NOISE = 0.001


def made(heads: int, *, removed: bool, int8: bool) -> CompressionPolicy:
    """As `bert-uniform` makes it: one number of heads and one precision for all layers that stay."""
    layers = [layer for layer in range(6) if not (removed and layer == 2)]
    steps = [Step("remove_layer", "layers.2")] if removed else []
    kept: dict[str, Setting] = {"heads": heads, "importance": "fisher"}
    steps += [Step("prune_heads", f"layers.{layer}.attention", kept) for layer in layers if heads < 12]
    steps += [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in layers if int8]
    return CompressionPolicy(tuple(steps))


def spec() -> StudySpec:
    found = config.load_study("quickstart", operators=OPERATORS)
    return replace(found, device="xeon-2core", constraints={})


EXPLAINED = made(6, removed=True, int8=True)
NEVER_JUDGED = made(6, removed=False, int8=True)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A study whose qualities are a sum of known effects and little else, of all policies but one."""
    generator = random.Random(7)
    points = [(heads, removed, int8) for heads in (12, 9, 6) for removed in (False, True) for int8 in (False, True)]
    with Store.open(str(tmp_path_factory.mktemp("steps") / "studies.db")) as store:
        resolved = config.spec_to_json(spec())
        store.create_study(
            "quickstart", given=resolved, resolved=resolved, fingerprint={}, objectives=spec().objectives
        )
        with store.lease("quickstart") as lease:
            store.insert_baseline(lease)
            for number, (heads, removed, int8) in enumerate(points):
                policy = made(heads, removed=removed, int8=int8)
                if policy == NEVER_JUDGED:
                    continue
                quality = 0.95 + EFFECTS.get(heads, 0.0) + removed * EFFECTS["removed"] + int8 * EFFECTS["int8"]
                quality += generator.gauss(0, NOISE)
                score = Measurement("quality", quality, "accuracy", "measured", (quality - 0.02, quality + 0.02))
                if policy.is_baseline:
                    given.judge(store, lease, 0, Evaluated((score,)))
                else:
                    given.propose(store, lease, number, policy, Evaluated((score,)))
            store.set_fact(lease, "shape", parts_to_json(given.SHAPE))
        yield store


def told(store: Store) -> Steps:
    return explain_steps(store, "quickstart", EXPLAINED.digest)


def by_operator(store: Store) -> dict[str, StepTold]:
    return {one.operator: one for one in told(store).steps}


def quality_of(step: StepTold) -> Judged:
    (found,) = step.judged
    return found


@pytest.mark.expectation(23)
def test_a_judged_candidate_that_differs_in_one_step_alone_tells_its_cost(studied: Store) -> None:
    found = quality_of(by_operator(studied)["prune_heads"])
    assert (found.how, found.beside, found.count, found.unit) == ("pairs", "without", 1, "accuracy")
    assert found.value == pytest.approx(EFFECTS[6], abs=5 * NOISE)
    assert found.neighbours[0].digest == made(12, removed=True, int8=True).digest
    low, high = found.interval or (0, 0)
    assert high - low == pytest.approx(2 * 2**0.5 * 0.02), "of two candidates that nothing pairs"


@pytest.mark.expectation(23)
def test_without_one_the_main_effect_over_all_judged_candidates_is_told(studied: Store) -> None:
    found = quality_of(by_operator(studied)["remove_layer"])
    assert (found.how, found.beside, found.count) == ("main effect", "without", 11)
    low, high = found.interval or (0, 0)
    assert low < EFFECTS["removed"] < high
    assert found.value == pytest.approx(EFFECTS["removed"], abs=3 * NOISE)
    assert high - low < 0.02


def test_what_all_candidates_have_is_not_known(studied: Store, tmp_path: Path) -> None:
    """And of few candidates nothing is."""
    with Store.open(str(tmp_path / "few.db")) as store:
        given.study(store)
        with store.lease("quickstart") as lease:
            given.propose(store, lease, 0, EXPLAINED, Evaluated(given.searched(0.9, 1.0, 2.0)))
        (found, *_) = explain_steps(store, "quickstart", EXPLAINED.digest).steps
    assert quality_of(found).how == "not known"
    assert "1 candidates were judged, too few" in quality_of(found).why


def test_what_a_step_is_worth_follows_from_the_device_s_table(studied: Store) -> None:
    steps = by_operator(studied)
    assert list(steps) == ["remove_layer", "prune_heads", "quantize"]
    assert [one.target for one in steps.values()] == ["layers.2", "layers.0-1,3-5.attention", "layers.0-1,3-5"]
    price = Pricing.of(
        config.load_device("xeon-2core"), given.SHAPE, workload=spec().workload, objectives=(), constraints={}
    )

    def milliseconds(policy: CompressionPolicy) -> float:
        return next(one.value for one in price(policy).measurements if one.metric == "latency_ms")

    last, alone = steps["prune_heads"].last, steps["prune_heads"].alone
    assert last is not None
    assert alone is not None
    without = milliseconds(made(12, removed=True, int8=True))
    assert last.costs["latency_ms"] == pytest.approx(milliseconds(EXPLAINED) - without)
    assert alone.costs["latency_ms"] < last.costs["latency_ms"] < 0, "in fp32 there was more to take"
    assert told(studied).sources["latency_ms"] == "predicted"
    put_back = steps["remove_layer"].last
    assert put_back is not None
    assert put_back.costs["latency_ms"] == pytest.approx(milliseconds(EXPLAINED) - milliseconds(NEVER_JUDGED))


def printed(found: Steps, *, width: int, matrices: bool = False) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as seen:
        console.print(as_steps(found, matrices=matrices))
    return seen.get()


@pytest.mark.expectation(23)
def test_the_table_fits_80_columns_and_says_what_is_not_measured(studied: Store) -> None:
    text = printed(told(studied), width=80, matrices=True)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for said in ("2 prune_heads", "layers.0-1,3-5.attention", "1 without it", "main effect", "do not add up"):
        assert said in text
    words = " ".join(text.split())
    assert "it was not measured of this model" in words
    assert "384x384 fp32" in text
    assert "~−" in text


def test_its_json_has_the_form_that_is_documented(studied: Store) -> None:
    tree: dict[str, Any] = json.loads(json.dumps(told(studied).to_json()))
    form = DOCUMENTS["candidate"]["properties"]["steps"]
    assert set(form["required"]) == set(tree)
    step = form["properties"]["steps"]["items"]
    assert set(step["required"]) == set(tree["steps"][0])
    assert tree["steps"][1]["judged"][0]["neighbours"][0]["instead"] == ""
