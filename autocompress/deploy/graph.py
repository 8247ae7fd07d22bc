"""An encoder's weights as an ONNX graph, written node by node.

Writing the graph ourselves, instead of tracing the module, decides what the runtime gets to see: q, k and v are one
product, the attention scale is folded into the query, the mask is made once, embeddings are gathered from the precision
they are stored in, and a tensor that feeds several int8 products is quantized once. The last layer computes what the
head reads, the first token, and nothing else; its keys and values still come from all tokens. Every operator is
standard ONNX, so that any runtime can read the file. Batch and length stay dynamic.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autocompress.anatomy.int8 import quantize_columns, quantize_rows
from autocompress.anatomy.weights import AttentionWeights, EmbeddingWeights, EncoderWeights, LayerWeights, Linear, Norm
from autocompress.core.shape import Bits

OPSET = 20
MASKED = -60.0
"""Added to the scores of padding: softmax makes 1e-26 of it, which adds to no fp32 sum. With -10000 the softmax of ONNX
Runtime does not give 0 but the denormal 4e-39, on which processors are slow: batches of 32 questions, padded, took 1.2
times as long as full ones in int8 and 1.09 times in fp32; with this they take the same."""

NORM = "LayerNormalization"
ACTIVATIONS = {"gelu": "Gelu", "relu": "Relu", "tanh": "Tanh"}


def write_graph(weights: EncoderWeights, *, every_token: bool = False) -> onnx.ModelProto:
    """The model `(input_ids, attention_mask) [batch, length] int64 -> logits [batch, classes] float32`.

    With `every_token` the last layer computes all tokens like any other: what profiling compares with.
    """
    graph = _Graph()
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.node("Sub", graph.scalar(1.0), mask)
    mask = graph.node("Mul", mask, graph.scalar(MASKED))
    mask = graph.node("Unsqueeze", mask, graph.ints([1, 2]))  # [batch, 1, 1, length]
    hidden = _embeddings(graph, weights.embeddings)  # [batch, length, hidden]
    for place, layer in enumerate(weights.layers):
        last = place == len(weights.layers) - 1 and not every_token
        hidden = _layer(graph, layer, hidden, mask, weights.activation, last=last)
    pooled = graph.node("Gather", hidden, graph.integer(0), axis=1)  # [batch, hidden]
    for position, linear in enumerate(weights.head):
        if position:
            pooled = graph.node(ACTIVATIONS[weights.head_activation], pooled)
        pooled = graph.node("Gemm", pooled, graph.array(linear.weight), graph.array(linear.bias))
    graph.nodes[-1].output[0] = "logits"
    return graph.model(classes=len(weights.head[-1].bias))


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


def _embeddings(graph: _Graph, embeddings: EmbeddingWeights) -> str:
    if embeddings.bits == 8:
        table, scales = quantize_rows(embeddings.word)
        rows = graph.node("Cast", graph.node("Gather", graph.array(table), "input_ids"), to=TensorProto.FLOAT)
        words = graph.node("Mul", rows, graph.node("Gather", graph.array(scales), "input_ids"))
    else:
        words = graph.node("Gather", graph.array(embeddings.word), "input_ids")
    length = graph.node("Shape", "input_ids", start=1, end=2)
    positions = graph.node("Slice", graph.array(embeddings.position), graph.ints([0]), length, graph.ints([0]))
    return graph.norm(graph.node("Add", words, positions), embeddings.norm)


def _layer(graph: _Graph, layer: LayerWeights, hidden: str, mask: str, activation: str, *, last: bool) -> str:
    """[batch, length, hidden] -> the same, or [batch, 1, hidden] after the `last` layer."""
    if layer.attention:
        attended = _attend(graph, layer.attention, hidden, mask, last=last)
        hidden = graph.first(hidden) if last else hidden
        hidden = graph.norm(graph.node("Add", attended, hidden), layer.attention.norm)
    elif last:
        hidden = graph.first(hidden)
    if layer.feed_forward:
        block = layer.feed_forward
        wide = graph.node(ACTIVATIONS[activation], graph.linear(hidden, [block.up], block.bits))
        narrow = graph.linear(wide, [block.down], block.bits)
        hidden = graph.norm(graph.node("Add", narrow, hidden), block.norm)
    return hidden


def _attend(graph: _Graph, block: AttentionWeights, hidden: str, mask: str, *, last: bool) -> str:
    """softmax(q k' / sqrt(head size) + mask) v, heads joined and projected: [batch, length, hidden], or of the first
    token alone."""
    inner = len(block.query.bias)
    scale = np.float32((inner // block.heads) ** -0.5)
    query = Linear(block.query.weight * scale, block.query.bias * scale)
    if last:
        pair = graph.linear(hidden, [block.key, block.value], block.bits)
        parts = [graph.linear(hidden, [query], block.bits, first=True), *graph.split(pair, 2)]
    else:
        parts = graph.split(graph.linear(hidden, [query, block.key, block.value], block.bits), 3)
    heads = graph.ints([0, 0, block.heads, inner // block.heads])
    query_heads, key_heads, value_heads = (
        graph.node("Transpose", graph.node("Reshape", part, heads), perm=order)
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = graph.node("Add", graph.node("MatMul", query_heads, key_heads), mask)
    context = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value_heads)
    context = graph.node("Reshape", graph.node("Transpose", context, perm=[0, 2, 1, 3]), graph.ints([0, 0, inner]))
    return graph.linear(context, [block.output], block.bits)


class _Graph:
    """Nodes and initializers, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._small: dict[tuple[str, bytes], str] = {}
        self._quantized: dict[str, tuple[str, str, str]] = {}

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"{operator}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names[0]

    def split(self, tensor: str, parts: int) -> list[str]:
        self.node("Split", tensor, outputs=parts, axis=-1, num_outputs=parts)
        return list(self.nodes[-1].output)

    def array(self, array: NDArray[np.generic]) -> str:
        name = f"weight_{len(self._initializers)}"
        self._initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def _shared(self, array: NDArray[np.generic]) -> str:
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._small:
            self._small[key] = self.array(array)
        return self._small[key]

    def ints(self, values: list[int]) -> str:
        return self._shared(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        return self._shared(np.array(value, np.int64))

    def scalar(self, value: float) -> str:
        return self._shared(np.array(value, np.float32))

    def norm(self, tensor: str, norm: Norm) -> str:
        return self.node(NORM, tensor, self.array(norm.scale), self.array(norm.bias), axis=-1, epsilon=norm.epsilon)

    def first(self, tensor: str) -> str:
        """[batch, length, ...] -> [batch, 1, ...]"""
        return self.node("Slice", tensor, self.ints([0]), self.ints([1]), self.ints([1]))

    def linear(self, tensor: str, parts: list[Linear], bits: Bits, *, first: bool = False) -> str:
        """x W + b for several products of the same x at once, side by side in the last axis; of the `first` token
        alone, if asked for."""
        weight = np.concatenate([part.weight for part in parts], axis=1)
        bias = np.concatenate([part.bias for part in parts])
        if bits == 32:
            product = self.node("MatMul", self.first(tensor) if first else tensor, self.array(weight))
        else:
            product = self._integer_product(tensor, weight, first=first)
        return self.node("Add", product, self.array(bias))

    def _integer_product(self, tensor: str, weight: NDArray[np.float32], *, first: bool) -> str:
        """Activations in 8 bits as they come (one scale and zero point for the whole tensor), weights in signed 8 bits
        with a scale an output channel. In this form ONNX Runtime fuses the four nodes into one kernel."""
        if tensor not in self._quantized:
            self.node("DynamicQuantizeLinear", tensor, outputs=3)
            values, scale, zero = self.nodes[-1].output
            self._quantized[tensor] = (values, scale, zero)
        values, scale, zero = self._quantized[tensor]
        columns, scales = quantize_columns(weight)
        zeros = self.array(np.zeros(len(scales), np.int8))
        product = self.node("MatMulInteger", self.first(values) if first else values, self.array(columns), zero, zeros)
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        return self.node("Mul", product, self.node("Mul", scale, self.array(scales)))

    def model(self, *, classes: int) -> onnx.ModelProto:
        tokens = ["batch", "length"]
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, tokens)
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            list(self._initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="autocompress")
        model.ir_version = 10
        return model
