"""An encoder as plain arrays: all that deployment needs, no module attached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.core.shape import Activations, AttentionShape, Bits, FeedForwardShape, ModelShape

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """`weight` [inputs, outputs], `bias` [outputs]. In integers, inputs are quantized between two `limits`, or as they
    come; with a `relief` [inputs] they are multiplied by it before, and the rows of the weight divided by it."""

    weight: Array
    bias: Array
    limits: tuple[float, float] | None = None
    relief: Array | None = None


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis: `scale`, `bias` [hidden]."""

    scale: Array
    bias: Array
    epsilon: float


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """q, k, v [hidden, heads * head size], output [heads * head size, hidden], and the norm after the addition."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    norm: Norm
    heads: int
    bits: Bits


@dataclass(frozen=True, slots=True)
class FeedForwardWeights:
    """up [hidden, width], down [width, hidden], and the norm after the addition."""

    up: Linear
    down: Linear
    norm: Norm
    bits: Bits


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One post-norm encoder layer. A block that is None is left out with its norm, which profiling uses to time the
    other one."""

    attention: AttentionWeights | None
    feed_forward: FeedForwardWeights | None


@dataclass(frozen=True, slots=True)
class EmbeddingWeights:
    """`word` [vocabulary, hidden], `position` [positions, hidden]: row i belongs to the i-th token (families that start
    at another row hand in the table without the rows before it). The token-type row, constant for single texts, is
    already added to the positions. Tables narrower than the layers are projected to their width after the norm."""

    word: Array
    position: Array
    norm: Norm
    bits: Bits
    projection: Linear | None = None


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Embeddings, layers, and a head of dense layers on the first token with `head_activation` between them."""

    embeddings: EmbeddingWeights
    layers: tuple[LayerWeights, ...]
    activation: str
    head: tuple[Linear, ...]
    head_activation: str


def random_weights(shape: ModelShape, *, positions: int, seed: int) -> EncoderWeights:
    """Weights of a shape with nothing learned: a model's speed depends on its shape alone, so this is what profiling
    runs. The vocabulary is that of the shape."""
    generator = np.random.default_rng(seed)

    def array(*sizes: int) -> Array:
        return (0.02 * generator.standard_normal(sizes, dtype=np.float32)).astype(np.float32)

    def linear(inputs: int, outputs: int, activations: Activations = "dynamic") -> Linear:
        limits = (-4.0, 4.0) if activations == "static" else None
        return Linear(array(inputs, outputs), array(outputs), limits)

    def norm(width: int = shape.hidden) -> Norm:
        return Norm(np.ones(width, np.float32), array(width), 1e-12)

    def attention(block: AttentionShape) -> AttentionWeights | None:
        inner = block.heads * block.head_size
        if not inner:
            return None
        query, key, value = (linear(shape.hidden, inner, block.activations) for _ in range(3))
        output = linear(inner, shape.hidden, block.activations)
        return AttentionWeights(query, key, value, output, norm(), block.heads, block.bits)

    def feed_forward(block: FeedForwardShape) -> FeedForwardWeights | None:
        if not block.width:
            return None
        up = linear(shape.hidden, block.width, block.activations)
        down = linear(block.width, shape.hidden, block.activations)
        return FeedForwardWeights(up, down, norm(), block.bits)

    layers = [LayerWeights(attention(layer.attention), feed_forward(layer.feed_forward)) for layer in shape.layers]
    widths = (shape.hidden, *shape.head_widths)
    return EncoderWeights(
        EmbeddingWeights(
            array(shape.word_rows, shape.row_width),
            array(positions, shape.row_width),
            norm(shape.row_width),
            shape.embedding_bits,
            linear(shape.table_width, shape.hidden) if shape.table_width else None,
        ),
        tuple(layers),
        "gelu",
        tuple(linear(a, b) for a, b in zip(widths, widths[1:], strict=False)),
        "tanh",
    )
