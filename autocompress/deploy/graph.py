"""An encoder's weights as an ONNX graph, written node by node.

Writing the graph ourselves, instead of tracing the module, decides what the runtime gets to see: q, k and v are one
product, the attention scale is folded into the query, the mask is made once, embeddings are gathered from the precision
they are stored in, and a tensor that feeds several int8 products is quantized once. The last layer computes what the
head reads, the first token or all, and nothing else; its keys and values still come from all tokens. Every operator is
standard ONNX, so that any runtime can read the file. Batch and length stay dynamic.

What is left to choose, a `Lowering` says: a profile measured it on the device.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from autocompress.anatomy.weights import AttentionWeights, EmbeddingWeights, EncoderWeights, LayerWeights
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.text_inputs import IDS, MASK, TYPES
from autocompress.deploy.nodes import NORM, Graph

MASKED = -60.0
"""Added to the scores of padding: softmax makes 1e-26 of it, which adds to no fp32 sum. With -10000 the softmax of ONNX
Runtime does not give 0 but the denormal 4e-39, on which processors are slow: batches of 32 questions, padded, took 1.2
times as long as full ones in int8 and 1.09 times in fp32; with this they take the same."""

INPUTS = (IDS, MASK)


def write_graph(
    weights: EncoderWeights, *, every_token: bool = False, lowering: Lowering = PLAIN, opset: int | None = None
) -> onnx.ModelProto:
    """The model `(token ids, attention mask) [batch, length] int64 -> logits [batch, classes] float32`, or [batch,
    length, classes] where the head reads each token; of pairs of texts it takes their token types too.

    With `every_token` the last layer computes all tokens like any other: what profiling compares with. `opset` is the
    version of ONNX that it is written in, the oldest that it can be where none is given: an older one has no node for
    some of what the graph does, and gets several for it.
    """
    graph, every_token = Graph(lowering, opset), every_token or weights.reads != "first"
    inner = weights.layers if every_token else weights.layers[:-1]
    used = {rule for layer in inner if layer.attention for rule in graph.lowering.rules(layer.attention.bits)}
    with graph.within("mask"):
        mask = _masks(graph, every_query="attention_node" in used)
    with graph.within("embeddings"):
        hidden = _embeddings(graph, weights.embeddings)  # [batch, length, hidden]
    for place, layer in enumerate(weights.layers):
        last = place == len(weights.layers) - 1 and not every_token
        with graph.within(f"layers.{place}"):
            hidden = _layer(graph, layer, hidden, mask, weights.activation, last=last)
    with graph.within("head"):
        {"first": _head, "mean": _mean, "each": _each}[weights.reads](graph, weights, hidden)
    graph.nodes[-1].output[0] = "logits"
    inputs = INPUTS if weights.embeddings.types is None else (*INPUTS, TYPES)
    tokens, classes = ["batch", "length"], len(weights.head[-1].bias) if weights.head else "hidden"
    answered = tokens if weights.reads == "each" else tokens[:1]
    return graph.model(
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*answered, classes])],
    )


def _head(graph: Graph, weights: EncoderWeights, hidden: str) -> None:
    """[batch, tokens, hidden] -> [batch, classes], of the first token."""
    pooled = graph.node("Gather", hidden, graph.integer(0), axis=1)  # [batch, hidden]
    for position, linear in enumerate(weights.head):
        if position:
            pooled = graph.activation(weights.head_activation, pooled)
        with graph.within(str(position)):
            weight, bias = graph.array(linear.weight, "weight"), graph.array(linear.bias, "bias")
            pooled = graph.node("Gemm", pooled, weight, bias)


def _each(graph: Graph, weights: EncoderWeights, hidden: str) -> None:
    """[batch, tokens, hidden] -> [batch, tokens, classes]."""
    for position, linear in enumerate(weights.head):
        if position:
            hidden = graph.activation(weights.head_activation, hidden)
        with graph.within(str(position)):
            hidden = graph.product(hidden, linear.weight, linear.bias, 32)


def _mean(graph: Graph, _: EncoderWeights, hidden: str) -> None:
    """[batch, tokens, hidden] -> [batch, hidden] of length 1: the mean over real tokens, whose number does not matter
    to what has length 1 afterwards."""
    mask = graph.node("Unsqueeze", graph.node("Cast", MASK, to=TensorProto.FLOAT), graph.ints([1]))
    total = graph.node("Squeeze", graph.node("MatMul", mask, hidden), graph.ints([1]))
    squares = graph.node("ReduceSum", graph.node("Mul", total, total), graph.ints([1]), keepdims=1)
    graph.node("Div", total, graph.node("Sqrt", squares))


class Place(NamedTuple):
    """Where a result stands in a written graph. `block` is 0 for the embeddings and the mask, then counts the attention
    and the feed-forward block of each layer in turn, and the head; `is_norm` holds for the sum and the normalisation
    at the end of a block."""

    block: int
    is_norm: bool


def written_places(model: onnx.ModelProto) -> dict[str, Place]:
    """The place of every result of a graph of `write_graph`, by its name: nodes stand in the order in which they were
    written, and every block but the head ends with its normalisation."""
    norms = {name for node in model.graph.node if node.op_type == NORM for name in (node.input[0], node.output[0])}
    found, block = {}, 0
    for node in model.graph.node:
        found.update({name: Place(block, name in norms) for name in node.output})
        block += node.op_type == NORM
    return found


class _Masks(NamedTuple):
    """What is added to the scores. An `Attention` node repeats it over heads but not over queries, so it wants one
    `for_every` query, unless there is one query alone."""

    for_one: str  # [batch, 1, 1, length]
    for_every: str  # [batch, 1, length, length]; empty where no node asks for it


def _masks(graph: Graph, *, every_query: bool) -> _Masks:
    mask = graph.node("Cast", MASK, to=TensorProto.FLOAT)
    mask = graph.node("Sub", graph.scalar(1.0), mask)
    mask = graph.node("Mul", mask, graph.scalar(MASKED))
    mask = graph.node("Unsqueeze", mask, graph.ints([1, 2]))
    if not every_query:
        return _Masks(mask, "")
    length, one = graph.node("Shape", IDS, start=1, end=2), graph.ints([1])
    return _Masks(mask, graph.node("Expand", mask, graph.node("Concat", one, one, length, one, axis=0)))


def _embeddings(graph: Graph, embeddings: EmbeddingWeights) -> str:
    with graph.within("word"):
        words = graph.looked_up(embeddings.word, embeddings.bits, IDS)
    with graph.within("position"):
        length, rows = graph.node("Shape", IDS, start=1, end=2), graph.array(embeddings.position, "weight")
        positions = graph.node("Slice", rows, graph.ints([0]), length, graph.ints([0]))
    added = graph.node("Add", words, positions)
    if embeddings.types is not None:
        with graph.within("type"):
            added = graph.node("Add", added, graph.node("Gather", graph.array(embeddings.types, "weight"), TYPES))
    normed = graph.norm(added, embeddings.norm)
    return graph.linear("projection", normed, [embeddings.projection], 32) if embeddings.projection else normed


def _layer(graph: Graph, layer: LayerWeights, hidden: str, mask: _Masks, activation: str, *, last: bool) -> str:
    """[batch, length, hidden] -> the same, or [batch, 1, hidden] after the `last` layer."""
    if layer.attention:
        with graph.within("attention"):
            attended = _attend(graph, layer.attention, hidden, mask, last=last)
            hidden = graph.first(hidden) if last else hidden
            hidden = graph.norm(graph.node("Add", attended, hidden), layer.attention.norm)
    elif last:
        hidden = graph.first(hidden)
    if layer.feed_forward:
        block = layer.feed_forward
        with graph.within("feed_forward"):
            wide = graph.activation(activation, graph.linear("up", hidden, [block.up], block.bits))
            narrow = graph.linear("down", wide, [block.down], block.bits)
            hidden = graph.norm(graph.node("Add", narrow, hidden), block.norm)
    return hidden


def _attend(graph: Graph, block: AttentionWeights, hidden: str, mask: _Masks, *, last: bool) -> str:
    """softmax(q k' / sqrt(head size) + mask) v, heads joined and projected: [batch, length, hidden], or of the first
    token alone."""
    parts, rules = _projections(graph, block, hidden, last=last), graph.lowering.rules(block.bits)
    if "attention_node" in rules:
        added = mask.for_one if last else mask.for_every
        context = graph.node("Attention", *parts, added, q_num_heads=block.heads, kv_num_heads=block.heads, scale=1.0)
    else:
        context = _opened_attention(graph, parts, block, mask.for_one)
    return graph.linear("output", context, [block.output], block.bits)


def _projections(graph: Graph, block: AttentionWeights, hidden: str, *, last: bool) -> list[str]:
    """Queries, scaled, then keys and values, each [batch, length, heads * head size]; queries of the first token alone
    in the `last` layer."""
    scale = np.float32((len(block.query.bias) // block.heads) ** -0.5)
    query = replace(block.query, weight=block.query.weight * scale, bias=block.query.bias * scale)
    if "projections_apart" in graph.lowering.rules(block.bits):
        first, others = (
            graph.linear("query", hidden, [query], block.bits, first=last),
            {"key": block.key, "value": block.value},
        )
        return [first, *(graph.linear(name, hidden, [part], block.bits) for name, part in others.items())]
    if last:
        pair = graph.linear("key_value", hidden, [block.key, block.value], block.bits)
        return [graph.linear("query", hidden, [query], block.bits, first=True), *graph.split(pair, 2)]
    together = [query, block.key, block.value]
    return graph.split(graph.linear("query_key_value", hidden, together, block.bits), 3)


def _opened_attention(graph: Graph, parts: list[str], block: AttentionWeights, mask: str) -> str:
    """Operator by operator: [batch, length, heads * head size]."""
    inner = len(block.query.bias)
    heads = graph.ints([0, 0, block.heads, inner // block.heads])
    query_heads, key_heads, value_heads = (
        graph.node("Transpose", graph.node("Reshape", part, heads), perm=order)
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = graph.node("Add", graph.node("MatMul", query_heads, key_heads), mask)
    context = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value_heads)
    return graph.node("Reshape", graph.node("Transpose", context, perm=[0, 2, 1, 3]), graph.ints([0, 0, inner]))
