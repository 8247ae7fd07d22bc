"""What a model made of parts costs: parameters, bytes, multiply-accumulates, memory. One MAC is two FLOPs.

All of it is sums over matrices, in microseconds and without a tensor, so that infeasible candidates never reach a
worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autocompress.core.parts import Matrix, ModelParts, Part, Pass, Storage, Table
from autocompress.core.shape import BLOCK, Arithmetic, Bits

# Weights


def parameters(model: ModelParts) -> int:
    """Numbers that were trained, those that several parts share counted once."""
    return sum(part_parameters(part) for part in model.parts)


def part_parameters(part: Part) -> int:
    if part.owner is not None:
        return 0
    matrices = sum(one.inputs * one.outputs + one.outputs * one.bias for one in part.matrices)
    return matrices + part.vectors + sum(table.rows * table.width for table in part.tables)


def weight_bytes(model: ModelParts, *, tables: bool = True) -> int:
    """Bytes of the weights as deployed; without `tables`, what every inference reads: of a table, it reads a few rows.

    int8 matrices hold one byte a weight and one fp32 scale an output (tables: one a row); 4-bit ones half a byte a
    weight and a byte for each block of them. Biases and vectors stay fp32.
    """
    return sum(part_bytes(part, tables=tables) for part in model.parts)


def part_bytes(part: Part, *, tables: bool = True) -> int:
    if part.owner is not None:
        return 0
    held = sum(table_bytes(table) for table in part.tables) if tables else 0
    return sum(matrix_bytes(one) for one in part.matrices) + 4 * part.vectors + held


def matrix_bytes(matrix: Matrix) -> int:
    bias = 4 * matrix.outputs * matrix.bias
    return matrix.outputs * _row_bytes(matrix.inputs, matrix.storage.bits) + bias


def table_bytes(table: Table) -> int:
    return table.rows * _row_bytes(table.width, table.storage.bits)


def _row_bytes(count: int, bits: Bits) -> int:
    """So many weights that share a scale, with it."""
    if bits == 32:
        return 4 * count
    return 4 + (count if bits == 8 else -(-count // BLOCK) * (BLOCK // 2 + 1))


# Work


def macs(model: ModelParts, passes: Iterable[Pass]) -> int:
    """Multiply-accumulates of one inference: weight products and the two attention products (q.k and p.v)."""
    return sum(macs_by_arithmetic(model, passes).values())


def macs_by_arithmetic(model: ModelParts, passes: Iterable[Pass]) -> dict[Arithmetic, int]:
    """`macs` by what they run in; attention products are fp32."""
    found: dict[Arithmetic, int] = {8: 0, 32: 0}
    for one in passes:
        for part, at in placed(model, one):
            for matrix in part.matrices:
                found[arithmetic(matrix.storage)] += _rows(part, matrix, at) * matrix.inputs * matrix.outputs * at.times
            found[32] += 2 * _scores(part, at) * (part.mixing.head_size if part.mixing else 0) * at.times
    return found


def activation_bytes(model: ModelParts, one: Pass) -> int:
    """Bytes of the largest set of fp32 activations alive at once: a block's input, its residual, and what lies between
    its first and its last product, attention probabilities among it."""
    widest = max((_between(part, at) for part, at in placed(model, one) if part.layer is not None), default=0)
    return 4 * (2 * one.batch * one.targets * model.width + widest)


def placed(model: ModelParts, one: Pass) -> list[tuple[Part, Pass]]:
    """The parts that a pass walks through, each with the positions that it computes: those of the stack, or before its
    first and behind its last layer. The last layer and the head compute what is `read`."""
    walked = [part for part in model.parts if part.stack in (one.stack, "")]
    last = max((part.layer for part in walked if part.layer is not None), default=None)
    ends = one if one.read is None else replace(one, targets=one.read)
    return [(part, ends if part.kind == "head" or part.layer == last is not None else one) for part in walked]


def arithmetic(storage: Storage) -> Arithmetic:
    """What is held in 4 bits is computed in 8."""
    return 32 if storage.bits == 32 else 8


def _rows(part: Part, matrix: Matrix, at: Pass) -> int:
    """How many rows go through a matrix: sources whose keys and values are known are not computed again."""
    if matrix.at == "targets":
        return at.batch * at.targets * matrix.each
    fresh = at.memory - at.memory_cached if part.kind == "cross_attention" else at.sources - at.cached
    return at.batch * fresh * matrix.each


def _scores(part: Part, at: Pass) -> int:
    """Attention scores: one for each head, target and source."""
    if part.mixing is None:
        return 0
    sources = at.memory if part.kind == "cross_attention" else at.sources
    return at.batch * part.mixing.heads * at.targets * sources


def _between(part: Part, at: Pass) -> int:
    """Numbers alive inside a block: what all but its last product give, what the last one reads, and the scores."""
    *first, last = part.matrices
    inner = sum(_rows(part, one, at) * one.outputs for one in first) + _rows(part, last, at) * last.inputs
    return inner + _scores(part, at)
