"""Quantization to 8 bits: weights once, activations as they come (dynamic)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

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
    rules: Final[Mapping[str, SettingRule]] = {"bits": SettingRule(values=(8, 32))}

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        return None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        bits: Bits = 8 if step.settings["bits"] == 8 else 32
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
        if step.settings["bits"] == 32:
            return
        if step.target == "embeddings":
            anatomy.quantize_embeddings()
            return
        layer = anatomy.layer(layer_index(step.target))
        if not step.target.endswith(".feed_forward"):
            anatomy.quantize(layer.attention)
        if not step.target.endswith(".attention"):
            anatomy.quantize(layer.feed_forward)
