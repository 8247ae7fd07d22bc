"""Quantization to 8 bits or fewer: weights once, activations as they come (dynamic) or within limits (static)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast, final, get_args

from autocompress.core.parts import Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.storage import FEW_BITS, Activations, Bits, Calibration, Storage
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class Quantize(PartOperator):
    """Gives a part `bits`: 32 leaves it as it is, 8 computes its products in int8 and stores its weights so; 4, 2,
    `ternary` and 1 compute them in int8 too and store them in fewer. Embeddings are only stored so; a looked-up row is
    scaled back to fp32. What is held in fewer than 4 bits is trained so from its first step on.

    `activations` that are `static` are quantized between limits that `calibration` finds on training texts, instead of
    as they come. With a `smoothing`, a strength from 0 to 1, outlier channels of activations are evened out at the cost
    of the weights. Both are about layers in 8 bits or 4, and change nothing of embeddings."""

    name: Final = "quantize"
    phase: Final = Phase.PRECISION
    elastic: Final = False
    targets: Final = (
        "embeddings",
        "layers.*",
        "layers.*.attention",
        "layers.*.cross_attention",
        "layers.*.feed_forward",
    )
    rules: Final[Mapping[str, SettingRule]] = {
        "bits": SettingRule(values=get_args(Bits)),
        "activations": SettingRule(values=get_args(Activations), optional=True, not_with=("bits", FEW_BITS)),
        "calibration": SettingRule(values=get_args(Calibration), optional=True, not_with=("bits", FEW_BITS)),
        "smoothing": SettingRule(low=0.0, high=1.0, real=True, optional=True, not_with=("bits", FEW_BITS)),
    }

    def fits(self, part: Part) -> bool:
        in_layer = "heads" in part.units or "channels" in part.units
        return (in_layer and part.owner is None) or (part.kind == "embedding" and bool(part.tables))

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        bits = _bits(settings)
        storage = Storage(bits) if part.layer is None else _storage(settings)
        if bits in FEW_BITS and storage != Storage(bits):
            found = "smoothing" if storage.calibration is None else "activations: static"
            raise CandidateError(
                f"{self.name} on {part.name}: `{found}` follows from a model as it was, and weights in `bits: {bits}` "
                "are trained to be others; leave it out, or use `bits` of 4 or 8"
            )
        return None if bits == 32 or part.storages == (storage,) else part.with_storage(storage)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        storage = _storage(step.settings)
        if storage.bits == 32:
            return
        if step.target == "embeddings":
            anatomy.quantize_embeddings(bits=storage.bits)
            return
        layer = anatomy.layer(anatomy.layer_of(step.target))
        slots = (
            *(() if step.target.endswith(".feed_forward") else layer.attention),
            *(() if step.target.endswith(".attention") else layer.feed_forward),
        )
        anatomy.quantize(slots, bits=storage.bits, calibration=storage.calibration, smoothing=storage.smoothing)


def _storage(settings: Mapping[str, Setting]) -> Storage:
    is_static, smoothing = settings.get("activations") == "static", settings.get("smoothing")
    return Storage(
        _bits(settings),
        "static" if is_static else "dynamic",
        _calibration(settings) if is_static else None,
        None if smoothing is None else float(smoothing),
    )


def _calibration(settings: Mapping[str, Setting]) -> Calibration:
    """How static ranges are found."""
    asked = settings.get("calibration", "min-max")
    (calibration,) = (one for one in get_args(Calibration) if one == asked)
    return cast(Calibration, calibration)


def _bits(settings: Mapping[str, Setting]) -> Bits:
    (bits,) = (bits for bits in get_args(Bits) if bits == settings["bits"])
    return cast(Bits, bits)
