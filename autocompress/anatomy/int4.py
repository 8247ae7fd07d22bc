"""Weights in 4 bits: integers from -8 to 7, a small whole multiplier for each block of them, and one scale a row.

    weight ~ integer * multiplier * scale      integer * multiplier lies between -127 and 127

So what a file holds in 4.25 bits a weight is, multiplied out, an int8 matrix with a scale a row like any other. The
matrices of layers are multiplied out once, when a file is loaded, and computed by the same kernels in the same time as
int8: weight-only 4-bit products (`MatMulNBits`) took 5 to 9 times as long at 32 and 128 tokens on the machine that this
was written on. Rows of embeddings are multiplied out as they are looked up: a whole table, unpacked at once, would need
more memory for a moment than it had in fp32.

Two scales, the finer one of few bits, are what QLoRA calls double quantization (Dettmers et al. 2023, section 3);
multipliers have a sign, so that the largest weight of a block may be the -8 that has no positive twin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.core.storage import BLOCK

_LOWEST, _HIGHEST = -8, 7
_MOST = 15
"""The largest multiplier: 8 times 15 fits into int8."""


def quantize_blocks(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[..., columns] fp32 -> integers [..., blocks, 32], multipliers [..., blocks, 1], scales [..., 1, 1], all as
    floats. Columns are filled up with zeros to whole blocks."""
    columns = table.shape[-1]
    filled = torch.nn.functional.pad(table, (0, -columns % BLOCK))
    blocks = filled.reshape(*filled.shape[:-1], -1, BLOCK)
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    extreme = torch.where(high > -low, high, low)
    scales = extreme.abs().amax(-2, keepdim=True) / (-_LOWEST * _MOST)
    scales = scales.clamp(min=torch.finfo(torch.float32).tiny)
    most = torch.ceil(extreme.abs() / (-_LOWEST * scales) - 1e-4).clamp(1, _MOST)
    sign = torch.where(extreme > 0, -1.0, 1.0)
    found = []
    for multiplier in (most * sign, (most - 1).clamp(min=1) * sign):  # the next finer one clips the extreme a little
        step = multiplier * scales
        integers = torch.round(blocks / step).clamp(_LOWEST, _HIGHEST)
        found.append((integers, multiplier, (blocks - integers * step).square().sum(-1, keepdim=True)))
    (wide, wide_by, wide_error), (fine, fine_by, fine_error) = found
    better = fine_error < wide_error
    return torch.where(better, fine, wide), torch.where(better, fine_by, wide_by), scales


def multiplied(table: Tensor) -> tuple[Tensor, Tensor]:
    """[..., columns] -> the int8 matrix that 4 bits unpack to, as floats, and scales [..., 1]."""
    integers, multipliers, scales = quantize_blocks(table)
    return (integers * multipliers).flatten(-2)[..., : table.shape[-1]], scales[..., 0]


def packed(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As a file holds it: [rows, columns] -> bytes uint8 [rows, filled columns / 2], multipliers int8 [rows, blocks]
    and scales fp32 [rows, 1]. The low halves of a row's bytes are its first integers, plus 8; the high the rest."""
    integers, multipliers, scales = quantize_blocks(table)
    codes = (integers.flatten(-2) - _LOWEST).to(torch.uint8)
    first, second = codes.chunk(2, dim=-1)
    return first | (second << 4), multipliers[..., 0].to(torch.int8), scales[..., 0]
