"""Weights that are zero and stay so: which of a matrix, how they live through training, and what a file holds of the
others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from autocompress.core.sparsity import Sparsity

Criterion = Literal["wanda", "magnitude"]
"""What weights are kept by: their size times that of what they are multiplied with, or their size alone."""


@final
class SparseLinear(nn.Linear):
    """A linear layer some of whose weights are zero. They stay zero in training: no gradient reaches them, so neither a
    step nor a decay moves them. What tensors are called, and how they are stored, is as in any linear layer."""

    def __init__(self, linear: nn.Linear, weight: Tensor, sparsity: Sparsity) -> None:
        nn.Module.__init__(self)  # the bias is that of `linear`, and the weight is given
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = nn.Parameter(weight), linear.bias
        self.sparsity = sparsity

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, still_sparse(self.weight) if self.training else self.weight, self.bias)


def still_sparse(weight: Tensor) -> Tensor:
    """The same weights, of which those that are not zero are trained alone."""
    return weight * (weight.detach() != 0)


def sparsity_of(module: nn.Module) -> Sparsity | None:
    """Of a product, also under quantization."""
    found: Sparsity | None = getattr(module, "sparsity", None)
    return found


def made_sparse(weight: Tensor, power: Tensor | None, sparsity: Sparsity, criterion: Criterion) -> Tensor:
    """A weight [outputs, inputs] with those that matter least at zero, as many as the sparsity says.

    What leaving out a weight costs its output is w^2 times the mean square of its input, as if inputs went up and down
    independently: the square of Wanda's score |w| times the norm of the input (Sun et al. 2024, "A simple and effective
    pruning approach for large language models", section 3), whose sum over a block is the block's. Without texts,
    or by `magnitude`, all inputs count alike. Of N:M patterns the best N of M are kept. Single weights are compared
    within each output by Wanda, as it is defined, and within the whole matrix by magnitude; so are blocks by both.
    """
    outputs, inputs = weight.shape
    costs = weight.square() if power is None or criterion == "magnitude" else weight.square() * power
    rows, columns = sparsity.block
    units = costs.reshape(outputs // rows, rows, inputs // columns, columns).sum((1, 3))
    compared = units.numel()
    if sparsity.group is not None:
        compared = sparsity.group[1]
    elif criterion == "wanda" and sparsity.block == (1, 1):
        compared = inputs
    groups = units.reshape(-1, compared)
    kept = sparsity.left(inputs, outputs) // (rows * columns * len(groups))
    best = groups.topk(kept, dim=1, sorted=False).indices
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True).reshape(units.shape)
    return weight * mask.repeat_interleave(rows, 0).repeat_interleave(columns, 1)


def sparse(
    linear: nn.Linear, sizes: Sequence[int], power: Tensor | None, sparsity: Sparsity, criterion: Criterion
) -> SparseLinear:
    """A product with zeros; of several that are joined in it, of these `sizes` of outputs, each has its own share."""
    pieces = linear.weight.detach().split_with_sizes(sizes)
    found = [made_sparse(piece, power, sparsity, criterion) for piece in pieces]
    return SparseLinear(linear, found[0] if len(found) == 1 else torch.cat(found), sparsity)


def held(there: Tensor, sparsity: Sparsity) -> Tensor:
    """Of which weights [rows, columns] a file holds a number, where these are not zero: all of a block, and one of four
    in `1:4`."""
    high, wide = sparsity.block
    rows, columns = there.shape
    if sparsity.pattern == "1:4":
        places = there.reshape(-1, 4).int().argmax(1)
        return functional.one_hot(places, 4).bool().reshape(rows, columns)
    blocks = there.reshape(rows // high, high, columns // wide, wide).any(3).any(1)
    return blocks.repeat_interleave(high, 0).repeat_interleave(wide, 1)


# In a file

BITS_OF_BYTES: Final[NDArray[np.uint8]] = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
"""[256, 8]: the bits of a byte, the highest first."""

PLACES_OF_BYTES: Final[NDArray[np.uint8]] = np.eye(4, dtype=np.uint8)[
    np.arange(256)[:, None] >> np.array([6, 4, 2, 0]) & 3
].reshape(256, 16)
"""[256, 16]: four places of two bits each, the highest first, as ones among zeros."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A table [rows, columns] as a file holds it: the `mask` [bytes] says of each block whether it is there, which is
    read by the table of `codes` [256, ...]; `blocks` [left, block rows x block columns] are those that are."""

    mask: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    blocks: NDArray[Any]
    sparsity: Sparsity
    rows: int
    columns: int


def packed(table: NDArray[Any], there: NDArray[np.bool_], sparsity: Sparsity) -> Packed:
    """What is `there` of a table [rows, columns]; the rest of it counts as zero."""
    high, wide = sparsity.block
    mask = _blocks(there, high, wide).any(1)
    if sparsity.pattern != "1:4":
        return Packed(np.packbits(mask), BITS_OF_BYTES, _blocks(table, high, wide)[mask], sparsity, *table.shape)
    places = mask.reshape(-1, 4).argmax(1).astype(np.uint8)  # of four zeros, that of the first is held
    kept = table.reshape(-1, 4)[np.arange(len(places)), places]
    filled = np.append(places, np.zeros(-len(places) % 4, np.uint8)).reshape(-1, 4)
    held = (filled << np.array([6, 4, 2, 0], np.uint8)).sum(1).astype(np.uint8)
    return Packed(held, PLACES_OF_BYTES, kept[:, None], sparsity, *table.shape)


def _blocks(table: NDArray[Any], high: int, wide: int) -> NDArray[Any]:
    """[rows, columns] -> [blocks, high x wide], row by row of blocks."""
    rows, columns = table.shape
    return table.reshape(rows // high, high, columns // wide, wide).swapaxes(1, 2).reshape(-1, high * wide)
