"""What a search space can reach, known before anything is evaluated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from autocompress import operators
from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Priced, values
from autocompress.core.policy import BASELINE, Setting
from autocompress.core.space import Choice, Integer, Knob, SearchSpace
from autocompress.pricing.prices import Pricing

Point = Mapping[str, Setting]
"""A value for every knob of a bound space."""

Known = Mapping[str, float]
"""What follows from a point, by metric; nothing where the point is out of the question."""

_SAMPLE: Final = 300
_PASSES: Final = 2
_REFERENCE: Final = 1.2
_WORK: Final = "macs"
_TOGETHER: Final = "all costs"
"""The product of costs, among a point's metrics."""


def reachable(space: SearchSpace, pricing: Pricing, *, seed: int) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every metric that follows from a policy's shape.

    From the best of a random sample, each knob in turn takes the value that pushes the metric furthest, twice over:
    exact where knobs act independently, which costs nearly do.
    """
    generator = random.Random(seed)
    knobs = space.knobs()
    points: list[Point] = [{name: draw(knob, generator) for name, knob in knobs.items()} for _ in range(_SAMPLE)]

    def price(point: Point) -> Known:
        return values(pricing(space.policy(lambda name, _: point[name])).measurements)

    priced = [(point, found) for point in points if (found := price(point))]
    metrics = sorted({metric for _, found in priced for metric in found})
    ends = {}
    for metric in metrics:
        low, high = (furthest(knobs, price, priced, metric, sign=sign)[1][metric] for sign in (1, -1))
        ends[metric] = low, high
    return ends


def reference_point(pricing: Pricing, objectives: Mapping[str, Direction], *, quality: float = 0.0) -> dict[str, float]:
    """The hypervolume's reference: a fifth above the baseline's predicted costs, at the least `quality` that counts."""
    known = values(pricing(BASELINE).measurements)
    point = {
        metric: _REFERENCE * known[metric] if way == "minimize" and metric in known else METRICS[metric].worst
        for metric, way in objectives.items()
    }
    return {**point, **({"quality": quality} if "quality" in point else {})}


def cheapest_whole(space: SearchSpace, pricing: Pricing, costs: Sequence[str], *, seed: int) -> Point | None:
    """Of the points that compute as much as the uncompressed model does, the one with the smallest product of `costs`:
    what anybody would try first, everything in 8 bits or 4 and nothing cut off. None where a space has no such point,
    or the study has no use for it."""
    generator, knobs = random.Random(seed), operators.in_many_bits(space).knobs()

    def priced(point: Point) -> Priced:
        return pricing(space.policy(lambda name, _: point[name]))

    def price(point: Point) -> Known:
        found = values(priced(point).measurements)
        return {**found, _TOGETHER: math.prod(found.get(cost, 1.0) for cost in costs)} if found else {}

    def whole(point: Point) -> Known:
        found = price(point)
        return found if found and found[_WORK] >= most else {}

    most = values(pricing(BASELINE).measurements)[_WORK]
    points: list[Point] = [{name: draw(knob, generator) for name, knob in knobs.items()} for _ in range(_SAMPLE)]
    known = [(point, found) for point in points if (found := price(point))]
    if not known:
        return None
    point, found = furthest(knobs, price, known, _WORK, sign=-1)
    if found[_WORK] < most:
        return None
    point, _ = furthest(knobs, whole, [(point, found)], _TOGETHER, sign=1)
    policy = priced(point).policy
    return None if priced(point).broken or policy.is_baseline or operators.in_few_bits(policy) else point


def furthest(
    knobs: Mapping[str, Knob],
    price: Callable[[Point], Known],
    priced: Sequence[tuple[Point, Known]],
    metric: str,
    *,
    sign: int,
) -> tuple[Point, Known]:
    """The point with the smallest metric, or with the largest where `sign` is -1, and what is known of it: the best of
    those `priced`, from which each knob in turn takes the value that goes furthest."""
    point, best = min(priced, key=lambda entry: sign * entry[1][metric])
    for _ in range(_PASSES):
        for name, knob in knobs.items():
            for value in _values(knob):
                tried = {**point, name: value}
                known = price(tried)
                if known and sign * known[metric] < sign * best[metric]:
                    point, best = tried, known
    return point, best


def _values(knob: Knob) -> list[Setting]:
    """Every value of a small knob, the ends of a large one."""
    if isinstance(knob, Choice):
        return [value for value in knob.choices if isinstance(value, bool | int | float | str)]
    return [knob.low, knob.high]


def draw(knob: Knob, generator: random.Random) -> Setting:
    """A random value of a knob."""
    if isinstance(knob, Choice):
        return generator.choice(_values(knob))
    if isinstance(knob, Integer):
        return generator.randrange(knob.low, knob.high + 1, knob.step)
    return generator.uniform(knob.low, knob.high)
