"""Quantization to 8 bits or 4: weights once, activations as they come (dynamic) or between fixed limits (static)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast, final, get_args

from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.shape import Activations, Bits, Calibration, LayerShape, ModelShape, layer_index

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.importance import Importance


@final
class Quantize:
    """Gives a part `bits`: 32 leaves it as it is, 8 computes its products in int8 and stores its weights so, 4 computes
    them in int8 too and stores them in 4. Embeddings are only stored so; a looked-up row is scaled back to fp32.

    `activations` that are `static` are quantized between limits that `calibration` finds on training texts, instead of
    as they come. With a `smoothing`, a strength from 0 to 1, outlier channels of activations are evened out at the cost
    of the weights. Both are about layers, and change nothing of embeddings."""

    name: Final = "quantize"
    phase: Final = Phase.PRECISION
    parts: Final = ("embeddings", "layers.*", "layers.*.attention", "layers.*.feed_forward")
    rules: Final[Mapping[str, SettingRule]] = {
        "bits": SettingRule(values=(4, 8, 32)),
        "activations": SettingRule(values=get_args(Activations), optional=True),
        "calibration": SettingRule(values=get_args(Calibration), optional=True),
        "smoothing": SettingRule(low=0.0, high=1.0, real=True, optional=True),
    }

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        return None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        bits = _bits(step)
        if bits == 32:
            return shape
        if step.target == "embeddings":
            return replace(shape, embedding_bits=bits)

        held: dict[str, Any] = {
            "bits": bits,
            "activations": "static" if _is_static(step) else "dynamic",
            "calibration": _calibration(step),
            "smoothing": _smoothing(step),
        }

        def quantized(layer: LayerShape) -> LayerShape:
            if not step.target.endswith(".feed_forward"):
                layer = replace(layer, attention=replace(layer.attention, **held))
            if not step.target.endswith(".attention"):
                layer = replace(layer, feed_forward=replace(layer.feed_forward, **held))
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
        anatomy.quantize(slots, bits=bits, calibration=_calibration(step), smoothing=_smoothing(step))


def _is_static(step: Step) -> bool:
    return step.settings.get("activations") == "static"


def _calibration(step: Step) -> Calibration | None:
    """How static ranges are found; None where they are not static."""
    if not _is_static(step):
        return None
    asked = step.settings.get("calibration", "min-max")
    (calibration,) = (one for one in get_args(Calibration) if one == asked)
    return cast(Calibration, calibration)


def _smoothing(step: Step) -> float | None:
    smoothing = step.settings.get("smoothing")
    return None if smoothing is None else float(smoothing)


def _bits(step: Step) -> Bits:
    (bits,) = (bits for bits in get_args(Bits) if bits == step.settings["bits"])
    return cast(Bits, bits)
