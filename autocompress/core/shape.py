"""The shape of a transformer encoder as numbers: enough to count, to predict and to refuse, without a tensor.

Operators map shapes to shapes (`Operator.reshape`), so that a policy's cost is known in microseconds and an
infeasible candidate never reaches a worker. One MAC is two FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from autocompress.core.runtimes import DEFAULT_RUNTIME

Bits = Literal[4, 8, 32]
"""How a part's weights are stored. Layers stored in 4 bits are unpacked to 8 when a file is loaded, and computed so."""

Arithmetic = Literal[8, 32]
"""What products are computed in: int8 or fp32."""

BITS: tuple[Arithmetic, ...] = (8, 32)
Activations = Literal["dynamic", "static"]
"""Whether the range of what goes into an int8 product is that of each text, or fixed for all by calibration."""

Calibration = Literal["min-max", "percentile", "entropy"]
"""How static ranges follow from what was seen of them: all of it, all but the outermost, or what loses least."""

PRECISION: Mapping[Bits, str] = {4: "int4", 8: "int8", 32: "fp32"}

BLOCK: Final = 32
"""Weights in 4 bits that share a multiplier."""


def precisions(*, static: bool = False) -> list[tuple[Arithmetic, Activations]]:
    """What a part of a layer may compute in; int8 with fixed ranges is among it if asked for."""
    found: list[tuple[Arithmetic, Activations]] = [(bits, "dynamic") for bits in BITS]
    return [*found, (8, "static")] if static else found


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """`heads` of `head_size` channels each; q, k, v and o are [heads * head_size, hidden] and its transpose.

    `calibration` (of static activations) and `smoothing` cost nothing, but they change what the model answers: a step
    that changes one of them is not idle (`operators.effective`)."""

    heads: int
    head_size: int
    bits: Bits = 32
    activations: Activations = "dynamic"
    calibration: Calibration | None = None
    smoothing: float | None = None


@dataclass(frozen=True, slots=True)
class FeedForwardShape:
    """Two products, hidden -> width -> hidden, held as `AttentionShape` says."""

    width: int
    bits: Bits = 32
    activations: Activations = "dynamic"
    calibration: Calibration | None = None
    smoothing: float | None = None


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One encoder layer; `index` is its place in the uncompressed model."""

    index: int
    attention: AttentionShape
    feed_forward: FeedForwardShape


@dataclass(frozen=True, slots=True)
class ModelShape:
    """An encoder with an embedding table below and a classification head above.

    `head_widths` are the output widths of the dense layers of the head, first to last (the last is the number of
    classes). `other_rows` are the position and token-type rows; `lookups` counts the embedding tables. Tables narrower
    than `hidden`, of `table_width` channels, are projected to it (None: they are as wide). `runtime` is a name of
    `core.runtimes`: what it is deployed in.
    """

    family: str
    hidden: int
    word_rows: int
    other_rows: int
    lookups: int
    layers: tuple[LayerShape, ...]
    head_widths: tuple[int, ...]
    embedding_bits: Bits = 32
    runtime: str = DEFAULT_RUNTIME
    table_width: int | None = None

    @property
    def row_width(self) -> int:
        """Channels of a row of an embedding table."""
        return self.table_width or self.hidden

    @property
    def depth(self) -> int:
        return len(self.layers)

    def layer(self, index: int) -> LayerShape | None:
        """The layer that had this place in the uncompressed model, or None once it is removed."""
        return next((layer for layer in self.layers if layer.index == index), None)

    def with_layer(self, index: int, change: Callable[[LayerShape], LayerShape]) -> ModelShape:
        """The shape with one layer changed; the same shape once that layer is removed."""
        return replace(self, layers=tuple(change(layer) if layer.index == index else layer for layer in self.layers))

    def names(self) -> tuple[str, ...]:
        """Every part a step may target, in the order in which data flows."""
        parts = ["embeddings"]
        for layer in self.layers:
            parts += [f"layers.{layer.index}", f"layers.{layer.index}.attention", f"layers.{layer.index}.feed_forward"]
        return (*parts, "head")


def unpacked(shape: ModelShape) -> ModelShape:
    """The shape as it is computed: layers stored in 4 bits are in 8 once they are loaded, embeddings stay packed."""
    if all(4 not in (layer.attention.bits, layer.feed_forward.bits) for layer in shape.layers):
        return shape
    layers = tuple(
        replace(
            layer,
            attention=replace(layer.attention, bits=_arithmetic(layer.attention.bits)),
            feed_forward=replace(layer.feed_forward, bits=_arithmetic(layer.feed_forward.bits)),
        )
        for layer in shape.layers
    )
    return replace(shape, layers=layers)


def describe(shape: ModelShape) -> str:
    """A shape in one line: `4 layers (0, 1, 3, 5), heads 6 6 3 9, feed-forward 768 384 768 1536, int8`."""

    def sizes(values: list[int]) -> str:
        return str(values[0]) if len(set(values)) == 1 else " ".join(map(str, values))

    kept = ", ".join(str(layer.index) for layer in shape.layers)
    bits = {part.bits for layer in shape.layers for part in (layer.attention, layer.feed_forward)}
    layers = "/".join(PRECISION[b] for b in sorted(bits)) or "fp32"
    if any("static" in (layer.attention.activations, layer.feed_forward.activations) for layer in shape.layers):
        layers += " (static)"
    table = "" if {shape.embedding_bits} == bits else f", {PRECISION[shape.embedding_bits]} embeddings"
    runtime = "" if shape.runtime == DEFAULT_RUNTIME else f", in {shape.runtime}"
    return (
        f"{shape.depth} layers ({kept}), heads {sizes([layer.attention.heads for layer in shape.layers])}, "
        f"feed-forward {sizes([layer.feed_forward.width for layer in shape.layers])}, {layers}{table}{runtime}"
    )


def layer_index(target: str) -> int:
    """The layer a name belongs to: `layers.3.attention` -> 3. Raises ValueError for a name outside the layers."""
    root, _, rest = target.partition(".")
    if root != "layers" or not rest:
        raise ValueError(f"{target!r} names no layer")
    return int(rest.split(".")[0])


def _arithmetic(bits: Bits) -> Arithmetic:
    return 32 if bits == 32 else 8


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def attention_parameters(hidden: int, attention: AttentionShape) -> int:
    inner = attention.heads * attention.head_size
    return 3 * _linear(hidden, inner) + _linear(inner, hidden)


def feed_forward_parameters(hidden: int, feed_forward: FeedForwardShape) -> int:
    return _linear(hidden, feed_forward.width) + _linear(feed_forward.width, hidden)


def projection_parameters(shape: ModelShape) -> int:
    """Between embedding tables and layers, where these are wider."""
    return _linear(shape.table_width, shape.hidden) if shape.table_width else 0


def head_parameters(shape: ModelShape) -> int:
    total, inputs = 0, shape.hidden
    for outputs in shape.head_widths:
        total += _linear(inputs, outputs)
        inputs = outputs
    return total


def parameters(shape: ModelShape) -> int:
    """Number of weights, embeddings and normalisation included."""
    norms = 2 * shape.row_width + 4 * shape.hidden * shape.depth
    embeddings = (shape.word_rows + shape.other_rows) * shape.row_width + projection_parameters(shape)
    layers = sum(
        attention_parameters(shape.hidden, layer.attention) + feed_forward_parameters(shape.hidden, layer.feed_forward)
        for layer in shape.layers
    )
    return embeddings + norms + layers + head_parameters(shape)


def macs(shape: ModelShape, *, batch: int, length: int, every_token: bool = True) -> int:
    """Multiply-accumulates of one forward pass: weight products and the two attention products (q.k and p.v)."""
    return sum(macs_by_bits(shape, batch=batch, length=length, every_token=every_token).values())


def macs_by_bits(shape: ModelShape, *, batch: int, length: int, every_token: bool = True) -> dict[Arithmetic, int]:
    """`macs` by the precision they run in; attention products and the head stay fp32.

    The deployed graph does not compute `every_token` in its last layer: the head reads the first one, so all but keys
    and values are computed for that one alone.
    """
    found: dict[Arithmetic, int] = {8: 0, 32: 0}
    for place, layer in enumerate(shape.layers):
        inner = layer.attention.heads * layer.attention.head_size
        rows = length if every_token or place < shape.depth - 1 else 1
        found[_arithmetic(layer.attention.bits)] += 2 * (length + rows) * shape.hidden * inner
        found[32] += 2 * rows * length * inner
        found[_arithmetic(layer.feed_forward.bits)] += rows * 2 * shape.hidden * layer.feed_forward.width
    found[32] += length * (shape.table_width or 0) * shape.hidden
    inputs = shape.hidden
    for outputs in shape.head_widths:
        found[32] += inputs * outputs
        inputs = outputs
    return {bits: batch * count for bits, count in found.items()}


def activation_bytes(shape: ModelShape, *, batch: int, length: int) -> int:
    """Bytes of the largest set of fp32 activations alive at once: a layer's input, its residual, and either q, k, v and
    the attention probabilities or the feed-forward block's inner channels twice (before and after its activation)."""
    widest = 0
    for layer in shape.layers:
        inner = layer.attention.heads * layer.attention.head_size
        widest = max(widest, 4 * inner + layer.attention.heads * length, 2 * layer.feed_forward.width)
    return 4 * batch * length * (2 * shape.hidden + widest)


def weight_bytes(shape: ModelShape, *, embeddings: bool = True) -> int:
    """Bytes of the weights as deployed.

    int8 matrices hold one byte a weight and one fp32 scale an output channel (embeddings: one scale a row); int4 ones
    half a byte a weight, and a byte for each block of them. Biases, normalisation and the head stay fp32. Without
    `embeddings`, what every inference reads: of a table it reads a few rows only.
    """
    hidden = shape.hidden
    total = norm_bytes(shape) + 4 * (head_parameters(shape) + projection_parameters(shape))
    if embeddings:
        width = shape.row_width
        total += shape.word_rows * row_bytes(width, shape.embedding_bits) + shape.other_rows * row_bytes(width, 32)
    for layer in shape.layers:
        total += attention_bytes(hidden, layer.attention) + feed_forward_bytes(hidden, layer.feed_forward)
    return total


def norm_bytes(shape: ModelShape) -> int:
    """Scales and biases of all normalisations: one above the embeddings, two in every layer."""
    return 4 * 2 * (shape.row_width + 2 * shape.hidden * shape.depth)


def row_bytes(hidden: int, bits: Bits) -> int:
    """One row of an embedding table."""
    return 4 * hidden if bits == 32 else _integer_bytes(hidden, bits) + 4


def attention_bytes(hidden: int, attention: AttentionShape) -> int:
    """The four matrices of a block with their biases, its normalisation apart."""
    inner = attention.heads * attention.head_size
    return _matrix_bytes(hidden, 3 * inner, attention.bits) + _matrix_bytes(inner, hidden, attention.bits)


def feed_forward_bytes(hidden: int, feed_forward: FeedForwardShape) -> int:
    """The two matrices of a block with their biases, its normalisation apart."""
    width, bits = feed_forward.width, feed_forward.bits
    return _matrix_bytes(hidden, width, bits) + _matrix_bytes(width, hidden, bits)


def _matrix_bytes(inputs: int, outputs: int, bits: Bits) -> int:
    return 4 * (inputs + 1) * outputs if bits == 32 else (_integer_bytes(inputs, bits) + 8) * outputs


def _integer_bytes(count: int, bits: Bits) -> int:
    """So many integers in a row, in whole blocks where they have 4 bits."""
    return count if bits == 8 else -(-count // BLOCK) * (BLOCK // 2 + 1)
