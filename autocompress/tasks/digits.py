"""Real images that need no network: the handwritten digits that come along with scikit-learn.

1,797 of them, 8 x 8 grey pixels, ten classes: the test part of Alpaydin and Kaynak's "Optical Recognition of
Handwritten Digits" (UCI, 1998).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.reading.pictures import encoded

_MOST: Final = 16
"""The value of a black pixel there."""
_PARTS: Final = {"train": 0.5, "validation": 0.2, "test": 0.3}
"""Many are held out: what is lost by compression is told on them."""


@dataclass(frozen=True, slots=True)
class Digits:
    """`pixels`, uint8 [digits, 8, 8], and `labels`, int64 [digits]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def digits_by_split(*, seed: int = 0) -> Mapping[str, Digits]:
    """All of them, drawn into training, validation and test."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = np.rint(pixels.reshape(-1, 8, 8) * 255 / _MOST).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    ends = np.rint(np.cumsum(list(_PARTS.values())) * len(labels)).astype(int)
    rows = dict(zip(_PARTS, np.split(order, ends[:-1]), strict=True))
    return {name: Digits(pixels[found], labels[found].astype(np.int64)) for name, found in rows.items()}


def write_digits(splits: Mapping[str, Digits], folder: Path) -> None:
    """As `SPLIT/CLASS/NUMBER.png`, as folders of images are read."""
    for name, digits in splits.items():
        for number, (pixels, label) in enumerate(zip(digits.pixels, digits.labels, strict=True)):
            path = folder / name / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(pixels))
