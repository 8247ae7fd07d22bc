"""Points of least loss under bounds, found by integer programming over a table of parts: no candidate is judged.

Each part is in one of a few variants, of which each adds something to a loss and to every cost. Costs of many models
are such sums. Losses are not: two variants that are harmless alone may do harm together, so what is found is where to
begin, and no promise. The program is a knapsack with a choice of one in each class (Sinha and Zoltners 1979), as it was
used for bit widths by part (HAWQ-V3; Yao et al. 2021), and HiGHS solves it (`scipy.optimize.milp`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.core.policy import Setting
from autocompress.errors import ExhaustedError, SpecError

_FUZZ: Final = 1e-9
"""Sums that differ by less, relative to the bound, are equal."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a part may be, and what it adds: to the loss, and to each cost in that cost's unit."""

    value: Setting
    loss: float
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Solution:
    """The value of every part, and the sums over them."""

    values: Mapping[str, Setting]
    loss: float
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Library:
    """The variants of every part. Raises SpecError where a part has none, or one lacks a cost that others have."""

    parts: Mapping[str, Sequence[Variant]]

    def __post_init__(self) -> None:
        if not self.parts:
            raise SpecError("library: it holds no part; give at least one, with its variants")
        names = {name for variants in self.parts.values() for one in variants for name in one.costs}
        for part, variants in self.parts.items():
            if not variants:
                raise SpecError(f"library: part {part!r} has no variant; give at least the one that it is in")
            for one in variants:
                if missing := sorted(names - set(one.costs)):
                    raise SpecError(
                        f"library: variant {one.value!r} of part {part!r} has no {', '.join(missing)}, which others "
                        "have; give every variant the same costs"
                    )
                if not all(map(math.isfinite, (one.loss, *one.costs.values()))):
                    raise SpecError(
                        f"library: variant {one.value!r} of part {part!r} has a loss or a cost that is no number; "
                        "leave out what could not be measured"
                    )

    @property
    def costs(self) -> tuple[str, ...]:
        return tuple(next(iter(self.parts.values()))[0].costs)

    def ends(self, cost: str) -> tuple[float, float]:
        """The least and the most that all parts together can cost. Raises SpecError for a cost it knows nothing of."""
        self._check(cost)
        sums = [[one.costs[cost] for one in variants] for variants in self.parts.values()]
        return math.fsum(map(min, sums)), math.fsum(map(max, sums))

    def solve(self, bounds: Mapping[str, float]) -> Solution:
        """The values of least loss whose costs are at most `bounds`; of several such, those of the smallest costs, each
        as a share of its most. Milliseconds for hundreds of variants.

        Raises ExhaustedError, with the bound that would do, where no values keep the bounds.
        """
        for cost in bounds:
            self._check(cost)
        losses = [one.loss for variants in self.parts.values() for one in variants]
        chosen = self._least(losses, bounds)
        if chosen is None:
            raise ExhaustedError(self._refusal(bounds))
        best = self._solution(chosen)
        shares = [
            math.fsum(one.costs[cost] / abs(self.ends(cost)[1] or 1.0) for cost in self.costs)
            for variants in self.parts.values()
            for one in variants
        ]
        cheapest = self._least(shares, bounds, loss=best.loss)
        return best if cheapest is None else self._solution(cheapest)

    def ladder(self, cost: str, rungs: int, bounds: Mapping[str, float] | None = None) -> list[Solution]:
        """The distinct solutions under so many bounds on one cost, from the least that it can be to the most, evenly
        spread by their logarithm; cheapest first. Other `bounds` hold for all. Raises as `solve` does, and SpecError
        for fewer than two rungs or a cost that can be nothing."""
        others = dict(bounds or {})
        low, high = self.ends(cost)
        if rungs < 2:
            raise SpecError(f"rungs: {rungs} make no ladder; ask for at least 2")
        if low <= 0:
            raise SpecError(f"library: {cost} can be {low:.6g}, and a ladder needs costs above 0; add what never goes")
        if others:
            low = self._cheapest(cost, others)
            high = max(low, min(high, others.get(cost, high)))
        found: dict[tuple[Setting, ...], Solution] = {}
        for rung in range(rungs):
            limit = low * (high / low) ** (rung / (rungs - 1))
            solution = self.solve({**others, cost: limit})
            found.setdefault(tuple(solution.values.values()), solution)
        return list(found.values())

    def _check(self, cost: str) -> None:
        if cost not in self.costs:
            raise SpecError(f"library: nothing is known of {cost!r} (allowed: {', '.join(self.costs) or 'none'})")

    def _cheapest(self, cost: str, bounds: Mapping[str, float]) -> float:
        """The least of one cost under bounds on the others."""
        others = {name: limit for name, limit in bounds.items() if name != cost}
        chosen = self._least([one.costs[cost] for parts in self.parts.values() for one in parts], others)
        if chosen is None:
            raise ExhaustedError(self._refusal(others))
        return self._solution(chosen).costs[cost]

    def _refusal(self, bounds: Mapping[str, float]) -> str:
        """Why bounds cannot be kept, and the one that would do: those that cannot be kept alone, or else each beside
        the others."""
        told = ", ".join(f"{cost} at most {limit:.6g}" for cost, limit in bounds.items())
        alone = {
            cost: low for cost, limit in bounds.items() if (low := self.ends(cost)[0]) > limit + _FUZZ * abs(limit)
        }
        if alone:
            least = ", ".join(f"{cost} is at least {low:.6g}" for cost, low in alone.items())
            return f"no point has {told}: {least}; raise the bound to that"
        beside = " or ".join(f"{cost} to {self._cheapest(cost, bounds):.6g}" for cost in bounds)
        return f"no point has {told} together; raise {beside}, and keep the others"

    def _solution(self, chosen: Sequence[int]) -> Solution:
        picked = {part: variants[at] for (part, variants), at in zip(self.parts.items(), chosen, strict=True)}
        return Solution(
            {part: one.value for part, one in picked.items()},
            math.fsum(one.loss for one in picked.values()),
            {cost: math.fsum(one.costs[cost] for one in picked.values()) for cost in self.costs},
        )

    def _least(
        self, weights: Sequence[float], bounds: Mapping[str, float], *, loss: float | None = None
    ) -> Sequence[int] | None:
        """Which variant of each part makes the smallest sum of `weights`, a weight for each variant of each part in
        turn, under `bounds` and a largest `loss`; None where there is none."""
        every = [one for variants in self.parts.values() for one in variants]
        limits = [([one.costs[cost] for one in every], limit) for cost, limit in bounds.items()]
        if loss is not None:
            limits.append(([one.loss for one in every], loss))
        cuts: list[Sequence[int]] = []
        while (taken := _program(weights, self._sizes(), limits, cuts)) is not None:
            sums = [(math.fsum(row[at] for at in taken), limit, max(map(abs, row))) for row, limit in limits]
            if all(found <= limit + _FUZZ * max(abs(limit), most) for found, limit, most in sums):
                starts = [0]
                for size in self._sizes():
                    starts.append(starts[-1] + size)
                return [at - start for at, start in zip(taken, starts, strict=False)]
            cuts.append(taken)  # within the program's tolerance, a millionth, but not within the bounds
        return None

    def _sizes(self) -> list[int]:
        return [len(variants) for variants in self.parts.values()]


def _program(
    weights: Sequence[float],
    sizes: Sequence[int],
    limits: Sequence[tuple[Sequence[float], float]],
    cuts: Sequence[Sequence[int]],
) -> Sequence[int] | None:
    """The places, one in each class of these sizes, of the smallest sum of weights; not those of `cuts`."""
    import numpy as np  # both where somebody asks: their import takes longer than all else here
    from scipy import optimize

    count = len(weights)
    scale = max(map(abs, weights)) or 1.0
    one_each = np.zeros((len(sizes), count))
    start = 0
    for row, size in enumerate(sizes):
        one_each[row, start : start + size] = 1
        start += size
    constraints: list[Any] = [optimize.LinearConstraint(one_each, 1, 1)]
    for row_of, limit in limits:
        most = max(map(abs, row_of)) or 1.0
        slack = _FUZZ * max(abs(limit), most)
        constraints.append(optimize.LinearConstraint(np.array([row_of]) / most, -np.inf, (limit + slack) / most))
    for cut in cuts:
        marked = np.zeros((1, count))
        marked[0, list(cut)] = 1
        constraints.append(optimize.LinearConstraint(marked, -np.inf, len(sizes) - 1))
    found = optimize.milp(
        np.array(weights) / scale,
        integrality=np.ones(count),
        bounds=optimize.Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    return None if found.x is None else [int(at) for at in np.flatnonzero(found.x > 0.5)]
