"""All pairs of a study's verified models and a ladder of thresholds: what each costs, and what it is expected to lose.

Each pair at each threshold stands beside the verified models as one more member (`certainty.belief`), so that what is
said of it is shrunk like theirs and means the same. One at a time: hundreds that are nearly equal would tell the study
hundreds of times what members lose. Where a small model is sure and differs, it is wrong more often than members are
where they differ; that is expected beforehand, as few such rows are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.cascades.crossing import Bools, Crossed, Doubt, crossed, halves, threshold_for
from autocompress.cascades.prices import Costs, Price, priced, share_interval
from autocompress.certainty import Losses, RowScores, believe, held_out_losses
from autocompress.core.policy import content_digest

Rows = Mapping[str, RowScores]
Floats = NDArray[np.float64]

SHARES: Final = (0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
"""Of texts that are handed on. Below, the second model hardly pays for its room."""
_TOGETHER: Final = 128
_SURE_LOSES: Final = 0.3
"""Of the rows on which a member differs from its teacher it loses net 0.4 (`certainty.belief`); of those on which a
small model is sure, that much more. By five members of a quickstart, of 52 such rows: 0.4 to 0.6 where a tenth of all
rows is handed on, 0.7 at a fifth, 0.9 at three tenths."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """A verified model of a study: its number, scores and doubts of held-out rows by split, and what it costs."""

    number: int
    rows: Rows
    doubts: Doubt
    costs: Costs


@dataclass(frozen=True, slots=True)
class Found:
    """Two models as one, by their numbers. Texts of which the small one's doubt lies above `threshold` are handed on:
    of held-out ones this `share`, with a 95 % interval. `expected` is what it loses below the uncompressed model on
    rows that nobody has seen, and how `uncertain` that is, one standard deviation; `rows` are what held-out rows add to
    its score."""

    small: int
    large: int
    threshold: float
    share: float
    share_interval: tuple[float, float]
    price: Price
    expected: float
    uncertain: float
    rows: Rows


def cascade_digest(small: str, large: str, doubt: float, temperatures: tuple[float, float]) -> str:
    """Of two models by their digests, and of what makes them one."""
    return content_digest({"small": small, "large": large, "doubt": doubt, "temperatures": list(temperatures)})


@dataclass(frozen=True, slots=True)
class _Pair:
    small: Answerer
    large: Answerer
    share: float
    crossed: Crossed


def found_cascades(
    teacher: Rows, models: Sequence[Answerer], *, faster_than: float = float("inf"), shares: Sequence[float] = SHARES
) -> list[Found]:
    """Those whose mean latency lies below `faster_than` milliseconds and below that of their larger model, the fastest
    first. Where the small model is never unsure there is none."""
    first = halves({split: len(rows) for split, rows in teacher.items()})
    pairs = list(_pairs(models, shares, first, faster_than))
    members, found = [one.rows for one in models], []
    for start in range(0, len(pairs), _TOGETHER):
        some = pairs[start : start + _TOGETHER]
        expected, uncertain = _believed(teacher, members, [pair.crossed for pair in some])
        found += [_told(*one) for one in zip(some, expected, uncertain, strict=True)]
    return sorted(found, key=lambda one: (one.price.mean_ms, one.expected))


def _pairs(
    models: Sequence[Answerer], shares: Iterable[float], first: Mapping[str, Bools], faster_than: float
) -> Iterator[_Pair]:
    for small in models:
        for large in models:
            if small.costs.latency_ms >= large.costs.latency_ms:
                continue
            for share in shares:
                if priced(small.costs, large.costs, share).mean_ms >= min(faster_than, large.costs.latency_ms):
                    break
                one = crossed(small.rows, small.doubts, large.rows, share, first)
                handed, rows = one.counts
                if 0 < handed < rows:
                    yield _Pair(small, large, share, one)


def _told(pair: _Pair, expected: float, uncertain: float) -> Found:
    handed, rows = pair.crossed.counts
    every = np.concatenate(list(pair.small.doubts.values()))
    return Found(
        small=pair.small.number,
        large=pair.large.number,
        threshold=threshold_for(every, pair.share),
        share=handed / rows,
        share_interval=share_interval(handed, rows),
        price=priced(pair.small.costs, pair.large.costs, handed / rows),
        expected=float(expected),
        uncertain=float(uncertain),
        rows=pair.crossed.rows,
    )


def _believed(teacher: Rows, members: Sequence[Rows], cascades: Sequence[Crossed]) -> tuple[Floats, Floats]:
    """Expected losses [cascades] and how uncertain they are, each beside all members."""
    count = len(members)
    losses = _each_beside(held_out_losses(teacher, [*members, *(one.rows for one in cascades)]), count)
    more = np.zeros_like(losses.seen)
    more[:, count] = [_SURE_LOSES * _sure_of_differing(teacher, one) for one in cascades]
    more *= losses.differs
    found = believe(replace(losses, seen=losses.seen - more))  # what is expected beforehand is moved by as much
    return (found.expected + more)[:, count], found.uncertain[:, count]


def _sure_of_differing(teacher: Rows, one: Crossed) -> float:
    """The share of rows that were not handed on among those which are answered otherwise than by the teacher."""
    differ = {split: (rows.values != teacher[split].values).any(axis=1) for split, rows in one.rows.items()}
    every = sum(int(rows.sum()) for rows in differ.values())
    kept = sum(int((rows & ~one.handed[split]).sum()) for split, rows in differ.items())
    return kept / every if every else 1.0


def _each_beside(losses: Losses, members: int) -> Losses:
    """Of members and cascades in a row, as many studies as there are cascades, of the members and one cascade each."""
    places = np.array([[*range(members), place] for place in range(members, len(losses.seen))], dtype=np.int64)
    covariance = losses.covariance[places[:, :, None], places[:, None, :]]
    return Losses(losses.seen[places], covariance, losses.differs[places], losses.vague[places], losses.rows)
