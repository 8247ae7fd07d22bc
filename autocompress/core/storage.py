"""How numbers are held, and what is computed with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Bits = Literal[1, "ternary", 2, 4, 8, 32]
"""How a part's weights are stored; `ternary` ones have three values, log2(3) = 1.58 bits. Layers stored in fewer bits
than 8 are unpacked to 8 when a file is loaded, and computed so."""

Rounded = Literal[1, "ternary", 2, 4, 8]
"""All but fp32."""

FewBits = Literal[1, "ternary", 2]
"""So few that weights are trained so: a model that is rounded to them afterwards loses points, or all it knew."""

RowBits = Literal[4, 8, 32]
"""What profiles have rows for: a token's row of a table is unpacked from fewer bits in the time that 4 take."""

FEW_BITS: Final[tuple[FewBits, ...]] = get_args(FewBits)

IN_BYTE: Final[Mapping[Rounded, int]] = {1: 8, "ternary": 5, 2: 4, 4: 2, 8: 1}
"""Weights that a byte of a file holds: 3^5 = 243 values of five ternary ones fit into it."""

Arithmetic = Literal[8, 32]
"""What products are computed in: int8 or fp32."""

BITS: tuple[Arithmetic, ...] = (8, 32)
Activations = Literal["dynamic", "static"]
"""Whether the range of what goes into an int8 product is that of each text, or fixed for all by calibration."""

Calibration = Literal["min-max", "percentile", "entropy"]
"""How static ranges follow from what was seen of them: all of it, all but the outermost, or what loses least."""

PRECISION: Final[Mapping[Bits, str]] = {1: "binary", "ternary": "ternary", 2: "int2", 4: "int4", 8: "int8", 32: "fp32"}
"""From the fewest on."""

BLOCK: Final = 32
"""Weights in 4 bits or fewer that share a multiplier."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How the numbers of a matrix are held, and what its products compute in: all settings that change the result,
    also those that cost nothing (`calibration`, `smoothing`).

    In 32 bits as they were trained; in 8 as whole numbers with one scale an output; in fewer in blocks that share
    a multiplier, computed in 8. `activations`, `calibration` and `smoothing` are `operators.quantize`'s.
    """

    bits: Bits = 32
    activations: Activations = "dynamic"
    calibration: Calibration | None = None
    smoothing: float | None = None


PLAIN: Final = Storage()


def arithmetic(storage: Storage) -> Arithmetic:
    """What is held in fewer bits is computed in 8."""
    return 32 if storage.bits == 32 else 8


def width(bits: Bits) -> float:
    """Bits that a file holds of a weight, scales apart."""
    return 32.0 if bits == 32 else 8 / IN_BYTE[bits]


def precisions(*, static: bool = False) -> list[Storage]:
    """What a part of a layer may compute in; int8 with fixed ranges is among it if asked for."""
    found = [Storage(bits) for bits in BITS]
    return [*found, Storage(8, "static")] if static else found
