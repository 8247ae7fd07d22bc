"""How minutes are divided among stages that ask for more of them than there are."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage takes: `fixed` seconds whatever is done, and `each` for every unit (a step, a second of search). It
    is asked for so many units, and does with the `least`. Where not all of it fits, `weight` is its claim."""

    stage: str
    fixed: float
    each: float = 0.0
    asked: int = 0
    least: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.asked or self.fixed < 0 or self.each < 0 or not self.weight > 0:
            raise ValueError(f"`0 <= least <= asked`, seconds >= 0 and `weight > 0` must hold, got {self}")

    def seconds(self, units: float) -> float:
        """Of so many units."""
        return self.fixed + self.each * units

    @property
    def most_seconds(self) -> float:
        return self.seconds(self.asked)

    @property
    def least_seconds(self) -> float:
        return self.seconds(self.least)


@dataclass(frozen=True, slots=True)
class Part:
    """What a stage is given."""

    need: Need
    units: int

    @property
    def seconds(self) -> float:
        return self.need.seconds(self.units)

    @property
    def is_cut(self) -> bool:
        return self.units < self.need.asked


def least_seconds(needs: Iterable[Need]) -> float:
    """What all of them take where each does the least."""
    return sum(need.least_seconds for need in needs)


def divided(needs: Sequence[Need], seconds: float) -> tuple[Part, ...]:
    """So many seconds among the needs. Nothing is cut where all fits. Else a stage that asks for less than its share is
    left whole and none gets less than it needs; the others share what is left by their weights (max-min fairness:
    Bertsekas and Gallager 1992, section 6.5.2). Where not even the least fits, everyone gets that."""
    if sum(need.most_seconds for need in needs) <= seconds:
        return tuple(Part(need, need.asked) for need in needs)
    level = _level(needs, seconds)
    return tuple(Part(need, _units(need, level)) for need in needs)


def _share(need: Need, level: float) -> float:
    """Seconds of a need at a level, which is the seconds of a weight of 1."""
    return min(need.most_seconds, max(need.least_seconds, level * need.weight))


def _units(need: Need, level: float) -> int:
    if need.each == 0:
        return need.asked
    units = math.floor((_share(need, level) - need.fixed) / need.each + 1e-9)
    return min(need.asked, max(need.least, units))


def _level(needs: Sequence[Need], seconds: float) -> float:
    """Where the shares add up to the seconds; 0 where even the least do not fit. Between two of its kinks the sum is a
    straight line."""
    kinks = sorted({0.0, *(end / n.weight for n in needs for end in (n.least_seconds, n.most_seconds))})
    below, spent = 0.0, least_seconds(needs)
    if spent >= seconds:
        return below
    for kink in kinks:
        total = sum(_share(need, kink) for need in needs)
        if total >= seconds:
            return below + (kink - below) * (seconds - spent) / (total - spent)
        below, spent = kink, total
    return below


def makespan(sizes: Iterable[float], workers: int) -> float:
    """When the last of some tasks ends, the longest begun first, each by whoever is free (Graham 1969)."""
    free = [0.0] * max(1, workers)
    for size in sorted(sizes, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + size)
    return max(free)
