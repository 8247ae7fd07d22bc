"""Labels beside points so that none covers another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_FAR: Final = 20.0
"""A label farther than this from its dot gets a line to it, in pixels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; `x`, `y` is its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def leader(self, x: float, y: float) -> tuple[float, float] | None:
        """Where a line from a dot to its label in this box should end; None when the two are close enough without."""
        near = min(max(x, self.x), self.x + self.width), min(max(y, self.y), self.y + self.height)
        return near if (near[0] - x) ** 2 + (near[1] - y) ** 2 > _FAR**2 else None

    def overlap(self, other: Box) -> float:
        """The area two boxes share."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across * down if across > 0 and down > 0 else 0.0

    def outside(self, other: Box) -> float:
        """The area of this box that lies outside of another."""
        return self.width * self.height - self.overlap(other)


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    obstacles: Sequence[Box],
    within: Box,
) -> list[Box]:
    """A box for the label of every anchor, near it, clear of obstacles and of the other labels where there is room.

    Greedy, nearest places first: with the dozen labels of a front this leaves overlaps only where a person would too.
    """
    taken = list(obstacles)
    placed: list[Box] = []
    for anchor, size in zip(anchors, sizes, strict=True):
        best = min(_places(anchor, size), key=lambda box: _cost(box, taken, within))
        placed.append(best)
        taken.append(best)
    return placed


def _cost(box: Box, taken: Sequence[Box], within: Box) -> float:
    """0 for a free place; `min` then keeps the first one, which is the nearest."""
    return sum(box.overlap(other) for other in taken) + 10 * box.outside(within)


def _places(anchor: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    (x, y), (width, height) = anchor, size
    for gap in (10, 20, 34, 50, 70):
        right, left, middle = x + gap, x - gap - width, x - width / 2
        above, below, level = y - 0.6 * gap - height, y + 0.6 * gap, y - height / 2
        for across, down in (
            (right, above), (left, above), (right, level), (left, level), (right, below), (left, below),
            (middle, above - 4), (middle, below + 4),
        ):  # fmt: skip
            yield Box(across, down, width, height)
