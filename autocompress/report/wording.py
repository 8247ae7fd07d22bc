"""How metrics and their values are written for people, the same in every table, plot and sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from autocompress.core.metrics import Direction
from autocompress.core.outcome import Measurement
from autocompress.core.scores import score_named

_LABELS: Final = {
    "quality": "quality",
    "test_quality": "test quality",
    "latency_ms": "latency",
    "latency_p90_ms": "latency p90",
    "latency_p99_ms": "latency p99",
    "latency_worst_ms": "latency at worst",
    "size_mb": "size",
    "parameters": "parameters",
    "macs": "MACs",
    "energy_mj": "energy",
    "throughput": "throughput",
    "peak_memory_mib": "peak memory",
    "parity": "parity",
}
_UNITS: Final = {"_ms": "ms", "_mb": "MB", "_mj": "mJ", "_mib": "MiB"}
_NO_NAMES: Final = {"", "share", "count"}
_MINUS: Final = "\N{MINUS SIGN}"


def label(metric: str, metrics: Mapping[str, Measurement]) -> str:
    """What a metric is called. A quality's unit names the task's metric: `accuracy` rather than `quality`."""
    known = metrics.get(metric)
    if metric in ("quality", "test_quality") and known is not None and known.unit not in _NO_NAMES:
        return f"test {known.unit}" if metric == "test_quality" else known.unit
    if metric.endswith("_drop"):
        known = metrics.get(metric)
        name = known.unit if known is not None and known.unit not in _NO_NAMES else "quality"
        return f"{next((word for word in ('test', 'expected') if metric.startswith(word)), '')} {name} drop".lstrip()
    return _LABELS.get(metric, metric)


def quality_unit(metrics: Mapping[str, Measurement]) -> str:
    """The unit of a measured quality, which names its metric."""
    return metrics["quality"].unit if "quality" in metrics else ""


def unit(metric: str, of: str = "") -> str:
    """`of` is the unit of a measured quality, which names the task's metric: only some are told in points."""
    if metric == "throughput":
        return "inputs/s"
    if metric.endswith("_drop"):
        return points_unit(of)
    return next((unit for ending, unit in _UNITS.items() if metric.endswith(ending)), "")


def points_unit(of: str) -> str:
    """`pt` where differences of a quality are told in hundredths: of shares, and not of correlations."""
    return "pt" if score_named(of).share else ""


def number(metric: str, value: float, of: str = "") -> str:
    """A value without its unit. Qualities are written as `--min-quality` takes them, to a tenth of a point."""
    if metric in ("quality", "test_quality"):
        return f"{value:.{score_named(of).digits}f}"
    if metric.endswith("_drop"):
        kind = score_named(of)
        return (f"{100 * value:.1f}" if kind.share else f"{value:.{kind.digits}f}").replace("-", _MINUS)
    if metric in ("parameters", "macs"):
        return _counted(value)
    if metric == "parity":
        return f"{value:.1e}"
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def with_unit(metric: str, value: float, of: str = "") -> str:
    return f"{number(metric, value, of)} {unit(metric, of)}".rstrip()


def word(metric: str, measurement: Measurement) -> str:
    """The word that a value must not go without: how an energy was come by, that a number is only predicted, and that
    a memory was counted, which a process exceeds."""
    is_less = metric == "peak_memory_mib" and measurement.source == "counted"
    return measurement.source if metric == "energy_mj" or is_less or is_estimated(measurement) else ""


def is_estimated(measurement: Measurement) -> bool:
    """Whether a number came from a model of the device. Such a value is written with `~` in front."""
    return measurement.source in ("predicted", "modelled")


def marked(metric: str, measurement: Measurement) -> str:
    """A value with its unit, with `~` in front of what was predicted or modelled rather than measured or counted."""
    return f"{'~' if is_estimated(measurement) else ''}{with_unit(metric, measurement.value, measurement.unit)}"


def told(metric: str, measurement: Measurement) -> str:
    """A value in a sentence: `2.31 ms`, `~12.3 ms (predicted, 10.1–14.5)`, `11.9 mJ (measured)`."""
    said = word(metric, measurement)
    if not said:
        return marked(metric, measurement)
    within = interval(metric, measurement) if is_estimated(measurement) else ""
    return f"{marked(metric, measurement)} ({', '.join(part for part in (said, within) if part)})"


def interval(metric: str, measurement: Measurement) -> str:
    """`0.942–0.975`, or nothing without a 95 % interval."""
    if measurement.interval is None:
        return ""
    low, high = (number(metric, end, measurement.unit) for end in measurement.interval)
    return f"{low} to {high}" if metric.endswith("_drop") or low.startswith("-") else f"{low}–{high}"


def drop(value: float | None, of: str = "") -> str:
    """A quality drop as the change in points (hundredths): a drop of 0.0123 is `−1.2`; in the metric's own unit where
    its quality `of` that name is no share."""
    if value is None:
        return ""
    kind = score_named(of)
    digits = 1 if kind.share else kind.digits
    change = -value * (100 if kind.share else 1)
    if abs(change) < 0.5 * 10**-digits:
        return f"±{0:.{digits}f}"
    return f"{'+' if change > 0 else _MINUS}{abs(change):.{digits}f}"


def drop_within(value: float | None, within: tuple[float, float] | None, of: str = "") -> str:
    """The same with its 95 % interval, where there is one: `−1.2 [−2.4 to +0.1]`."""
    if within is None:
        return drop(value, of)
    low, high = within
    return f"{drop(value, of)} [{drop(high, of)} to {drop(low, of)}]"


def change(ratio: float | None) -> str:
    """A ratio to the baseline as a change in percent: 0.13 is `−87 %`."""
    if ratio is None:
        return ""
    percent = round(100 * (ratio - 1))
    return f"{'+' if percent > 0 else _MINUS if percent < 0 else '±'}{abs(percent)} %"


def times(speedup: float | None) -> str:
    return "" if speedup is None else f"{speedup:.1f}×"


def split_sizes(sizes: Mapping[str, int]) -> str:
    """`4,305 for training, 538 for validation and 538 for test`."""
    names = {"train": "training"}
    return listed([f"{count:,} for {names.get(name, name)}" for name, count in sizes.items()])


def many(count: float) -> str:
    """`512`, `6,144`, `some 21 million`, `some 10^18`; `any number of` for what is infinite."""
    if math.isinf(count):
        return "any number of"
    if count < 1e6:
        return f"{count:,.0f}"
    if count < 1e9:
        return f"some {count / 1e6:.3g} million"
    return f"some 10^{math.floor(math.log10(count))}"


def listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _counted(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def title_of(metric: str, known: Mapping[str, Measurement], words: str = "", *, way: Direction) -> str:
    """Of an axis: its name, unit, the words that its values must not go without, and which way is better."""
    told = ", ".join(part for part in (label(metric, known), unit(metric), words) if part)
    return f"{told} ({'higher' if way == 'maximize' else 'lower'} is better)"
