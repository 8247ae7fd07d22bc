"""Weights in 2 bits, of three values (ternary) or of two (binary): a level of each, a small whole multiplier for each
block of 32 of them, and one scale a row.

    weight ~ level * multiplier * scale      levels: -3, -1, 1, 3;  -1, 0, 1;  -1, 1

As in 4 bits (`int4`), a level times its multiplier lies between -127 and 127, so that what a file holds in 2.25, 1.85
or 1.25 bits a weight is, multiplied out, an int8 matrix with a scale a row, which is computed as fast as any.

How large a step is, level by level, for a block:

- binary: the mean size of its weights, which is nearest to them in the mean square (Rastegari et al. 2016, "XNOR-Net",
  section 3.1, equation 6; of transformers "BiT", Liu et al. 2022).
- ternary: 0 for what is smaller than 0.75 of the mean size, and the mean size of the others (Li and Liu 2016, "Ternary
  weight networks", section 2).
- 2 bits: four levels with none at 0, which would leave three sizes of one sign (Liu et al. 2025, "ParetoQ", found such
  levels the better ones), at the step that is nearest in the mean square, found by turns of levels and step (Lloyd
  1982, "Least squares quantization in PCM").

What is rounded so is trained so (`finalists.recovery`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.core.storage import BLOCK, IN_BYTE, FewBits

LEVELS: Final[Mapping[FewBits, tuple[int, ...]]] = {1: (-1, 1), "ternary": (-1, 0, 1), 2: (-3, -1, 1, 3)}

_MOST: Final[Mapping[FewBits, int]] = {1: 127, "ternary": 127, 2: 42}
"""The largest multiplier: its product with the largest level fits into int8."""

_THRESHOLD: Final = 0.75
_FIRST: Final = 0.624
"""The best step for a normal distribution, as a share of its mean size."""
_TURNS: Final = 4
"""After which the error is within a thousandth of where it ends."""

DIGITS: Final[Mapping[FewBits, NDArray[np.int8]]] = {
    bits: np.array(levels, np.int8)[np.arange(256)[:, None] // len(levels) ** np.arange(IN_BYTE[bits]) % len(levels)]
    for bits, levels in LEVELS.items()
}
"""[256, weights in a byte]: the levels that a byte stands for, the first by its lowest digit."""


def leveled(table: Tensor, bits: FewBits, *, there: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """[..., columns] fp32 -> levels [..., blocks, 32], multipliers [..., blocks, 1], scales [..., 1, 1], all as floats.
    Columns are filled up to whole blocks. What is not `there` [..., columns] has level 0 and counts for nothing."""
    columns = table.shape[-1]
    blocks, counted = (
        torch.nn.functional.pad(one, (0, -columns % BLOCK)).reshape(*table.shape[:-1], -1, BLOCK)
        for one in (table, torch.ones_like(table) if there is None else there.float())
    )
    level, step = _fitted(blocks.abs(), counted, bits)
    scales = (step.amax(-2, keepdim=True) / _MOST[bits]).clamp(min=torch.finfo(torch.float32).tiny)
    levels = torch.where(blocks < 0, -level, level)
    return levels if there is None else levels * counted, torch.round(step / scales).clamp(0, _MOST[bits]), scales


def _fitted(sizes: Tensor, there: Tensor, bits: FewBits) -> tuple[Tensor, Tensor]:
    """The level of each weight, without its sign, and the step of each block [..., 1]."""

    def mean(weights: Tensor) -> Tensor:
        weights = weights * there
        return (sizes * weights).sum(-1, keepdim=True) / weights.square().sum(-1, keepdim=True).clamp(min=1)

    one = torch.ones_like(sizes)
    if bits == 1:
        return one, mean(one)
    if bits == "ternary":
        level = (sizes > _THRESHOLD * mean(one)).float()
        return level, mean(level)
    step = _FIRST * mean(one)
    for _ in range(_TURNS):
        level = torch.where(sizes > 2 * step, 3.0, 1.0)
        step = mean(level)
    return level, step


def multiplied(table: Tensor, bits: FewBits, *, there: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """[..., columns] -> the int8 matrix that few bits unpack to, as floats, and scales [..., 1]."""
    levels, multipliers, scales = leveled(table, bits, there=there)
    return (levels * multipliers).flatten(-2)[..., : table.shape[-1]], scales[..., 0]


def packed(table: Tensor, bits: FewBits) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.float32]]:
    """As a file holds it: [rows, columns] -> bytes [rows, filled columns / weights in a byte], multipliers
    [rows, blocks] and scales [rows, 1]."""
    levels, multipliers, scales = (one.numpy() for one in leveled(table, bits))
    codes = in_bytes(levels.reshape(len(table), -1), bits)
    return codes, multipliers[..., 0].astype(np.int8), scales[..., 0]


def in_bytes(levels: NDArray[Any], bits: FewBits) -> NDArray[np.uint8]:
    """[..., n] -> [..., bytes], the last one filled up: `DIGITS` says what each stands for."""
    known, each = LEVELS[bits], IN_BYTE[bits]
    digits = np.searchsorted(known, levels)
    digits = np.pad(digits, [*[(0, 0)] * (levels.ndim - 1), (0, -levels.shape[-1] % each)])
    by_byte = digits.reshape(*levels.shape[:-1], -1, each)
    codes: NDArray[np.uint8] = (by_byte * len(known) ** np.arange(each)).sum(-1).astype(np.uint8)
    return codes
