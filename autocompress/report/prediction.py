"""How the search's predictions compare with what was measured in the end.

A machine has slower and faster hours: a profile cannot know how fast it will be today. So predictions are read at the
pace of the day that finalists were measured on, which a reference model of the profile tells that was timed beside
them; what is left is the profile's own error.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from autocompress.core.outcome import Measurement

_FAR: Final = 0.10
"""A profile whose predictions are off by more at the machine's pace, in the median, does not describe it."""

_TELLING: Final = 3
"""Of fewer models one that was disturbed decides."""

_ALIKE: Final = 0.10
"""Models that are off by one factor lie this close to it."""

PACE: Final = "pace"
"""Where a finalist's provenance keeps how many times as long as when it was profiled the machine took for the
profile's reference model, timed beside the finalist."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many times as long as when it was profiled the machine took when finalists were measured: told by the
    profile's `reference` model, timed beside them, or, where none was, by `finalists` that are all off by one
    factor."""

    value: float
    told_by: Literal["reference", "finalists"]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def of(self, known: Measurement) -> Measurement:
        """A predicted latency or throughput at this pace; anything else, and what was measured, as it is."""
        if known.source != "predicted" or known.metric not in ("latency_ms", "throughput"):
            return known
        factor = self.value if known.metric == "latency_ms" else 1 / self.value
        ends = known.interval and (factor * known.interval[0], factor * known.interval[1])
        return replace(known, value=factor * known.value, interval=ends)


def common_pace(pairs: Sequence[tuple[Measurement, Measurement]]) -> Pace | None:
    """The one factor that all predictions are off by; None of a single pair, where they are off by several, or by so
    little that it may be their own error."""
    ratios = [measured.value / predicted.value for predicted, measured in pairs]
    if len(ratios) < 2:
        return None
    factor = statistics.median(ratios)
    is_one = all(abs(ratio / factor - 1) <= _ALIKE for ratio in ratios)
    return Pace(factor, "finalists") if is_one and abs(1 / factor - 1) > _FAR else None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted against measured latency of `n` models. Errors are shares of what was measured.

    `mape` is the mean of their sizes, `median` their median and `worst` the largest; `bias` is the mean error, positive
    where predictions are too high. `spearman` is the rank correlation, None for fewer than three models or where there
    is no order to compare. `outside_interval` counts the models measured outside of their predicted 95 % intervals.
    """

    n: int
    mape: float
    median: float
    bias: float
    worst: float
    spearman: float | None
    outside_interval: int

    @property
    def is_far(self) -> bool:
        """Whether enough models say that the profile does not describe the machine that was measured."""
        return self.n >= _TELLING and self.median > _FAR

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def compare(pairs: Sequence[tuple[Measurement, Measurement]]) -> Prediction | None:
    """Of pairs of a predicted and a measured value above 0; None of no pairs."""
    if not pairs:
        return None
    errors = [predicted.value / measured.value - 1 for predicted, measured in pairs]
    sizes = [abs(error) for error in errors]
    return Prediction(
        n=len(pairs),
        mape=statistics.fmean(sizes),
        median=statistics.median(sizes),
        bias=statistics.fmean(errors),
        worst=max(sizes),
        spearman=_spearman([one.value for one, _ in pairs], [one.value for _, one in pairs]),
        outside_interval=sum(_is_outside(*pair) for pair in pairs),
    )


def _is_outside(predicted: Measurement, measured: Measurement) -> bool:
    if predicted.interval is None:
        return False
    low, high = predicted.interval
    return not low <= measured.value <= high


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's correlation of ranks; equal values share the mean of theirs."""
    if len(a) < 3 or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return statistics.correlation(_ranks(a), _ranks(b))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
