"""Attention to means over blocks of positions (see `anatomy.attention_form.pooled`). A text is filled up to whole
blocks inside of the graph, so that its length is free."""

from __future__ import annotations

from onnx import TensorProto

from autocompress.anatomy.attention_form.pooled import NOTHING
from autocompress.deploy.blocks.attention_form.mixed import MASKED, Filled, Mixed, of_all
from autocompress.deploy.nodes import Graph


def pooled(graph: Graph, mixed: Mixed) -> str:
    """As `Nodes`. How many positions of each block are there is found once for all layers."""
    window, text = mixed.form.window, Filled.of(graph, mixed)
    real = _there(graph, mixed, text)
    pads = graph.once("Concat", graph.ints([0, 0, 0, 0, 0]), text.filled, graph.ints([0, 0]), axis=0)
    count = _by_block(graph, real, pads, [1, 1], window)
    least = graph.once("Max", count, graph.scalar(1.0))

    def mean(tensor: str) -> str:
        sums = _by_block(graph, graph.node("Mul", tensor, real), pads, [mixed.heads, mixed.head_size], window)
        return graph.node("Div", sums, least)

    weight = graph.once("Log", graph.once("Max", count, graph.scalar(NOTHING)))
    weight = graph.once("Transpose", weight, perm=[0, 2, 3, 1])
    return of_all(graph, mixed.query, mean(mixed.key), mean(mixed.value), weight)


def _there(graph: Graph, mixed: Mixed, text: Filled) -> str:
    """1 where a position is there, 0 where it is padding: [batch, length, 1, 1]."""
    if mixed.mask:
        real = graph.once("Cast", graph.once("Greater", mixed.mask, graph.scalar(MASKED / 2)), to=TensorProto.FLOAT)
        return graph.once("Transpose", real, perm=[0, 3, 1, 2])
    one = graph.ints([1])
    sizes = graph.once("Concat", one, text.length, one, one, axis=0)
    return graph.once("Expand", graph.scalar(1.0), sizes)


def _by_block(graph: Graph, tensor: str, pads: str, sizes: list[int], window: int) -> str:
    """[batch, length, *sizes] -> sums [batch, blocks, *sizes]"""
    filled = graph.once("Pad", tensor, pads)
    blocks = graph.once("Reshape", filled, graph.ints([0, -1, window, *sizes]))
    return graph.once("ReduceSum", blocks, graph.ints([2]), keepdims=0)
