"""Shares as people write them: `0.01`, `1%`, `1pt`."""

from __future__ import annotations

import math
import re
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<unit>%|pts?|pp|points?|)", re.IGNORECASE
)


def amount(given: float | str, *, points: bool) -> float:
    """How much of a quality: a share, as `share` reads it, where the metric is told in `points`; else a number in the
    metric's own unit. Raises ValueError."""
    if points:
        return share(given)
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a number in the metric's own unit, which has no hundredths, got {given!r}")
    return number


def share(given: float | str) -> float:
    """The share that a text or a number stands for: hundredths where `%`, `pt`, `pp` or `points` stand behind it.

    A bare number of 1 or more may mean either, one point or everything, so it is asked about rather than guessed.
    Raises ValueError for that, for what is no number, and for more than the whole.
    """
    found = _WRITTEN.fullmatch(str(given).strip())
    number = float(found["number"]) if found else math.nan
    if found is None or not math.isfinite(number):
        raise ValueError(f"must be a share such as 0.01, or hundredths such as `1%` or `1pt`, got {given!r}")
    if found["unit"]:
        if abs(number) > 100:
            raise ValueError(f"must be at most 100 %, got {given}")
        return number / 100
    if abs(number) < 1:
        return number
    if abs(number) > 100:
        raise ValueError(f"must be a share of at most 1 (0.95) or 100 hundredths (`95%`), got {given}")
    whole = ", `100%` for all" if abs(number) == 1 else ""
    raise ValueError(
        f"is {given} a share or hundredths? write `{number:g}%` (or {number / 100:g}) for {number:g} of 100{whole}"
    )
