"""Spaces whose costs are sums over layers, as tables for the solver (`solver.py`).

A point's cost is no sum over its knobs: a knob asked once for all layers multiplies with the layers that stay, and the
last layer that stays computes one token where the others compute all. It is one once these are settled. So each joint
value of such knobs, and each layer that may be the last, is a case of its own, in which all that is left to choose are
the knobs of each layer, together, and those of whatever else has knobs of its own. In every case each of these is
priced alone, and random points are priced whole: a space whose sums are not its prices is refused.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autocompress import operators
from autocompress.core.outcome import values
from autocompress.core.parts import WHOLE, ModelParts
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.space import Choice, Integer, Knob, SearchSpace, knob_name
from autocompress.errors import CandidateError, ExhaustedError, SpecError
from autocompress.pricing.prices import Pricing
from autocompress.pricing.ranges import Point
from autocompress.pricing.solver import Library, Solution, Variant

COSTS: Final = ("latency_ms", "size_mb")
"""What is summed: a prediction in milliseconds, and 10^6 bytes."""

_LAYER: Final = re.compile(r"\w+\.\d+")
_REST: Final = "the rest"
_MOST: Final = 256
"""So many joint values of the knobs of one layer are priced one by one, and so many cases told apart."""
_CHECKED: Final = 24
_OFF: Final = 1e-6
"""A sum is the price where it differs by no more than this share of it."""

Loss = Callable[[Sequence[Step]], float]
"""What the steps to one layer, or to one part outside of the layers, lose alone; 0 for none."""


@dataclass(frozen=True, slots=True)
class Case:
    """A library whose values are places in `choices`, values for the knobs of each part. `settled` are the others."""

    library: Library
    choices: Mapping[str, Sequence[Point]]
    settled: Point

    def point(self, found: Solution) -> Point:
        """The point of the space that a solution stands for."""
        point = dict(self.settled)
        for part, choices in self.choices.items():
            point.update(choices[int(found.values[part])])
        return point


@dataclass(frozen=True, slots=True)
class Start:
    """A point to begin a search with. `loss` is a sum of what was lost part by part, `costs` are its prices."""

    point: Point
    loss: float
    costs: Mapping[str, float]


def cases(space: SearchSpace, pricing: Pricing, loss: Loss, *, seed: int = 0) -> list[Case]:
    """A bound space as tables, whose points together are all of its points but for those without a layer.

    Raises SpecError, saying which knob or how far off the sums are, where its costs are no sums over parts.
    """
    told = _Told(space, pricing, loss)
    found = [case for settled in told.settled() if (case := told.case(settled)) is not None]
    told.check(found, random.Random(seed))
    return found


def start(cases: Sequence[Case], bounds: Mapping[str, float]) -> Start:
    """The point of least summed loss whose costs are at most `bounds`. Raises ExhaustedError, with the bound that would
    do, where there is none."""
    best: Start | None = None
    refused: ExhaustedError | None = None
    for case in sorted(cases, key=_least_loss):
        if best is not None and _least_loss(case) >= best.loss:
            break
        try:
            found = case.library.solve(bounds)
        except ExhaustedError as error:
            refused = error
            continue
        if best is None or found.loss < best.loss:
            best = Start(case.point(found), found.loss, found.costs)
    if best is None:
        low = {cost: min(case.library.ends(cost)[0] for case in cases) for cost in bounds}
        alone = ", ".join(f"{cost} is at least {low[cost]:.6g}" for cost, limit in bounds.items() if low[cost] > limit)
        asked = ", ".join(f"{cost} at most {limit:.6g}" for cost, limit in bounds.items())
        raise ExhaustedError(
            f"no point has {asked}: {alone}; raise the bound to that" if alone else str(refused)
        ) from refused
    return best


def ladder(cases: Sequence[Case], cost: str, rungs: int, bounds: Mapping[str, float] | None = None) -> list[Start]:
    """The distinct starting points under so many bounds on one cost, evenly spread by their logarithm from the least to
    the most that it can be, cheapest first. Raises as `start` does."""
    ends = [case.library.ends(cost) for case in cases]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if bounds:
        high = min(high, bounds.get(cost, high))
    found: dict[tuple[tuple[str, Setting], ...], Start] = {}
    for rung in range(rungs):
        limit = low * (high / low) ** (rung / max(1, rungs - 1))
        one = start(cases, {**(bounds or {}), cost: limit})
        found.setdefault(tuple(one.point.items()), one)
    return list(found.values())


def _least_loss(case: Case) -> float:
    return math.fsum(min(one.loss for one in variants) for variants in case.library.parts.values())


class _Told:
    """A space taken apart."""

    def __init__(self, space: SearchSpace, pricing: Pricing, loss: Loss) -> None:
        self._space, self._pricing, self._loss = space, pricing, loss
        self._values = {name: _listed(name, knob) for name, knob in space.knobs().items()}
        self._once: list[str] = []
        self._knobs: dict[str, list[str]] = {}
        for step in space.steps:
            if WHOLE in step.targets:
                raise SpecError(
                    f"space {space.name!r}: step {step.name!r} is about the whole model, and no sum over parts"
                )
            for target in step.targets:
                names = [
                    knob_name(step.name, step.place(target), knob)
                    for knob in (*(["apply"] if step.optional else []), *step.knobs)
                ]
                once = step.per == "step" and len({_part(one) for one in step.targets}) > 1
                known = self._once if once else self._knobs.setdefault(_part(target), [])
                known += [name for name in names if name not in known]
        self._knobs = {part: names for part, names in self._knobs.items() if names}
        self._layers = sorted({part.layer for part in pricing.shape.parts if part.layer is not None})
        for what, names in ((f"part {part!r}", names) for part, names in self._knobs.items()):
            self._few(what, math.prod(len(self._values[name]) for name in names))
        self._few("cases", len(self._layers) * math.prod(len(self._values[name]) for name in self._once))

    def settled(self) -> list[tuple[Point, int]]:
        """What is told apart: values of the knobs that are asked once for several parts, and the last layer."""
        once = itertools.product(*(self._values[name] for name in self._once))
        return [(dict(zip(self._once, one, strict=True)), last) for one in once for last in self._layers]

    def case(self, settled: tuple[Point, int]) -> Case | None:
        """None where no point has this layer as its last."""
        once, last = settled
        base = {**{name: known[0] for name, known in self._values.items()}, **once}
        choices: dict[str, list[tuple[Point, Sequence[Step]]]] = {}
        for part in self._knobs:
            distinct: dict[tuple[str, ...], tuple[Point, Sequence[Step]]] = {}
            layer = self._layer(part)
            for point in self._joint(part):
                looked = self._look({**base, **point})
                if looked is None:
                    continue
                policy, shape = looked
                stays = layer is None or any(one.layer == layer for one in shape.parts)
                if layer is not None and (layer > last and stays or layer == last and not stays):
                    continue
                steps = [step for step in policy.steps if _part(step.target) == part]
                distinct.setdefault(tuple(map(repr, steps)), (point, steps))
            if not distinct:
                return None
            choices[part] = list(distinct.values())
        for options in choices.values():
            base |= options[0][0]
        looked = self._look(base)
        if looked is None or max(one.layer or 0 for one in looked[1].parts) != last:
            return None
        whole = values(self._pricing.count(looked[1]))
        parts = {}
        for part, options in choices.items():
            variants = []
            for at, (point, done) in enumerate(options):
                changed = self._look({**base, **point})
                if changed is None:
                    return None
                priced = values(self._pricing.count(changed[1]))
                variants.append(Variant(at, self._loss(done), {cost: priced[cost] - whole[cost] for cost in COSTS}))
            parts[part] = variants
        others: dict[str, list[Step]] = {}
        for step in looked[0].steps:
            if _part(step.target) not in choices:
                others.setdefault(_part(step.target), []).append(step)
        rest = Variant(0, math.fsum(map(self._loss, others.values())), {cost: whole[cost] for cost in COSTS})
        points = {part: [point for point, _ in options] for part, options in choices.items()}
        return Case(Library({_REST: [rest], **parts}), points, base)

    def check(self, found: Sequence[Case], generator: random.Random) -> None:
        """Raises SpecError where sums are not prices."""
        if not found:
            raise SpecError(f"space {self._space.name!r}: none of its points leaves a layer")
        for _ in range(_CHECKED):
            case = generator.choice(found)
            chosen = {part: generator.choice(variants) for part, variants in case.library.parts.items()}
            sums = {cost: math.fsum(one.costs[cost] for one in chosen.values()) for cost in COSTS}
            at = Solution({part: one.value for part, one in chosen.items()}, 0.0, sums)
            looked = self._look(case.point(at))
            if looked is None:
                raise SpecError(f"space {self._space.name!r}: what fits each part alone does not fit together")
            priced = values(self._pricing.count(looked[1]))
            for cost in COSTS:
                if abs(sums[cost] - priced[cost]) > _OFF * abs(priced[cost]):
                    raise SpecError(
                        f"space {self._space.name!r}: {cost} is no sum over parts, {sums[cost]:.6g} where a point "
                        f"costs {priced[cost]:.6g}; begin its search without a solver"
                    )

    def _joint(self, part: str) -> list[Point]:
        names = self._knobs[part]
        joint = itertools.product(*(self._values[name] for name in names))
        return [dict(zip(names, one, strict=True)) for one in joint]

    def _layer(self, part: str) -> int | None:
        inside = (one.layer for one in self._pricing.shape.parts if one.name.startswith(f"{part}."))
        return next(inside, None) if _LAYER.fullmatch(part) else None

    def _look(self, point: Point) -> tuple[CompressionPolicy, ModelParts] | None:
        """The policy without its idle steps, and the shape; None where it fits no model."""
        try:
            return operators.effective(self._space.policy(lambda name, _: point[name]), self._pricing.shape)
        except CandidateError:
            return None

    def _few(self, what: str, count: int) -> None:
        if count > _MOST:
            raise SpecError(
                f"space {self._space.name!r}: {count:,} values of its {what} are more than {_MOST} that would be "
                "priced one by one; offer fewer, or begin its search without a solver"
            )


def _part(target: str) -> str:
    """The layer that a target lies in, or itself."""
    found = _LAYER.match(target)
    return found.group() if found else target


def _listed(name: str, knob: Knob) -> Sequence[Setting]:
    """Its values, the one that takes nothing away first where that is to switch a step off."""
    if isinstance(knob, Choice):
        known = [value for value in knob.choices if isinstance(value, bool | int | float | str)]
        return sorted(known, key=bool) if name.endswith("/apply") else known
    if isinstance(knob, Integer) and knob.size <= _MOST:
        return list(range(knob.low, knob.high + 1, knob.step))
    raise SpecError(
        f"knob {name!r} has more values than {_MOST}; offer `choices`, or begin the search without a solver"
    )
