"""What a model made of parts costs: parameters, bytes, multiply-accumulates, memory. One MAC is two FLOPs.

All of it is sums over matrices, in microseconds and without a tensor, so that infeasible candidates never reach a
worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.parts import Matrix, ModelParts, Part, Pass, Table
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import BLOCK, IN_BYTE, Arithmetic, Bits, arithmetic
from autocompress.core.workload import Workload

# Weights


def parameters(model: ModelParts) -> int:
    """Numbers that were trained, those that several parts share counted once, and weights that stay zero not."""
    return sum(part_parameters(part) for part in model.parts)


def part_parameters(part: Part) -> int:
    if part.owner is not None:
        return 0
    matrices = sum(_left(one) + one.outputs * one.bias for one in part.matrices)
    return matrices + part.vectors + sum(table.rows * table.width for table in part.tables)


def weights(matrix: Matrix) -> int:
    """How many are multiplied, of both factors where it has two: zeros among them."""
    return sum(inputs * outputs for inputs, outputs in matrix.factors)


def _left(matrix: Matrix) -> int:
    """The weights that are not zero."""
    return weights(matrix) if (held := matrix.sparsity) is None else sum(held.left(*sizes) for sizes in matrix.factors)


def weight_bytes(model: ModelParts, *, tables: bool = True) -> int:
    """Bytes of the weights as deployed; without `tables`, what every inference reads: of a table, it reads a few rows.

    int8 matrices hold one byte a weight and one fp32 scale an output (tables: one a row); 4-bit ones half a byte a
    weight and a byte for each block of them, those in fewer bits as many in a byte as `IN_BYTE` says. Of sparse ones
    the weights that are left are held, and a mask that says where they stand. Biases and vectors stay fp32.
    """
    return sum(part_bytes(part, tables=tables) for part in model.parts)


def part_bytes(part: Part, *, tables: bool = True) -> int:
    if part.owner is not None:
        return 0
    held = sum(table_bytes(table) for table in part.tables) if tables else 0
    return sum(matrix_bytes(one) for one in part.matrices) + 4 * part.vectors + held


def block_bytes(part: Part) -> int:
    """Bytes of a part's matrices with their biases, its vectors apart."""
    return sum(matrix_bytes(one) for one in part.matrices) if part.owner is None else 0


def matrix_bytes(matrix: Matrix) -> int:
    bias = 4 * matrix.outputs * matrix.bias
    return sum(_held_bytes(*sizes, matrix.storage.bits, matrix.sparsity) for sizes in matrix.factors) + bias


def table_bytes(table: Table) -> int:
    return table.rows * row_bytes(table)


def row_bytes(table: Table) -> int:
    """Of one row."""
    return _row_bytes(table.width, table.storage.bits)


def unpacked(model: ModelParts) -> ModelParts:
    """The model as it is computed: once they are loaded, layers stored in fewer bits are in 8, and zeros are there;
    tables stay packed."""
    packed = {part.name for part in model.blocks() if any(map(_is_packed, part.matrices))}
    if not packed:
        return model
    return replace(model, parts=tuple(_unpacked(part) if part.name in packed else part for part in model.parts))


def _is_packed(matrix: Matrix) -> bool:
    return matrix.storage.bits not in (8, 32) or matrix.sparsity is not None


def _unpacked(part: Part) -> Part:
    matrices = (
        replace(one, storage=replace(one.storage, bits=arithmetic(one.storage)), sparsity=None) for one in part.matrices
    )
    return replace(part, matrices=tuple(matrices))


def _held_bytes(inputs: int, outputs: int, bits: Bits, sparsity: Sparsity | None) -> int:
    """Of weights with a scale an output."""
    if sparsity is None:
        return outputs * _row_bytes(inputs, bits)
    left = sparsity.left(inputs, outputs)
    return _bytes(left, bits) + outputs * _steps_bytes(inputs, bits) + sparsity.mask_bytes(inputs, outputs)


def _row_bytes(count: int, bits: Bits) -> int:
    """So many weights that share a scale, with it."""
    filled = count if bits in (8, 32) else -(-count // BLOCK) * BLOCK
    return _bytes(filled, bits) + _steps_bytes(count, bits)


def _bytes(count: int, bits: Bits) -> int:
    """Of so many weights side by side."""
    return 4 * count if bits == 32 else -(-count // IN_BYTE[bits])


def _steps_bytes(count: int, bits: Bits) -> int:
    """What is held beside so many weights that share a scale: it, and in fewer bits than 8 the multipliers of their
    blocks."""
    if bits == 32:
        return 0
    return 4 + (0 if bits == 8 else -(-count // BLOCK))


# Work


def passes(model: ModelParts, load: Workload, *, whole: bool = False) -> tuple[Pass, ...]:
    """What a model of one stack walks through for a batch of texts, all of the workload's `length`; `whole` in graphs
    whose last layer computes what nobody reads. Raises ValueError for a model of several stacks, or of none."""
    if len(model.stacks) != 1:
        raise ValueError(f"a workload is texts of one length, and the model has {len(model.stacks)} stacks")
    read = None if model.read is None else min(model.read, load.length)
    return (Pass(model.stacks[0], load.length, load.length, load.batch, read, whole=whole),)


def macs(model: ModelParts, passes: Iterable[Pass]) -> int:
    """Multiply-accumulates of one inference: weight products and the two attention products (q.k and p.v)."""
    return sum(macs_by_arithmetic(model, passes).values())


def macs_by_arithmetic(model: ModelParts, passes: Iterable[Pass]) -> dict[Arithmetic, int]:
    """`macs` by what they run in; attention products are fp32."""
    found: dict[Arithmetic, int] = {8: 0, 32: 0}
    for one in passes:
        for part, at in placed(model, one):
            for matrix in part.matrices:
                found[arithmetic(matrix.storage)] += _rows(part, matrix, at) * weights(matrix) * at.times
            found[32] += _mixed(part, at)[0] * at.times
    return found


def activation_bytes(model: ModelParts, one: Pass) -> int:
    """Bytes of the largest set of fp32 activations alive at once: a block's input, its residual, and what lies between
    its first and its last product, attention probabilities among it. The last layer's count as the others'."""
    one = replace(one, whole=True)
    widest = max((_between(part, at) for part, at in placed(model, one) if part.layer is not None), default=0)
    return 4 * (2 * one.batch * one.targets * model.width + widest)


def placed(model: ModelParts, one: Pass) -> list[tuple[Part, Pass]]:
    """The parts that a pass walks through, each with the positions that it computes: those of the stack, or before its
    first and behind its last layer. Behind an attention that keeps some of them, these. The last layer and the head
    compute what is `read`, the head alone in a `whole` pass."""
    walked = [part for part in model.parts if part.stack in (one.stack, "")]
    last = max((part.layer for part in walked if part.layer is not None), default=None)
    left, ends = one, _ends(one)
    found = []
    for part in walked:
        is_last = part.layer == last is not None
        found.append((part, ends if part.kind == "head" or (is_last and not one.whole) else left))
        if part.mixing is not None and (kept := part.mixing.keeps) is not None and not is_last:
            left = _narrowed(left, kept)
            ends = _ends(left)
    return found


def _ends(one: Pass) -> Pass:
    """What is read alone."""
    return one if one.read is None else replace(one, targets=one.read, read=None)


def _narrowed(one: Pass, kept: KeptTokens) -> Pass:
    """Behind a layer that keeps so many positions."""
    positions = kept.of(one.sources)
    read = None if one.read is None else min(one.read, positions)
    cached = min(one.cached, positions)
    return replace(one, sources=positions, targets=min(one.targets, positions), read=read, cached=cached)


def _rows(part: Part, matrix: Matrix, at: Pass) -> int:
    """How many rows go through a matrix: sources whose keys and values are known are not computed again."""
    if matrix.at == "targets":
        return at.batch * at.targets * matrix.each
    fresh = at.memory - at.memory_cached if part.kind == "cross_attention" else at.sources - at.cached
    return at.batch * fresh * matrix.each


def _mixed(part: Part, at: Pass) -> tuple[int, int]:
    """Multiply-accumulates between positions, and the numbers between them that are alive at once: attention scores."""
    if part.mixing is None:
        return 0, 0
    sources = at.memory if part.kind == "cross_attention" else at.sources
    macs, alive = part.mixing.form.work(at.targets, sources, part.mixing.head_size)
    return at.batch * part.mixing.heads * macs, at.batch * part.mixing.heads * alive


def _between(part: Part, at: Pass) -> int:
    """Numbers alive inside a block: what all but its last product give, what the last one reads, what lies between
    factors, and the scores."""
    *first, last = part.matrices
    inner = sum(_rows(part, one, at) * one.outputs for one in first) + _rows(part, last, at) * last.inputs
    between = sum(_rows(part, one, at) * (one.rank or 0) for one in part.matrices)
    return inner + between + _mixed(part, at)[1]
