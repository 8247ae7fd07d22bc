"""How long texts are in tokens, and what a study makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autocompress.guessing.reasons import Reason

_STEPS: Final = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""What lengths are rounded up to: kernels like multiples of 16, and profiles of a device are kept by length."""
_MOST: Final = _STEPS[-1]
_WHOLE: Final = 0.99
_USUAL: Final = 0.9


@dataclass(frozen=True, slots=True)
class Lengths:
    """Where texts are cut, and how long one is whose inference is timed, in tokens."""

    max_length: int
    length: int
    reasons: tuple[Reason, ...]


def lengths_of(counts: Sequence[int], *, positions: int | None, more: str = "") -> Lengths:
    """By the tokens of single rows, special ones included, for a model of so many `positions`; `more` is what gives it
    more of them (`core.positions.way_to`)."""
    ranked = sorted(counts)
    whole, usual = (ranked[min(int(share * len(ranked)), len(ranked) - 1)] for share in (_WHOLE, _USUAL))
    most = min(positions or _MOST, _MOST)
    max_length, length = (min(_rounded(one), most) for one in (whole, usual))
    cut = sum(count > max_length for count in ranked) / len(ranked)
    reads = f"the model reads no more than {most}" if positions == most else "a larger `task.max_length` reads more"
    helped = f"; {more} with a larger `task.max_length` reads more" if more and positions == most else ""
    told = "" if whole <= max_length else f"; {cut:.0%} are longer, {reads}{helped}"
    return Lengths(
        max_length,
        length,
        (
            Reason("max length", f"{max_length} tokens", f"99 of 100 texts have {whole} or fewer{told}"),
            Reason("timed at", f"{length} tokens", f"9 of 10 texts have {usual} or fewer; one text at a time"),
        ),
    )


def _rounded(count: int) -> int:
    return next((step for step in _STEPS if step >= count), _MOST)
