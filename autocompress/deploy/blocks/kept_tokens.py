"""Tokens that go on behind the attention of a layer: those that receive most of it (see `anatomy.kept_tokens`), found
by TopK and taken by GatherND. How many there are is found inside of the graph, in each text by itself."""

from __future__ import annotations

from onnx import TensorProto

from autocompress.core.kept_tokens import FINENESS, KeptTokens
from autocompress.deploy.blocks.attention import Masks
from autocompress.deploy.blocks.attention_form.mixed import MASKED
from autocompress.deploy.nodes import Graph

_MOST = 3e38


def keep_most_attended(
    graph: Graph, kept: KeptTokens, probabilities: str, hidden: str, masks: Masks
) -> tuple[str, Masks]:
    """Probabilities [batch, heads, length, length], hidden [batch, length, hidden] and the masks of these positions ->
    [batch, kept, hidden], and the masks of those that are left. Only for texts, which have a mask."""
    assert masks.for_one, "only texts lose tokens on their way"
    assert not masks.near, "windows are places of positions that nobody dropped"
    padding = graph.once("Less", masks.for_one, graph.scalar(MASKED / 2))
    there = graph.once("Cast", graph.once("Not", padding), to=TensorProto.FLOAT)  # [batch, 1, 1, length]
    of_heads = graph.node("MatMul", there, probabilities)  # [batch, heads, 1, length]
    attention = graph.node("ReduceSum", of_heads, graph.ints([1, 2]), keepdims=0)
    attention = graph.node("Round", graph.node("Mul", attention, graph.scalar(float(FINENESS))))
    attention = graph.node("Add", attention, graph.once("Squeeze", masks.for_one, graph.ints([1, 2])))
    length = graph.once("Squeeze", graph.once("Shape", hidden, start=1, end=2))
    positions = graph.once("Range", graph.integer(0), length, graph.integer(1))
    first = graph.once("Equal", positions, graph.integer(0))
    attention = graph.node("Where", first, graph.scalar(_MOST), attention)
    each, most = _counts(graph, kept, there)
    graph.node("TopK", attention, most, outputs=2, axis=1)
    places = graph.nodes[-1].output[1]  # [batch, kept], the most attended first
    ranks = graph.node("Range", graph.integer(0), graph.node("Squeeze", most), graph.integer(1))
    places = graph.node("Where", graph.node("Less", ranks, each), places, length)
    ordered = graph.node("TopK", places, most, outputs=2, axis=1, largest=0)  # what lies beyond a text's own comes last
    beyond = graph.node("Cast", graph.node("Equal", ordered, length), to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", graph.node("Mul", beyond, graph.scalar(MASKED)), graph.ints([1, 2]))
    taken = graph.node("Min", ordered, graph.node("Sub", length, graph.integer(1)))
    left = graph.node("GatherND", hidden, graph.node("Unsqueeze", taken, graph.ints([2])), batch_dims=1)
    if not masks.for_every:
        return left, Masks(mask)
    one = graph.ints([1])
    return left, Masks(mask, graph.node("Expand", mask, graph.node("Concat", one, one, most, one, axis=0)))


def _counts(graph: Graph, kept: KeptTokens, there: str) -> tuple[str, str]:
    """How many each text keeps [batch, 1], and the most that any does [1], as integers."""
    real = graph.once("Cast", graph.once("ReduceSum", there, graph.ints([2, 3]), keepdims=0), to=TensorProto.INT64)
    if kept.count:
        each = graph.node("Min", real, graph.integer(kept.count))
    else:
        share = graph.node("Add", graph.node("Mul", real, graph.integer(kept.percent)), graph.integer(99))
        each = graph.node("Div", share, graph.integer(100))
    each = graph.node("Max", each, graph.integer(1))
    most = graph.node(
        "Cast", graph.largest(graph.node("Cast", each, to=TensorProto.FLOAT), [0, 1]), to=TensorProto.INT64
    )
    return each, graph.node("Reshape", most, graph.ints([1]))
