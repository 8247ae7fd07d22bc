"""Scores of the parts of a model, and the units they prefer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.parts import ModelParts

Scores = NDArray[np.float64]

COMBINED: Final = "combined"
RESIDUAL: Final = "residual"
CRITERIA: Final = (
    "fisher", "taylor", "confidence", "entropy", "distance", "redundancy", "magnitude", COMBINED,
)  # fmt: skip
"""Of heads."""
VARIANCE: Final = "variance"
"""Of channels of the stream."""
CHANNEL_CRITERIA: Final = ("fisher", "taylor", "magnitude", COMBINED)
LAYER_CRITERIA: Final = (RESIDUAL, "fisher", "taylor", COMBINED)
EVERYTHING: Final = (*CRITERIA, RESIDUAL)

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Importance:
    """Scores by criterion and layer of the uncompressed model: [heads], [channels], and one number a layer; and by
    criterion alone those of the channels of its stream, [hidden], of which all layers keep the same. `rows` are those
    of the table of words, [tokens], where they were counted."""

    heads: Mapping[str, Mapping[int, Scores]]
    channels: Mapping[str, Mapping[int, Scores]]
    layers: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    hidden: Mapping[str, Scores] = field(default_factory=dict)
    rows: Scores | None = None

    def best_heads(self, criterion: str, layer: int, count: int, *, together: int = 1) -> list[int]:
        """The `count` most important heads of a layer, in their order in the model. So many that stand side by side
        stay or go `together`, by the sum of their scores."""
        scores = self.heads[criterion][layer]
        groups = _best(scores.reshape(-1, together).sum(1), count // together)
        return [group * together + place for group in groups for place in range(together)]

    def best_channels(self, criterion: str, layer: int, count: int) -> list[int]:
        """The `count` most important channels of a layer, in their order in the model."""
        return _best(self.channels[criterion][layer], count)

    def best_hidden(self, count: int, *, of: Sequence[int]) -> list[int]:
        """Where in `of`, channels of the uncompressed stream, the `count` most important ones stand, in their order."""
        return _best(self.hidden[VARIANCE][list(of)], count)

    def best_rows(self, count: int) -> list[int]:
        """The tokens of the `count` most important rows, in their order."""
        if self.rows is None:
            raise ValueError("the uses of words were not counted")
        return _best(self.rows, count)

    def to_json(self) -> dict[str, Any]:
        """Scores of heads and layers as plain lists, layer after layer, rounded to four digits; channels are left out,
        as there are thousands of them."""
        heads = {
            name: [[_rounded(score) for score in self.heads[name][layer]] for layer in sorted(self.heads[name])]
            for name in CRITERIA
            if name in self.heads
        }
        layers = {
            name: [_rounded(self.layers[name][layer]) for layer in sorted(self.layers[name])]
            for name in LAYER_CRITERIA
            if name in self.layers
        }
        return {"heads": heads, "layers": layers}


def importance_from_json(tree: Mapping[str, Any]) -> Importance:
    """What `Importance.to_json` keeps."""
    heads = {name: {i: np.asarray(row, dtype=np.float64) for i, row in enumerate(rows)}
             for name, rows in tree["heads"].items()}  # fmt: skip
    layers = {name: {i: float(score) for i, score in enumerate(scores)} for name, scores in tree["layers"].items()}
    return Importance(heads, {}, layers)


def no_preference(shape: ModelParts) -> Importance:
    """Every unit alike, under every criterion: the first ones are kept. For models whose weights come afterwards."""
    blocks = [(part.layer or 0, part.units) for part in shape.blocks()]
    heads, channels = (
        {layer: np.zeros(units[axis]) for layer, units in blocks if axis in units} for axis in ("heads", "channels")
    )
    layers, hidden = dict.fromkeys((layer for layer, _ in blocks), 0.0), np.zeros(shape.width)
    return Importance(
        dict.fromkeys(CRITERIA, heads),
        dict.fromkeys(CRITERIA, channels),
        dict.fromkeys(LAYER_CRITERIA, layers),
        {VARIANCE: hidden},
        np.zeros(shape.vocabulary),
    )


def ranks(scores: Sequence[float] | Scores) -> Scores:
    """0 for the least important to 1 for the most; equal scores share the mean of their ranks."""
    _, place, count = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    means = ends - (count + 1) / 2
    return np.asarray(means[place] / max(len(place) - 1, 1), dtype=np.float64)


def mean_ranks(table: Mapping[str, Mapping[int, Scores]]) -> dict[int, Scores]:
    """Criterion -> layer -> scores, as layer -> mean rank within the layer over the criteria but `combined`."""
    criteria = sorted(set(table) - {COMBINED})  # sums of floats in one order, whatever was measured first
    layers = table[criteria[0]]
    return {layer: np.mean([ranks(table[name][layer]) for name in criteria], axis=0) for layer in layers}


def _best(scores: Scores, count: int) -> list[int]:
    return sorted(int(unit) for unit in np.argsort(-scores, kind="stable")[:count])


def _rounded(score: float) -> float:
    return float(f"{score:.{_DIGITS}g}")
