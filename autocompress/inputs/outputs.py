"""Outputs of batches put together: one a row, or one a position of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

IGNORED: Final = -100
"""The label of a position that counts for nothing: as torch's cross-entropy has it."""


def stacked(parts: Sequence[NDArray[Any]], *, fill: Any = 0) -> NDArray[Any]:
    """Arrays of some rows each as one. Those with something for every position, [rows, length, ...], are filled up
    behind to the longest; of padding nothing is meant, so it should be `blank` before."""
    longest = max((part.shape[1] for part in parts if part.ndim > 1), default=0)
    if all(part.ndim < 2 or part.shape[1] == longest for part in parts):
        return np.concatenate(parts)
    return np.concatenate([_widened(part, longest, fill) for part in parts])


def _widened(part: NDArray[Any], longest: int, fill: Any) -> NDArray[Any]:
    more = np.full((len(part), longest - part.shape[1], *part.shape[2:]), fill, dtype=part.dtype)
    return np.concatenate([part, more], axis=1)


def blank(outputs: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Outputs [rows, length, ...] with 0 at positions that the mask [rows, length] does not count; those of whole rows
    as they are."""
    if outputs.ndim < 3:
        return outputs
    return np.where(mask[..., None] > 0, outputs, outputs.dtype.type(0))


def apart(outputs: NDArray[Any], others: NDArray[Any]) -> float:
    """The largest difference of outputs for the same rows, however far each is filled up."""
    both = stacked([outputs, others])
    return float(np.abs(both[: len(outputs)] - both[len(outputs) :]).max())
