"""What becomes of a model whose stream keeps fewer numbers a position, from what goes into its first layer to its head:
matrices read fewer or give fewer, and norms and tables are as many narrower."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from autocompress.core.parts import Matrix, ModelParts, Part, Table

NARROWED: Final = (
    *("bert", "roberta", "xlm-roberta", "camembert", "data2vec-text", "electra", "ernie", "rembert"),
    *("distilbert", "mpnet", "modernbert", "eurobert", "vit", "deit"),
)
"""Families whose stream can be narrowed. Others have something more on it: products for positions, a convolution, a
head that reads it twice."""

_WRITERS: Final = frozenset({"output", "down"})
"""Roles that give numbers of the stream; the others of a block read them."""


def why_whole(model: ModelParts) -> str:
    """What keeps the stream of a model as wide as it is; empty where nothing does."""
    if model.family not in NARROWED:
        return f"the stream of a {model.family} cannot be narrowed (allowed: {', '.join(NARROWED)})"
    if not model.classes:
        return f"its answer is its stream, {model.width} numbers, so a narrower one would be another answer"
    return ""


def narrowed(model: ModelParts, width: int) -> ModelParts:
    """With so many numbers a position in the place of `model.width`. Heads and channels are as many and as wide as
    before, and so is what lies behind the first matrix of the head."""
    return replace(model, width=width, parts=tuple(_narrowed(part, model.width, width) for part in model.parts))


def _narrowed(part: Part, before: int, width: int) -> Part:
    def table(one: Table) -> Table:
        return replace(one, width=width)

    if part.kind == "head":
        return replace(part, matrices=(*(replace(one, inputs=width) for one in part.matrices[:1]), *part.matrices[1:]))
    vectors = part.vectors // before * width
    if part.kind == "common":
        return replace(part, vectors=vectors)
    if part.layer is not None:
        return replace(part, vectors=vectors, matrices=tuple(_of_block(one, width) for one in part.matrices))
    matrices = tuple(replace(one, outputs=width) for one in part.matrices)
    if part.kind == "embedding" and matrices:  # tables of another width, whose sum is projected
        return replace(part, matrices=matrices)
    return replace(part, vectors=vectors, matrices=matrices, tables=tuple(map(table, part.tables)))


def _of_block(matrix: Matrix, width: int) -> Matrix:
    return replace(matrix, outputs=width) if matrix.name in _WRITERS else replace(matrix, inputs=width)
