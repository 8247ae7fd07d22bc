"""Starting points of real spaces by the solver, held against every point of a small one."""

import itertools
import random
from collections.abc import Sequence

import pytest

from autocompress import config, operators
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.outcome import values
from autocompress.core.policy import Step
from autocompress.core.space import Choice, Real, SearchSpace, StepSpace
from autocompress.core.workload import Workload
from autocompress.errors import ExhaustedError, SpecError
from autocompress.operators import OPERATORS
from autocompress.pricing import Pricing
from autocompress.pricing.additive import COSTS, Case, Start, cases, ladder, start

SHAPE = encoder(
    32,
    [encoder_layer(index, 32, heads=4, head_size=8, channels=64) for index in range(3)],
    words=50,
    others=40,
    head=(3,),
)
DEVICE = config.load_device("jetson-orin-nano")
assert DEVICE.cost is not None
PRICING = Pricing.of(DEVICE, SHAPE, workload=Workload(1, 16, DEVICE.cost.threads), objectives=(), constraints={})
REMOVED = StepSpace("remove_layer", "layers.*", optional=True)
NARROWED = StepSpace("prune_channels", "layers.*.feed_forward", {"channels": Choice((16, 64))}, per="step")
ROUNDED = StepSpace("quantize", "layers.*", {"bits": Choice((32, 8))})
TABLES = StepSpace("quantize", "embeddings", {"bits": Choice((32, 4))}, name="tables", per="step")


def space(*steps: StepSpace) -> SearchSpace:
    return operators.bound(SearchSpace("small", 1, steps), SHAPE)


def loss(steps: Sequence[Step]) -> float:
    """Another one for whatever is done to a part, the same on every machine."""
    return random.Random(repr(steps)).random() if steps else 0.0


SMALL = space(REMOVED, NARROWED, ROUNDED, TABLES)


@pytest.fixture(scope="module")
def small() -> list[Case]:
    return cases(SMALL, PRICING, loss)


def every_point() -> list[tuple[float, dict[str, float]]]:
    """What each point of the small space loses, summed over its parts, and its prices."""
    knobs = SMALL.knobs()
    found = []
    for chosen in itertools.product(*(knob.choices for knob in knobs.values() if isinstance(knob, Choice))):
        point = dict(zip(knobs, chosen, strict=True))
        priced = PRICING(SMALL.policy(lambda name, _, point=point: point[name]))  # type: ignore[misc]
        if not priced.measurements:
            continue
        parts: dict[str, list[Step]] = {}
        for step in priced.policy.steps:
            parts.setdefault(".".join(step.target.split(".")[:2]), []).append(step)
        known = values(priced.measurements)
        found.append((sum(map(loss, parts.values())), {cost: known[cost] for cost in COSTS}))
    return found


def test_no_point_of_a_space_within_the_bounds_loses_less(small: list[Case]) -> None:
    points = every_point()
    assert len(points) == (2**3 - 1) * 2 * 2**3 * 2
    ends = {cost: (min(c[cost] for _, c in points), max(c[cost] for _, c in points)) for cost in COSTS}
    for share in (0.1, 0.3, 0.6, 1.0):
        bounds = {cost: low + share * (high - low) for cost, (low, high) in ends.items()}
        found = start(small, bounds)
        least = min(lost for lost, costs in points if all(costs[c] <= bounds[c] * (1 + 1e-9) for c in bounds))
        assert found.loss == pytest.approx(least)
        assert all(found.costs[cost] <= bounds[cost] * (1 + 1e-6) for cost in bounds)
        priced = values(PRICING(SMALL.policy(lambda name, _, at=found.point: at[name])).measurements)  # type: ignore[misc]
        assert {cost: priced[cost] for cost in COSTS} == pytest.approx(dict(found.costs))


def test_a_ladder_over_a_space_falls_in_loss_as_the_bound_rises(small: list[Case]) -> None:
    found: list[Start] = ladder(small, "latency_ms", 6)
    losses = [one.loss for one in found]
    assert len(found) > 2
    assert losses == sorted(losses, reverse=True)
    assert found == ladder(cases(SMALL, PRICING, loss), "latency_ms", 6), "the same every time"


def test_a_bound_that_no_point_of_a_space_keeps_is_told_with_the_one_that_would_do(small: list[Case]) -> None:
    low = min(costs["size_mb"] for _, costs in every_point())
    with pytest.raises(
        ExhaustedError, match=rf"size_mb at most 0.0001: size_mb is at least {low:.6g}; raise the bound"
    ):
        start(small, {"size_mb": 0.0001})


def test_spaces_whose_costs_are_no_sums_over_parts_are_refused() -> None:
    narrow = StepSpace("prune_hidden", "*", {"size": Choice((16, 32))})
    with pytest.raises(SpecError, match="step 'prune_hidden' is about the whole model, and no sum over parts"):
        cases(space(narrow), PRICING, loss)
    many = StepSpace("prune_channels", "layers.*.feed_forward", {"channels": Choice(tuple(range(1, 65)))})
    heads = StepSpace("prune_heads", "layers.*.attention", {"heads": Choice((1, 2, 3, 4))}, name="heads")
    with pytest.raises(
        SpecError, match=r"512 values of its part 'layers.0' are more than 256 .*; offer fewer, or begin"
    ):
        cases(space(REMOVED, heads, many), PRICING, loss)
    real = StepSpace("quantize", "layers.*", {"bits": Choice((8,)), "smoothing": Real(0.2, 0.8)})
    with pytest.raises(
        SpecError, match=r"knob 'quantize/layers.0/smoothing' has more values than 256; offer `choices`"
    ):
        cases(
            SearchSpace("real", 1, (StepSpace(real.operator, "layers.*", real.knobs, targets=("layers.0",)),)),
            PRICING,
            loss,
        )


def test_the_space_of_layers_by_themselves_is_a_sum_once_its_last_layer_is_settled() -> None:
    offered = operators.bound(config.load_space("prune-only", operators=OPERATORS), SHAPE)
    assert [len(case.choices) for case in cases(offered, PRICING, loss)] == [3, 3, 3]
