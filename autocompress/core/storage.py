"""How numbers are held, and what is computed with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

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


@dataclass(frozen=True, slots=True)
class Storage:
    """How the numbers of a matrix are held, and what its products compute in: all settings that change the result,
    also those that cost nothing (`calibration`, `smoothing`).

    In 32 bits as they were trained; in 8 as whole numbers with one scale an output; in 4 in blocks that share a
    multiplier, computed in 8. `activations`, `calibration` and `smoothing` are `operators.quantize`'s.
    """

    bits: Bits = 32
    activations: Activations = "dynamic"
    calibration: Calibration | None = None
    smoothing: float | None = None


PLAIN: Final = Storage()


def arithmetic(storage: Storage) -> Arithmetic:
    """What is held in 4 bits is computed in 8."""
    return 32 if storage.bits == 32 else 8


def precisions(*, static: bool = False) -> list[Storage]:
    """What a part of a layer may compute in; int8 with fixed ranges is among it if asked for."""
    found = [Storage(bits) for bits in BITS]
    return [*found, Storage(8, "static")] if static else found
