"""Thresholds of doubt chosen on one half of the held-out rows, and what two models answer to the other half: no row is
answered by a threshold that it had a part in choosing.

A threshold is chosen by the share of texts that it hands on, which needs no label, so that only its error as a quantile
can flatter. Both halves take turns, and every row certifies once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty import RowScores

Bools = NDArray[np.bool_]
Doubt = Mapping[str, NDArray[np.float32]]
"""By split: how unsure a model is of each row."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """By split: scores of rows of two models as one, and which of them were handed on [rows]."""

    rows: Mapping[str, RowScores]
    handed: Mapping[str, Bools]

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows of how many were handed on."""
        return sum(int(one.sum()) for one in self.handed.values()), sum(map(len, self.handed.values()))


def halves(rows: Mapping[str, int], seed: int = 0) -> dict[str, Bools]:
    """By split of so many rows: which lie in the first half, the same every time."""
    generator = np.random.default_rng(seed)
    return {split: generator.permutation(count) < count // 2 for split, count in rows.items()}


def threshold_for(doubts: NDArray[np.float32], share: float) -> float:
    """The doubt above which about that share of rows is handed on: half-way between two rows. Where many are equally
    unsure the share is missed; infinite where nobody would be handed on."""
    ordered, kept = np.sort(doubts.astype(np.float64)), len(doubts) - round(share * len(doubts))
    if kept >= len(doubts):
        return float("inf")
    return float(ordered[max(kept - 1, 0)] + ordered[kept]) / 2 if kept else -1.0


def crossed(
    small: Mapping[str, RowScores],
    doubts: Doubt,
    large: Mapping[str, RowScores],
    share: float,
    first: Mapping[str, Bools],
) -> Crossed:
    """Of a share to be handed on; `first` are `halves`."""
    limits = {
        is_first: threshold_for(np.concatenate([one[first[split] != is_first] for split, one in doubts.items()]), share)
        for is_first in (True, False)
    }
    handed = {split: one > np.where(first[split], limits[True], limits[False]) for split, one in doubts.items()}
    rows = {
        split: RowScores(one.form, np.where(handed[split][:, None], large[split].values, one.values))
        for split, one in small.items()
    }
    return Crossed(rows, handed)
