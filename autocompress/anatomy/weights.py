"""An encoder as plain arrays: all that deployment needs, no module attached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autocompress.core.encoders import STACK
from autocompress.core.parts import Matrix, ModelParts, Part
from autocompress.core.storage import Bits

Array = NDArray[np.float32]

Reads = Literal["first", "mean", "each"]
"""What of the last layer the head reads: the first token, the mean of all, or each for itself."""


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
    already added to the positions; for pairs of texts `types` [types, hidden] has a row for each. Tables narrower than
    the layers are projected to their width after the norm."""

    word: Array
    position: Array
    norm: Norm
    bits: Bits
    projection: Linear | None = None
    types: Array | None = None


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Embeddings, layers, and a head of dense layers on the first token, or on each, with `head_activation` between
    them; where it `reads` the mean over tokens, that is brought to length 1 and there is none."""

    embeddings: EmbeddingWeights
    layers: tuple[LayerWeights, ...]
    activation: str
    head: tuple[Linear, ...]
    head_activation: str
    reads: Reads = "first"


def random_weights(shape: ModelParts, *, positions: int, seed: int) -> EncoderWeights:
    """Weights of an encoder with nothing learned: a model's speed depends on its sizes alone, so this is what profiling
    runs. The vocabulary is that of the shape; a layer may lack a block."""
    generator = np.random.default_rng(seed)

    def array(*sizes: int) -> Array:
        return (0.02 * generator.standard_normal(sizes, dtype=np.float32)).astype(np.float32)

    def linear(matrix: Matrix) -> Linear:
        limits = (-4.0, 4.0) if matrix.storage.activations == "static" else None
        return Linear(array(matrix.inputs, matrix.outputs), array(matrix.outputs), limits)

    def norm(width: int = shape.width) -> Norm:
        return Norm(np.ones(width, np.float32), array(width), 1e-12)

    def attention(part: Part | None) -> AttentionWeights | None:
        if part is None or part.mixing is None:
            return None
        query, key, value, output = map(linear, part.matrices)
        return AttentionWeights(query, key, value, output, norm(), part.mixing.heads, part.storages[0].bits)

    def feed_forward(part: Part | None) -> FeedForwardWeights | None:
        if part is None:
            return None
        up, down = map(linear, part.matrices)
        return FeedForwardWeights(up, down, norm(), part.storages[0].bits)

    layers = []
    for index in shape.layers(STACK):
        blocks = {part.kind: part for part in shape.of_layer(STACK, index)}
        layers.append(LayerWeights(attention(blocks.get("attention")), feed_forward(blocks.get("feed_forward"))))
    front = shape["embeddings"]
    table = front.tables[0]
    return EncoderWeights(
        EmbeddingWeights(
            array(table.rows, table.width),
            array(positions, table.width),
            norm(table.width),
            table.storage.bits,
            next(map(linear, front.matrices), None),
        ),
        tuple(layers),
        "gelu",
        tuple(map(linear, shape["head"].matrices)),
        "tanh",
    )
