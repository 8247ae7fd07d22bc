"""How far two candidates lie apart, metric by metric, and how sure that is.

Models that were judged on the same rows, or timed in the same rounds, share what makes a row hard and a round slow, so
an interval of their difference is narrower than their two intervals let it seem: it is paired. Where nothing pairs
them, the interval follows from their two (MOVER: Zou and Donner 2008; of ratios on the logarithms, Donner and Zou
2012), which takes them for independent, and so is too wide rather than too narrow where they are alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from autocompress.certainty import RowScores, losses_of
from autocompress.core.outcome import Measurement
from autocompress.report.front import Metrics, Relative
from autocompress.report.ties import PAIRS_FACT

How = Literal["paired", "two intervals", "none"]
Ends = tuple[float, float]

QUALITIES: Final[Mapping[str, str]] = {"quality": "validation", "test_quality": "test"}
"""Metrics that are scores of rows, each with its split."""
_Z: Final = 1.959964
_KNOWN: Final = ("measured", "counted")
_HELD_BACK: Final = ("parity",)
"""What says how well a file was exported, not how good its model is."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A metric of two candidates, a and b. `difference` is b - a in the metric's unit, and `ratio` is b / a of amounts
    above 0; None where either is not known. The 95 % `interval` is of the difference for scores of rows, and of the
    ratio for all else; `how` says where it comes from."""

    metric: str
    a: Measurement | None
    b: Measurement | None
    difference: float | None = None
    ratio: float | None = None
    interval: Ends | None = None
    how: How = "none"

    @property
    def known(self) -> dict[str, Measurement]:
        """What was measured of either, under its name: by which a metric is called."""
        found = self.a or self.b
        return {self.metric: found} if found else {}

    @property
    def is_score(self) -> bool:
        return self.metric in QUALITIES

    @property
    def told_apart(self) -> bool | None:
        """Whether the interval leaves out that the two are equal; None without one."""
        equal = 0.0 if self.is_score else 1.0
        return None if self.interval is None else not self.interval[0] <= equal <= self.interval[1]

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a.to_json() if self.a else None,
            "b": self.b.to_json() if self.b else None,
            "difference": self.difference,
            "ratio": self.ratio,
            "interval": list(self.interval) if self.interval else None,
            "interval_of": ("difference" if self.is_score else "ratio") if self.interval else None,
            "how": self.how,
            "told_apart": self.told_apart,
        }


@dataclass(frozen=True, slots=True)
class Rated:
    """What is known of one candidate: `rows` are the scores of held-out rows by split, `relative` is how it compares
    with the uncompressed model of its study, which it may be itself (`is_baseline`)."""

    number: int
    metrics: Metrics
    relative: Relative = Relative()
    rows: Mapping[str, RowScores] | None = None
    is_baseline: bool = False


def deltas(a: Rated, b: Rated, facts: Mapping[str, Any] | None = None) -> tuple[Delta, ...]:
    """Of every metric that either has. `facts` are those of the study, where both are of the same one."""
    names = dict.fromkeys((*QUALITIES, "latency_ms", "size_mb", *a.metrics, *b.metrics))
    return tuple(
        _delta(metric, a, b, facts)
        for metric in names
        if metric not in _HELD_BACK and (metric in a.metrics or metric in b.metrics)
    )


def _delta(metric: str, a: Rated, b: Rated, facts: Mapping[str, Any] | None) -> Delta:
    one, other = a.metrics.get(metric), b.metrics.get(metric)
    if one is None or other is None:
        return Delta(metric, one, other)
    difference = other.value - one.value
    ratio = other.value / one.value if one.value > 0 and other.value > 0 and metric not in QUALITIES else None
    paired = _paired(metric, a, b, facts)
    if paired is not None:
        return Delta(metric, one, other, difference, ratio, paired, "paired")
    apart = difference_interval(one, other) if metric in QUALITIES else _ratio_of(one, other) if ratio else None
    return Delta(metric, one, other, difference, ratio, apart, "two intervals" if apart else "none")


def _paired(metric: str, a: Rated, b: Rated, facts: Mapping[str, Any] | None) -> Ends | None:
    """By what the study kept of the pair, else by the answers to the same rows."""
    if facts is not None:
        if (kept := _kept(metric, a, b, facts)) is not None:
            return kept
        if metric in QUALITIES and (a.is_baseline or b.is_baseline):
            found = _beside_baseline(metric, a, b)
            if found is not None:
                return found
    split = QUALITIES.get(metric, "")
    if a.rows is None or b.rows is None or split not in a.rows or split not in b.rows:
        return None
    mine, its = a.rows[split], b.rows[split]
    if (mine.form, len(mine)) != (its.form, len(its)) or not len(mine):
        return None
    losses = losses_of(mine, [its])
    below, half = float(losses.seen[0]), _Z * float(losses.errors[0])
    return -below - half, -below + half


def _kept(metric: str, a: Rated, b: Rated, facts: Mapping[str, Any]) -> Ends | None:
    """What is kept is how far the first lies above the second: a difference of scores, a share of latencies."""
    known = (facts.get(PAIRS_FACT) or {}).get(metric, {})
    ahead, back = known.get(f"{b.number}-{a.number}"), known.get(f"{a.number}-{b.number}")
    if metric in QUALITIES:
        if ahead:
            return float(ahead[1]), float(ahead[2])
        return (-float(back[2]), -float(back[1])) if back else None
    if ahead:
        return 1 + float(ahead[1]), 1 + float(ahead[2])
    return (1 / (1 + float(back[2])), 1 / (1 + float(back[1]))) if back and back[1] > -1 else None


def _beside_baseline(metric: str, a: Rated, b: Rated) -> Ends | None:
    """From the paired drop below the baseline."""
    member = b if a.is_baseline else a
    compared = member.relative
    drop = compared.quality_drop_interval if metric == "quality" else compared.test_quality_drop_interval
    if drop is None:
        return None
    return (-drop[1], -drop[0]) if a.is_baseline else drop


def difference_interval(a: Measurement, b: Measurement) -> Ends | None:
    """Of b - a, from their own intervals; None where either has none."""
    if a.interval is None or b.interval is None:
        return None
    apart = b.value - a.value
    low = math.hypot(b.value - b.interval[0], a.interval[1] - a.value)
    high = math.hypot(b.interval[1] - b.value, a.value - a.interval[0])
    return apart - low, apart + high


def _ratio_of(a: Measurement, b: Measurement) -> Ends | None:
    """Only of what was measured: how far a model of a device is off is shared by all that it predicts."""
    if a.interval is None or b.interval is None or {a.source, b.source} - set(_KNOWN):
        return None
    if min(a.interval[0], b.interval[0]) <= 0:
        return None
    (la, ha), (lb, hb) = ([math.log(end) for end in one.interval or ()] for one in (a, b))
    va, vb = math.log(a.value), math.log(b.value)
    low, high = math.hypot(vb - lb, ha - va), math.hypot(hb - vb, va - la)
    return math.exp(vb - va - low), math.exp(vb - va + high)
