"""What a shape costs on the device of a stored study, as far as the study lets it be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from autocompress import config
from autocompress.core.cost import macs, parameters, passes, weight_bytes
from autocompress.core.device import DeviceProfile
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Measurement
from autocompress.core.parts import ModelParts
from autocompress.core.spec import StudySpec
from autocompress.core.workload import Workload
from autocompress.errors import AutocompressError, SpecError
from autocompress.pricing import Pricing
from autocompress.store import PROFILE_FACT, Store

_COUNTED = ("parameters", "macs")
"""Amounts that are told of what a step took, and are no worth."""


@dataclass(frozen=True, slots=True)
class Cost:
    """By metric what follows from a shape; `why_not` says why some does not."""

    known: Mapping[str, Measurement]
    why_not: str = ""


@final
class Prices:
    """Prices shapes of one model."""

    def __init__(self, load: Workload | None, pricing: Pricing | None, why_not: str = "") -> None:
        """`why_not` says why there is no `pricing`. Without a `load` no work is counted."""
        self._load, self._pricing, self._why_not = load, pricing, why_not

    @staticmethod
    def of_study(store: Store, name: str, spec: StudySpec | None, shape: ModelParts) -> Prices:
        """By the profile that the study keeps, else by the device that it names."""
        if spec is None:
            return Prices(None, None, "this version cannot read what the study was asked, so it predicts nothing")
        load = spec.workload
        try:
            profile = _profile(store, name, spec)
            pricing = Pricing.for_study(spec, profile, shape)
        except (AutocompressError, ValueError) as error:
            return Prices(load, None, f"nothing can be predicted: {error}")
        return Prices(load, pricing)

    def counted(self, shape: ModelParts) -> tuple[int, int | None, int]:
        """Parameters, multiply-accumulates, bytes of the weights in a file."""
        return parameters(shape), self._macs(shape), weight_bytes(shape)

    def worth(self, shape: ModelParts) -> Cost:
        """Everything but what is counted of weights and work."""
        why_not = self._why_not
        if self._pricing is not None:
            try:
                found = self._pricing.count(shape)
                return Cost({one.metric: one for one in found if one.metric not in _COUNTED})
            except SpecError as error:
                why_not = str(error)
        size = Measurement("size_mb", weight_bytes(shape) / 1e6, METRICS["size_mb"].unit, "counted")
        return Cost({"size_mb": size}, why_not)

    def _macs(self, shape: ModelParts) -> int | None:
        if self._load is None:
            return None
        try:
            return macs(shape, passes(shape, self._load.typical))
        except ValueError:  # of several stacks, or of lengths that nobody read yet
            return None


def _profile(store: Store, name: str, spec: StudySpec) -> DeviceProfile:
    """Raises AutocompressError or ValueError where there is none to be had."""
    stored = store.fact(name, PROFILE_FACT)
    if stored is not None:
        return config.device_from_json(stored)
    if spec.device == config.HOST:
        raise SpecError(f"study {name!r} keeps no profile of the machine that it ran on")
    return config.load_device(spec.device)
