"""Quantization to 8 bits: weights once, activations as they come (dynamic)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast, final, get_args

from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.shape import Bits, LayerShape, ModelShape, layer_index

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.importance import Importance


@final
class Quantize:
    """Gives a part `bits`: 32 leaves it as it is, 8 computes its products in int8 and stores its weights so.
    The embedding table is only stored in 8 bits; a looked-up row is scaled back to fp32."""

    name: Final = "quantize"
    phase: Final = Phase.PRECISION
    parts: Final = ("embeddings", "layers.*", "layers.*.attention", "layers.*.feed_forward")
    rules: Final[Mapping[str, SettingRule]] = {"bits": SettingRule(values=(4, 8, 32))}

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        return None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        bits = _bits(step)
        if bits == 32:
            return shape
        if step.target == "embeddings":
            return replace(shape, embedding_bits=bits)

        def quantized(layer: LayerShape) -> LayerShape:
            if not step.target.endswith(".feed_forward"):
                layer = replace(layer, attention=replace(layer.attention, bits=bits))
            if not step.target.endswith(".attention"):
                layer = replace(layer, feed_forward=replace(layer.feed_forward, bits=bits))
            return layer

        return shape.with_layer(layer_index(step.target), quantized)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        bits = _bits(step)
        if bits == 32:
            return
        if step.target == "embeddings":
            anatomy.quantize_embeddings(bits=bits)
            return
        layer = anatomy.layer(layer_index(step.target))
        slots = (
            *(() if step.target.endswith(".feed_forward") else layer.attention),
            *(() if step.target.endswith(".attention") else layer.feed_forward),
        )
        anatomy.quantize(slots, bits=bits)


def _bits(step: Step) -> Bits:
    (bits,) = (bits for bits in get_args(Bits) if bits == step.settings["bits"])
    return cast(Bits, bits)
