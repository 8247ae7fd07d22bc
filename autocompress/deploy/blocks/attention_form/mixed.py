"""What goes into attention, and plain attention over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autocompress.core.attention_form import AttentionForm
from autocompress.deploy.nodes import Graph

MASKED: Final = -60.0
"""Added to the scores of padding: softmax makes 1e-26 of it, which adds to no fp32 sum. With -10000 the softmax of ONNX
Runtime does not give 0 but the denormal 4e-39, on which processors are slow: batches of 32 questions, padded, took 1.2
times as long as full ones in int8 and 1.09 times in fp32; with this they take the same."""

END: Final = 2**31 - 1
"""As the end of a slice, behind all there is."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """Queries, scaled, keys and values [batch, length, heads, head size], and what is added to the scores of keys
    [batch, 1, 1, length], nothing where it is empty. There is one query `alone`, of the first position, where no other
    is read."""

    query: str
    key: str
    value: str
    mask: str
    form: AttentionForm
    heads: int
    head_size: int
    alone: bool


def cut(graph: Graph, tensor: str, start: int, end: int, axis: int) -> str:
    """Along an axis, from a position to before another."""
    return graph.node("Slice", tensor, graph.ints([start]), graph.ints([end]), graph.ints([axis]))


def weighed(graph: Graph, query: str, key: str, value: str, mask: str) -> str:
    """softmax(query key + mask) value, of the last two axes."""
    scores = graph.node("MatMul", query, key)
    scores = graph.node("Add", scores, mask) if mask else scores
    return graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)


def of_all(graph: Graph, query: str, key: str, value: str, mask: str) -> str:
    """Plain attention of queries, keys and values [batch, length, heads, head size]."""
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    asking, asked, told = (
        graph.node("Transpose", one, perm=order) for one, order in zip((query, key, value), orders, strict=True)
    )
    return graph.node("Transpose", weighed(graph, asking, asked, told, mask), perm=[0, 2, 1, 3])


@dataclass(frozen=True, slots=True)
class Filled:
    """Names of what hangs on the length alone where a text is filled up to whole blocks of a window, so that its length
    is free: the `length` [1], by how many positions it is `filled` [1], and the `count` [1] of blocks."""

    length: str
    filled: str
    count: str

    @staticmethod
    def of(graph: Graph, mixed: Mixed) -> Filled:
        """Written once for all layers of one window."""
        tensor, axis = (mixed.mask, 3) if mixed.mask else (mixed.key, 1)
        length, window = graph.once("Shape", tensor, start=axis, end=axis + 1), graph.ints([mixed.form.window])
        filled = graph.once("Mod", graph.once("Neg", length), window)
        return Filled(length, filled, graph.once("Div", graph.once("Add", length, filled), window))
