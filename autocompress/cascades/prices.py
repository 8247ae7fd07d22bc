"""What two models cost as one, by the share of texts that the first hands on to the second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_RARE: Final = 0.01
"""The share of answers that lie above the 99th percentile."""
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one model: milliseconds of an inference (a median, and whether it was measured), megabytes on disk, and where
    they are known millijoules of an inference and mebibytes of peak memory."""

    latency_ms: float
    size_mb: float
    energy_mj: float | None = None
    peak_memory_mib: float | None = None
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Price:
    """Of two models as one, in the same units. `mean_ms` is over texts as they come. Both models are in memory."""

    mean_ms: float
    p99_ms: float
    worst_ms: float
    size_mb: float
    energy_mj: float | None = None
    peak_memory_mib: float | None = None
    measured: bool = True


def priced(small: Costs, large: Costs, share: float) -> Price:
    """Texts are tokenized once, for both; no cost of either holds that. A text that is handed on was answered by both,
    which is the worst case, and the 99th percentile as soon as more than one in a hundred is."""
    worst = small.latency_ms + large.latency_ms
    return Price(
        mean_ms=small.latency_ms + share * large.latency_ms,
        p99_ms=worst if share > _RARE else small.latency_ms,
        worst_ms=worst,
        size_mb=small.size_mb + large.size_mb,
        energy_mj=_sum(small.energy_mj, large.energy_mj, share),
        peak_memory_mib=_sum(small.peak_memory_mib, large.peak_memory_mib, 1.0),
        measured=small.measured and large.measured,
    )


def share_interval(handed: int, rows: int) -> tuple[float, float]:
    """95 %, of the share that is handed on of texts of the same kind (Wilson 1927)."""
    share, z = handed / rows, _Z
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, centre - half), min(1.0, centre + half)


def _sum(small: float | None, large: float | None, share: float) -> float | None:
    return None if small is None or large is None else small + share * large
