"""Nodes that put zeros back where a file holds the other weights alone, and that unpack few bits. They depend on no
input, so a runtime runs them once, as it loads the file: what is computed with is a dense matrix like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from autocompress.anatomy.few_bits import DIGITS, in_bytes, leveled
from autocompress.anatomy.few_bits import packed as packed_few
from autocompress.anatomy.int4 import quantize_blocks
from autocompress.anatomy.int8 import quantize_rows
from autocompress.anatomy.sparse import Packed, held, packed
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import BLOCK, IN_BYTE, FewBits, Rounded

if TYPE_CHECKING:
    from autocompress.deploy.nodes import Graph

_ZERO = 8
"""What is added to integers from -8 to 7 so that they are codes."""


def sparse_fp32(graph: Graph, table: NDArray[np.float32], sparsity: Sparsity) -> str:
    """[rows, columns] -> its transpose."""
    found = packed(table, table != 0, sparsity)
    return graph.node("Transpose", _dense(graph, found, graph.array(found.blocks, "weight")), perm=[1, 0])


def sparse_integers(
    graph: Graph, table: NDArray[np.float32], bits: Rounded, sparsity: Sparsity
) -> tuple[str, NDArray[np.float32]]:
    """[rows, columns] -> int8 of the same shape, and scales [rows, 1]: the numbers that the whole table has in so many
    bits, where blocks that share a multiplier are those of the whole table too."""
    if bits == 8:
        integers, scales = quantize_rows(table)
        found = packed(integers, table != 0, sparsity)
        return _dense(graph, found, graph.array(found.blocks, "weight")), scales
    if bits != 4:
        return _sparse_levels(graph, table, bits, sparsity)
    integers, multipliers, steps = (one.numpy() for one in quantize_blocks(torch.from_numpy(table)))
    rows, columns = table.shape
    codes = (integers.reshape(rows, -1)[:, :columns] + _ZERO).astype(np.uint8)
    found = packed(codes, table != 0, sparsity)
    halves = np.append(found.blocks, np.zeros(found.blocks.size % 2, np.uint8)).reshape(2, -1)
    both = graph.halves(graph.array(halves[0] | halves[1] << 4, "codes"))
    if found.blocks.size % 2:
        both = graph.node("Slice", both, graph.ints([0]), graph.ints([found.blocks.size]), graph.ints([0]))
    blocks = graph.node("Reshape", both, graph.ints(list(found.blocks.shape)))
    whole = graph.node("Cast", _dense(graph, found, blocks, zero=_ZERO), to=TensorProto.INT32)
    signed = graph.node("Sub", whole, graph.shared(np.array(_ZERO, np.int32)))
    return _multiplied(graph, signed, multipliers, columns), steps[..., 0]


def few_integers(graph: Graph, table: NDArray[np.float32], bits: FewBits) -> tuple[str, NDArray[np.float32]]:
    """[rows, columns] -> int8 of the same shape, and scales [rows, 1]."""
    codes, multipliers, scales = packed_few(torch.from_numpy(table), bits)
    whole = graph.node("Reshape", levels_of(graph, graph.array(codes, "codes"), bits), graph.ints([len(table), -1]))
    cut = graph.node("Slice", whole, graph.ints([0]), graph.ints([table.shape[1]]), graph.ints([1]))
    return _multiplied(graph, graph.node("Cast", cut, to=TensorProto.INT32), multipliers, table.shape[1]), scales


def levels_of(graph: Graph, codes: str, bits: FewBits) -> str:
    """uint8 [..., n] -> int8 [..., n, weights in a byte]: looked up in a table, which every runtime folds."""
    places = graph.node("Cast", codes, to=TensorProto.INT32)
    return graph.node("Gather", graph.shared(DIGITS[bits]), places)


def _sparse_levels(
    graph: Graph, table: NDArray[np.float32], bits: FewBits, sparsity: Sparsity
) -> tuple[str, NDArray[np.float32]]:
    there = held(torch.from_numpy(table) != 0, sparsity)
    levels, multipliers, scales = (one.numpy() for one in leveled(torch.from_numpy(table), bits, there=there))
    rows, columns = table.shape
    found = packed(levels.reshape(rows, -1)[:, :columns].astype(np.int8), there.numpy(), sparsity)
    codes = in_bytes(found.blocks.reshape(-1), bits)
    flat = graph.node("Reshape", levels_of(graph, graph.array(codes, "codes"), bits), graph.ints([-1]))
    if codes.size * IN_BYTE[bits] != found.blocks.size:
        flat = graph.node("Slice", flat, graph.ints([0]), graph.ints([found.blocks.size]), graph.ints([0]))
    blocks = graph.node("Reshape", flat, graph.ints(list(found.blocks.shape)))
    whole = graph.node("Cast", _dense(graph, found, blocks), to=TensorProto.INT32)
    return _multiplied(graph, whole, multipliers, columns), scales[..., 0]


def _multiplied(graph: Graph, integers: str, multipliers: NDArray[Any], columns: int) -> str:
    """int32 [rows, columns] times the multipliers [rows, blocks, ...] of their blocks, as int8."""
    rows, blocks = multipliers.shape[:2]
    by = graph.array(multipliers.reshape(rows, blocks, 1).astype(np.int8), "multipliers")
    by = graph.node("Expand", graph.node("Cast", by, to=TensorProto.INT32), graph.ints([rows, blocks, BLOCK]))
    by = graph.node("Reshape", by, graph.ints([rows, -1]))
    by = graph.node("Slice", by, graph.ints([0]), graph.ints([columns]), graph.ints([1]))
    return graph.node("Cast", graph.node("Mul", integers, by), to=TensorProto.INT8)


def _dense(graph: Graph, found: Packed, blocks: str, *, zero: int = 0) -> str:
    """[rows, columns]: a block that is there is that of its place among those that are, and the others are one of
    zeros."""
    high, wide = found.sparsity.block
    count = found.rows * found.columns // (high * wide)
    mask = graph.node("Cast", graph.array(found.mask, "mask"), to=TensorProto.INT32)
    flags = graph.node("Reshape", graph.node("Gather", graph.shared(found.codes), mask), graph.ints([-1]))
    if count < found.mask.size * found.codes.shape[1]:
        flags = graph.node("Slice", flags, graph.ints([0]), graph.ints([count]), graph.ints([0]))
    there = graph.node("Cast", flags, to=TensorProto.INT32)
    places = graph.node("Mul", graph.node("CumSum", there, graph.integer(0)), there)
    nothing = graph.shared(np.full((1, high * wide), zero, found.blocks.dtype))
    whole = graph.node("Gather", graph.node("Concat", nothing, blocks, axis=0), places)
    if high > 1:
        across = [found.rows // high, found.columns // wide, high, wide]
        whole = graph.node("Transpose", graph.node("Reshape", whole, graph.ints(across)), perm=[0, 2, 1, 3])
    return graph.node("Reshape", whole, graph.ints([found.rows, found.columns]))
