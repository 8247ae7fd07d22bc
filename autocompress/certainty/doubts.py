"""How unsure a classifier is of its answers, by its own calibrated shares: what a cascade hands texts on by.

The doubt of a row is what the softmax leaves to all classes but the likeliest. Models are surer than they are right;
one temperature, by which logits are divided before the softmax, mends most of that (Guo et al. 2017, section 4.2). It
moves no answer. A doubt is kept, and not the confidence, as numbers near 0 are told apart where those near 1 are not.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import IntegrityError

Floats = NDArray[np.float64]

KEY, TEMPERATURE_KEY = "doubt", "temperature"
"""What arrays of a file of row scores are called that hold them, behind the name of a split or of none."""
_COLDEST, _HOTTEST = 0.2, 10.0
_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Doubts:
    """Of one model: its `temperature`, and by split a doubt a row [rows], 0 to 1."""

    temperature: float
    splits: Mapping[str, NDArray[np.float32]]


def temperature_of(outputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The likeliest for logits [rows, classes] and true classes [rows], its logarithm normal about 0 beforehand: where
    all answers are right, the likeliest by itself is 0, which says nothing of the next row. A golden section finds the
    one maximum (the negative logarithm of the likelihood is convex in 1 / temperature)."""
    logits, rows = outputs.astype(np.float64), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        logs = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        return float((logs - scaled[rows, labels]).sum()) + log_temperature**2 / 2

    if not len(labels):
        return 1.0
    low, high, ratio = math.log(_COLDEST), math.log(_HOTTEST), (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def doubts_of(outputs: NDArray[np.float32], temperature: float) -> Floats:
    """[rows], of logits [rows, classes]."""
    scaled = outputs.astype(np.float64) / temperature
    shares = np.sort(np.exp(scaled - scaled.max(axis=1, keepdims=True)), axis=1)
    others: Floats = shares[:, :-1].sum(axis=1)
    found: Floats = others / (others + shares[:, -1])
    return found


def doubt_arrays(doubts: Doubts | None) -> dict[str, NDArray[Any]]:
    """What a file of row scores holds beside these (`certainty.rows`)."""
    if doubts is None:
        return {}
    splits = {f"{name}.{KEY}": np.asarray(values, dtype=np.float32) for name, values in doubts.splits.items()}
    return {**splits, f".{TEMPERATURE_KEY}": np.array([doubts.temperature])}


def doubts_in(content: bytes, *, where: str) -> Doubts | None:
    """What a file of row scores holds of them; nothing where it is of before they were kept, or of a model that says
    none. Raises IntegrityError for doubts that are none; whatever is no file of row scores is refused by `from_bytes`.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name.endswith(f".{KEY}")]
        if not names:
            return None
        found = {name.removesuffix(f".{KEY}"): arrays[name] for name in names}
        temperature = float(arrays[f".{TEMPERATURE_KEY}"][0]) if f".{TEMPERATURE_KEY}" in arrays.files else math.nan
    if not temperature > 0 or any(one.ndim != 1 or not ((one >= 0) & (one <= 1)).all() for one in found.values()):
        raise IntegrityError(f"{where}: holds doubts that are no shares; verify the finalists anew")
    return Doubts(temperature, {split: one.astype(np.float32) for split, one in found.items()})
