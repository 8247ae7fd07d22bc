"""Dominance, front, knee and hypervolume. Points are tuples in objective order; smaller is better everywhere
(`oriented` flips what is maximised)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autocompress.core.metrics import Direction

Point = tuple[float, ...]


def oriented(values: Mapping[str, float], directions: Mapping[str, Direction]) -> Point:
    """A candidate's metrics as a point to minimise. Raises KeyError when an objective is missing."""
    return tuple(values[name] if way == "minimize" else -values[name] for name, way in directions.items())


def costs(directions: Mapping[str, Direction]) -> list[str]:
    """The metrics that are minimised."""
    return [name for name, way in directions.items() if way == "minimize"]


def dominates(a: Point, b: Point) -> bool:
    """No worse anywhere and better somewhere."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the non-dominated points, in input order; of equal points all are kept."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    kept: list[int] = []
    for i in order:  # lexicographic order: a later point never dominates an earlier, different one
        if not any(dominates(points[j], points[i]) for j in kept):
            kept.append(i)
    return sorted(kept)


def ranks(points: Sequence[Point]) -> list[int]:
    """Non-domination rank of every point: 0 is the front, 1 the front without rank 0, and so on."""
    rank = [-1] * len(points)
    left = list(range(len(points)))
    level = 0
    while left:
        members = {left[i] for i in front([points[i] for i in left])}
        for i in members:
            rank[i] = level
        left = [i for i in left if i not in members]
        level += 1
    return rank


def knee(points: Sequence[Point]) -> int:
    """Index of the front point nearest to the ideal corner after scaling each objective to [0, 1].

    Raises ValueError on an empty front.
    """
    if not points:
        raise ValueError("an empty front has no knee")
    lows = [min(column) for column in zip(*points, strict=True)]
    highs = [max(column) for column in zip(*points, strict=True)]
    spans = [(high - low) or 1.0 for low, high in zip(lows, highs, strict=True)]

    def distance(point: Point) -> float:
        return math.sqrt(sum(((x - low) / span) ** 2 for x, low, span in zip(point, lows, spans, strict=True)))

    return min(range(len(points)), key=lambda i: distance(points[i]))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume that the points dominate inside the reference point.

    Slices along the last objective (HSO; While et al. 2006, section III), which is exact in any dimension and fast
    for the fronts of a few hundred points in two to four objectives met here.
    """
    inside = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    return _volume([inside[i] for i in front(inside)], reference)


def _volume(points: list[Point], reference: Point) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in points)
    if len(reference) == 2:
        total, best = 0.0, reference[1]
        for x, y in sorted(points):
            if y < best:
                total += (reference[0] - x) * (best - y)
                best = y
        return total
    total = 0.0
    ordered = sorted(points, key=lambda p: p[-1])
    for i, point in enumerate(ordered):
        upper = ordered[i + 1][-1] if i + 1 < len(ordered) else reference[-1]
        if upper > point[-1]:
            below = [p[:-1] for p in ordered[: i + 1]]
            total += (upper - point[-1]) * _volume([below[j] for j in front(below)], reference[:-1])
    return total
