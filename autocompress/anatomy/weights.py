"""An encoder as plain arrays: all that deployment needs, no module attached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.encoders import STACK
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.parts import Matrix, ModelParts, Part
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import Bits

Array = NDArray[np.float32]

Reads = Literal["first", "mean", "each", "late"]
"""What of the last layer the head reads: the first position, the mean of all, or each for itself; `late` is the mean of
what it says of each."""

Order = Literal["pre", "post"]
"""Whether a block normalises what goes in, or the sum of that and what comes out."""


@dataclass(frozen=True, slots=True)
class Linear:
    """`weight` [inputs, outputs], `bias` [outputs]. In integers, inputs are quantized between two `limits`, or as they
    come; with a `relief` [inputs] they are multiplied by it before, and the rows of the weight divided by it. With a
    `sparsity` many weights are zero, which a file does not hold.

    Held as two factors, `weight` [inputs, rank] has no bias, and what it gives goes into the one `behind` [rank,
    outputs]; where one position is wanted alone, what lies between them is still quantized `over_all` of them, if so.
    """

    weight: Array
    bias: Array | None
    limits: tuple[float, float] | None = None
    relief: Array | None = None
    behind: Linear | None = None
    over_all: bool = False
    sparsity: Sparsity | None = None

    @property
    def outputs(self) -> int:
        return int((self.behind or self).weight.shape[1])


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis: `scale`, `bias` [hidden]. One by the root of the mean square (Zhang and
    Sennrich 2019, "RMSNorm") leaves the mean as it is, and has no bias."""

    scale: Array
    bias: Array | None
    epsilon: float
    by_square: bool = False


@dataclass(frozen=True, slots=True)
class Rotary:
    """Positions turn the two halves of a query's or key's channels by angles (Su et al. 2021, "RoFormer"):
    `frequencies` [head size / 2] radians from one position to the next, and all multiplied by a `scale`."""

    frequencies: Array
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """q [hidden, heads * head size], k and v [hidden, keys * head size], output [heads * head size, hidden], and the
    block's norm, which some first layers lack. As many queries share each of fewer `keys`, side by side; None is one
    for each. With a `window`, a position attends to those at most so far away, in scores of all that are masked; in
    another `form` such scores are not computed. Behind one that `keeps` some positions the others go no further."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    norm: Norm | None
    heads: int
    bits: Bits
    rotary: Rotary | None = None
    window: int | None = None
    keys: int | None = None
    form: AttentionForm = FULL_ATTENTION
    keeps: KeptTokens | None = None


@dataclass(frozen=True, slots=True)
class FeedForwardWeights:
    """up [hidden, width], down [width, hidden], and the block's norm. With a `gate` [hidden, width], that is bent by
    the activation, and multiplies what comes from `up` as it is."""

    up: Linear
    down: Linear
    norm: Norm
    bits: Bits
    gate: Linear | None = None


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One encoder layer. A block that is None is left out with its norm, which profiling uses to time the other one."""

    attention: AttentionWeights | None
    feed_forward: FeedForwardWeights | None


@dataclass(frozen=True, slots=True)
class EmbeddingWeights:
    """`word` [vocabulary, hidden], `position` [positions, hidden]: row i belongs to the i-th token (families that start
    at another row hand in the table without the rows before it); None where positions are told otherwise. The
    token-type row, constant for single texts, is already added to the positions; for pairs of texts `types` [types,
    hidden] has a row for each. Tables narrower than the layers are projected to their width after the norm."""

    word: Array
    position: Array | None
    norm: Norm | None
    bits: Bits
    projection: Linear | None = None
    types: Array | None = None


@dataclass(frozen=True, slots=True)
class PatchWeights:
    """An image of `size` pixels [height, width] cut into squares: a `kernel` [hidden, colours, side, side] for each;
    `first` [tokens, hidden] stand before them, and `position` [patches, hidden] is added to them. Biases and positions
    are in these two already."""

    kernel: Array
    first: Array
    position: Array
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ConvolutionWeights:
    """Over time: `kernel` [outputs, inputs / groups, places], then a normalisation of each channel over time, or of all
    channels at each time, or none."""

    kernel: Array
    bias: Array | None
    stride: int = 1
    norm: Norm | None = None
    over_time: bool = False
    groups: int = 1


@dataclass(frozen=True, slots=True)
class SoundWeights:
    """A wave shortened by `convolutions`, each bent by the `activation`; normalised and projected to the width of the
    layers; a convolution of as many places around each, bent too, tells its `position` and is added. The `last_norm`
    stands before the layers of post-norm stacks. `samples` are those of a wave, where all have as many."""

    convolutions: tuple[ConvolutionWeights, ...]
    norm: Norm
    projection: Linear
    position: ConvolutionWeights
    last_norm: Norm | None
    activation: str
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """What stands before the layers; layers, and the norm behind those of a pre-norm stack; and a head of dense layers
    with `head_activation` between them (none where it is empty), followed by `head_norm` where there is one. The head
    stands on the first position, on the mean over positions or on each, as it `reads`, and says the mean of these; the
    mean without a head is brought to length 1."""

    embeddings: EmbeddingWeights | PatchWeights | SoundWeights
    layers: tuple[LayerWeights, ...]
    activation: str
    head: tuple[Linear, ...]
    head_activation: str
    reads: Reads = "first"
    order: Order = "post"
    last_norm: Norm | None = None
    head_norm: Norm | None = None


def random_weights(shape: ModelParts, *, positions: int, seed: int) -> EncoderWeights:
    """Weights of an encoder with nothing learned: a model's speed depends on its sizes alone, so this is what profiling
    runs. The vocabulary is that of the shape; a layer may lack a block."""
    generator = np.random.default_rng(seed)

    def array(*sizes: int) -> Array:
        return (0.02 * generator.standard_normal(sizes, dtype=np.float32)).astype(np.float32)

    def linear(matrix: Matrix) -> Linear:
        limits = (-4.0, 4.0) if matrix.storage.activations == "static" else None
        if matrix.rank is None:
            return Linear(array(matrix.inputs, matrix.outputs), array(matrix.outputs), limits)
        behind = Linear(array(matrix.rank, matrix.outputs), array(matrix.outputs), limits)
        return Linear(array(matrix.inputs, matrix.rank), None, limits, behind=behind)

    def norm(width: int = shape.width) -> Norm:
        return Norm(np.ones(width, np.float32), array(width), 1e-12)

    def attention(part: Part | None) -> AttentionWeights | None:
        if part is None or part.mixing is None:
            return None
        query, key, value, output = map(linear, part.matrices)
        mixing, bits = part.mixing, part.storages[0].bits
        forms: dict[str, Any] = {"form": mixing.form, "keeps": mixing.keeps}
        return AttentionWeights(query, key, value, output, norm(), mixing.heads, bits, **forms)

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
