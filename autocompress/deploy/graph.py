"""An encoder's weights as an ONNX graph, written node by node.

Writing the graph ourselves, instead of tracing the module, decides what the runtime gets to see: q, k and v are one
product, the attention scale is folded into the query, the mask is made once, embeddings are gathered from the precision
they are stored in, and a tensor that feeds several int8 products is quantized once. The last layer computes what the
head reads, the first token, and nothing else; its keys and values still come from all tokens. Every operator is
standard ONNX, so that any runtime can read the file. Batch and length stay dynamic.

What is left to choose, a `Lowering` says: a profile measured it on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autocompress.anatomy.int4 import packed
from autocompress.anatomy.int8 import quantize_rows, steps
from autocompress.anatomy.weights import AttentionWeights, EmbeddingWeights, EncoderWeights, LayerWeights, Linear, Norm
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.opsets import ATTENTION_OPSET, OPSETS, PLAIN_OPSET
from autocompress.core.shape import BLOCK, Bits
from autocompress.core.text_inputs import IDS, MASK

MASKED = -60.0
"""Added to the scores of padding: softmax makes 1e-26 of it, which adds to no fp32 sum. With -10000 the softmax of ONNX
Runtime does not give 0 but the denormal 4e-39, on which processors are slow: batches of 32 questions, padded, took 1.2
times as long as full ones in int8 and 1.09 times in fp32; with this they take the same."""

INPUTS = (IDS, MASK)
NORM = "LayerNormalization"
_BY_TANH = {"approximate": "tanh"}
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", _BY_TANH),
    "gelu_pytorch_tanh": ("Gelu", _BY_TANH),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
"""The node of each activation (`anatomy.ACTIVATIONS` and those of heads), and its attributes."""


def write_graph(
    weights: EncoderWeights, *, every_token: bool = False, lowering: Lowering = PLAIN, opset: int | None = None
) -> onnx.ModelProto:
    """The model `(token ids, attention mask) [batch, length] int64 -> logits [batch, classes] float32`.

    With `every_token` the last layer computes all tokens like any other: what profiling compares with. `opset` is the
    version of ONNX that it is written in, the oldest that it can be where none is given: an older one has no node for
    some of what the graph does, and gets several for it.
    """
    graph = _Graph(lowering, opset)
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
        _head(graph, weights, hidden)
    graph.nodes[-1].output[0] = "logits"
    return graph.model(classes=len(weights.head[-1].bias))


def _head(graph: _Graph, weights: EncoderWeights, hidden: str) -> None:
    """[batch, tokens, hidden] -> [batch, classes], of the first token."""
    pooled = graph.node("Gather", hidden, graph.integer(0), axis=1)  # [batch, hidden]
    for position, linear in enumerate(weights.head):
        if position:
            pooled = graph.activation(weights.head_activation, pooled)
        with graph.within(str(position)):
            weight, bias = graph.array(linear.weight, "weight"), graph.array(linear.bias, "bias")
            pooled = graph.node("Gemm", pooled, weight, bias)


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


def _masks(graph: _Graph, *, every_query: bool) -> _Masks:
    mask = graph.node("Cast", MASK, to=TensorProto.FLOAT)
    mask = graph.node("Sub", graph.scalar(1.0), mask)
    mask = graph.node("Mul", mask, graph.scalar(MASKED))
    mask = graph.node("Unsqueeze", mask, graph.ints([1, 2]))
    if not every_query:
        return _Masks(mask, "")
    length, one = graph.node("Shape", IDS, start=1, end=2), graph.ints([1])
    return _Masks(mask, graph.node("Expand", mask, graph.node("Concat", one, one, length, one, axis=0)))


def _embeddings(graph: _Graph, embeddings: EmbeddingWeights) -> str:
    with graph.within("word"):
        if embeddings.bits == 32:
            words = graph.node("Gather", graph.array(embeddings.word, "weight"), IDS)
        elif embeddings.bits == 8:
            table, scales = quantize_rows(embeddings.word)
            found = graph.node("Gather", graph.array(table, "weight"), IDS)
            found = graph.node("Cast", found, to=TensorProto.FLOAT)
            words = graph.node("Mul", found, graph.node("Gather", graph.array(scales, "scale"), IDS))
        else:
            words = _packed_words(graph, embeddings.word)
    with graph.within("position"):
        length, rows = graph.node("Shape", IDS, start=1, end=2), graph.array(embeddings.position, "weight")
        positions = graph.node("Slice", rows, graph.ints([0]), length, graph.ints([0]))
    normed = graph.norm(graph.node("Add", words, positions), embeddings.norm)
    return graph.linear("projection", normed, [embeddings.projection], 32) if embeddings.projection else normed


def _packed_words(graph: _Graph, table: NDArray[np.float32]) -> str:
    """Rows of a table in 4 bits, unpacked as they are looked up: [batch, length, hidden]."""
    found = zip(packed(torch.from_numpy(table)), ("codes", "multipliers", "scale"), strict=True)
    codes, multipliers, scales = (graph.array(tensor.numpy(), name) for tensor, name in found)
    both = graph.halves(graph.node("Gather", codes, IDS))
    signed = graph.node("DequantizeLinear", both, graph.scalar(1.0), graph.byte(8))
    blocks = graph.node("Reshape", signed, graph.ints([0, 0, -1, BLOCK]))
    by = graph.node("Cast", graph.node("Gather", multipliers, IDS), to=TensorProto.FLOAT)
    step = graph.node("Mul", by, graph.node("Gather", scales, IDS))
    rows = graph.node("Mul", blocks, graph.node("Unsqueeze", step, graph.ints([-1])))
    rows = graph.node("Reshape", rows, graph.ints([0, 0, -1]))
    if (hidden := table.shape[1]) % BLOCK:
        rows = graph.node("Slice", rows, graph.ints([0]), graph.ints([hidden]), graph.ints([2]))
    return rows


def _layer(graph: _Graph, layer: LayerWeights, hidden: str, mask: _Masks, activation: str, *, last: bool) -> str:
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


def _attend(graph: _Graph, block: AttentionWeights, hidden: str, mask: _Masks, *, last: bool) -> str:
    """softmax(q k' / sqrt(head size) + mask) v, heads joined and projected: [batch, length, hidden], or of the first
    token alone."""
    parts, rules = _projections(graph, block, hidden, last=last), graph.lowering.rules(block.bits)
    if "attention_node" in rules:
        added = mask.for_one if last else mask.for_every
        context = graph.node("Attention", *parts, added, q_num_heads=block.heads, kv_num_heads=block.heads, scale=1.0)
    else:
        context = _opened_attention(graph, parts, block, mask.for_one)
    return graph.linear("output", context, [block.output], block.bits)


def _projections(graph: _Graph, block: AttentionWeights, hidden: str, *, last: bool) -> list[str]:
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


def _opened_attention(graph: _Graph, parts: list[str], block: AttentionWeights, mask: str) -> str:
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


class _Graph:
    """Nodes and initializers, named after the part of the model that they are in."""

    def __init__(self, lowering: Lowering, opset: int | None) -> None:
        """Raises ValueError for a lowering that the version of ONNX has no nodes for."""
        rules = {*lowering.fp32, *lowering.int8}
        if opset is not None and opset < ATTENTION_OPSET and "attention_node" in rules:
            raise ValueError(f"an `Attention` node needs ONNX opset {ATTENTION_OPSET}, got {opset}")
        self.lowering = lowering
        self._asked, self._opset = opset, opset or PLAIN_OPSET
        self._within: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._small: dict[tuple[str, bytes], str] = {}
        self._quantized: dict[str, tuple[str, str, str]] = {}
        self._written: dict[tuple[str, ...], str] = {}

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        first = f"{'.'.join(self._within)}/{operator}_{len(self.nodes)}"
        names = [first + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names[0]

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """What is written meanwhile is named after this part of the model: `layers.0.attention.output.weight`."""
        self._within.append(part)
        yield
        self._within.pop()

    def split(self, tensor: str, parts: int) -> list[str]:
        number = {"num_outputs": parts} if self._opset >= 18 else {}  # before, equal parts are what is meant
        self.node("Split", tensor, outputs=parts, axis=-1, **number)
        return list(self.nodes[-1].output)

    def activation(self, name: str, tensor: str) -> str:
        operator, attributes = ACTIVATIONS[name]
        if operator != "Gelu" or self._opset >= 20:
            return self.node(operator, tensor, **attributes)
        if attributes:  # by tanh(sqrt(2 / pi) (x + 0.044715 x^3))
            cube = self.node("Mul", self.node("Mul", tensor, tensor), tensor)
            inner = self.node("Add", tensor, self.node("Mul", cube, self.scalar(0.044715)))
            bent = self.node("Tanh", self.node("Mul", inner, self.scalar((2 / np.pi) ** 0.5)))
        else:
            bent = self.node("Erf", self.node("Div", tensor, self.scalar(2**0.5)))
        both = self.node("Add", bent, self.scalar(1.0))
        return self.node("Mul", self.node("Mul", tensor, both), self.scalar(0.5))

    def array(self, array: NDArray[np.generic], name: str) -> str:
        """A tensor of the part that is being written."""
        return self._stored(array, ".".join((*self._within, name)))

    def _stored(self, array: NDArray[np.generic], name: str) -> str:
        assert name not in self._initializers, f"two tensors are called {name}"
        self._initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def _shared(self, array: NDArray[np.generic]) -> str:
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._small:
            self._small[key] = self._stored(array, f"constant_{len(self._small)}")
        return self._small[key]

    def ints(self, values: list[int]) -> str:
        return self._shared(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        return self._shared(np.array(value, np.int64))

    def scalar(self, value: float) -> str:
        return self._shared(np.array(value, np.float32))

    def byte(self, value: int) -> str:
        return self._shared(np.array(value, np.uint8))

    def norm(self, tensor: str, norm: Norm) -> str:
        with self.within("norm"):
            scale, bias = self.array(norm.scale, "scale"), self.array(norm.bias, "bias")
            return self.node(NORM, tensor, scale, bias, axis=-1, epsilon=norm.epsilon)

    def first(self, tensor: str) -> str:
        """[batch, length, ...] -> [batch, 1, ...]"""
        return self.node("Slice", tensor, self.ints([0]), self.ints([1]), self.ints([1]))

    def linear(self, name: str, tensor: str, parts: list[Linear], bits: Bits, *, first: bool = False) -> str:
        """x W + b for several products of the same x at once, side by side in the last axis; of the `first` token
        alone, if asked for."""
        with self.within(name):
            return self._linear(tensor, parts, bits, first=first)

    def _linear(self, tensor: str, parts: list[Linear], bits: Bits, *, first: bool) -> str:
        weight = np.concatenate([part.weight for part in parts], axis=1)
        bias = np.concatenate([part.bias for part in parts])
        relief, limits = parts[0].relief, parts[0].limits  # products of one input share them
        if bits == 32:
            product = self.node("MatMul", self.first(tensor) if first else tensor, self.array(weight, "weight"))
        else:
            if relief is not None:
                tensor, weight = self._once("Mul", tensor, self._shared(relief)), weight / relief[:, None]
            rows, scales = self.integer_rows(np.ascontiguousarray(weight.T), bits)
            columns = self.node("Transpose", rows, perm=[1, 0])
            if limits is None:
                product = self._dynamic_product(tensor, columns, scales[:, 0], first=first)
            else:
                product = self._static_product(tensor, columns, scales[:, 0], limits, first=first)
        return self.node("Add", product, self.array(bias, "bias"))

    def integer_rows(self, table: NDArray[np.float32], bits: Bits) -> tuple[str, NDArray[np.float32]]:
        """[rows, columns] -> int8 of the same shape, and scales [rows, 1].

        What is stored in 4 bits is unpacked by nodes that depend on no input: a runtime runs them once, as it loads the
        file, and none later.
        """
        if bits == 8:
            integers, scales = quantize_rows(table)
            return self.array(integers, "weight"), scales
        codes, multipliers, scale = (tensor.numpy() for tensor in packed(torch.from_numpy(table)))
        both = self.node("Cast", self.halves(self.array(codes, "codes")), to=TensorProto.INT32)
        blocks = self.node("Reshape", both, self.ints([len(table), -1, BLOCK]))
        signed = self.node("Sub", blocks, self._shared(np.array(8, np.int32)))
        by = self.node("Cast", self.array(multipliers[..., None], "multipliers"), to=TensorProto.INT32)
        whole = self.node("Reshape", self.node("Mul", signed, by), self.ints([len(table), -1]))
        cut = self.node("Slice", whole, self.ints([0]), self.ints([table.shape[1]]), self.ints([1]))
        return self.node("Cast", cut, to=TensorProto.INT8), scale

    def halves(self, codes: str) -> str:
        """uint8 [..., n] -> [..., 2 n]: the low halves of all, then the high ones."""
        if self._opset >= 18:
            low = self.node("BitwiseAnd", codes, self.byte(15))
        else:  # what is shifted out of a byte is gone
            left = self.node("BitShift", codes, self.byte(4), direction="LEFT")
            low = self.node("BitShift", left, self.byte(4), direction="RIGHT")
        return self.node("Concat", low, self.node("BitShift", codes, self.byte(4), direction="RIGHT"), axis=-1)

    def _dynamic_product(self, tensor: str, columns: str, scales: NDArray[np.float32], *, first: bool) -> str:
        """Activations in 8 bits as they come (one scale and zero point for the whole tensor), weights in signed 8 bits
        with a scale an output channel. In this form ONNX Runtime fuses the four nodes into one kernel."""
        if tensor not in self._quantized:
            self.node("DynamicQuantizeLinear", tensor, outputs=3)
            values, scale, zero = self.nodes[-1].output
            self._quantized[tensor] = (values, scale, zero)
        values, scale, zero = self._quantized[tensor]
        zeros = self.array(np.zeros(len(scales), np.int8), "zero_point")
        product = self.node("MatMulInteger", self.first(values) if first else values, columns, zero, zeros)
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        return self.node("Mul", product, self.node("Mul", scale, self.array(scales, "scale")))

    def _static_product(
        self, tensor: str, columns: str, scales: NDArray[np.float32], limits: tuple[float, float], *, first: bool
    ) -> str:
        """The same with the scale and zero point of activations fixed, in the form of QuantizeLinear and
        DequantizeLinear around a plain product: what runtimes agree to read as int8."""
        found = steps(*(torch.tensor(limit, dtype=torch.float32) for limit in limits))
        scale, zero = self.scalar(float(found[0])), self._shared(found[1].numpy().astype(np.uint8))
        if tensor not in self._quantized:
            self._quantized[tensor] = (self.node("QuantizeLinear", tensor, scale, zero), scale, zero)
        values = self._quantized[tensor][0]
        inputs = self.node("DequantizeLinear", self.first(values) if first else values, scale, zero)
        zeros = self.array(np.zeros(len(scales), np.int8), "zero_point")
        weight = self.node("DequantizeLinear", columns, self.array(scales, "scale"), zeros, axis=1)
        return self.node("MatMul", inputs, weight)

    def _once(self, operator: str, *inputs: str) -> str:
        """A node that is written once for the same inputs."""
        key = (operator, *inputs)
        if key not in self._written:
            self._written[key] = self.node(operator, *inputs)
        return self._written[key]

    def model(self, *, classes: int) -> onnx.ModelProto:
        tokens = ["batch", "length"]
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in INPUTS],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            list(self._initializers.values()),
        )
        needs_attention = any(node.op_type == "Attention" for node in self.nodes)
        opset = self._asked or (ATTENTION_OPSET if needs_attention else PLAIN_OPSET)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            producer_name="autocompress",
            producer_version=_version(),
        )
        model.ir_version = OPSETS[opset].form
        return model


def _version() -> str:
    try:
        return metadata.version("autocompress")
    except metadata.PackageNotFoundError:  # run from a folder, without being installed
        return ""
