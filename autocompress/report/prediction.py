"""How the search's predictions compare with what was measured in the end."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.core.outcome import Measurement

_FAR: Final = 0.10
"""A profile whose predictions are off by more, in the median, is no longer that of the machine."""


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
        """Whether the profile no longer describes the machine that was measured."""
        return self.median > _FAR or self.outside_interval > self.n / 2

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
