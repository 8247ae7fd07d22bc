"""What a pick must keep: bounds as a user gives them, and the limits they set to what is known of a finalist."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from autocompress.certainty import CONFIDENCE
from autocompress.core.scores import score_named
from autocompress.core.shares import amount
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.report.expectation import Expectations, Expected
from autocompress.report.front import Baseline, FrontReport, Metrics, Relative
from autocompress.report.wording import label, unit

# 0.95 - 0.94 is 0.010000000000000009, and a drop of one point must fit a bound of one point.
_ROUNDING: Final = 1e-9


_BOUNDED: Final = {
    "max_latency_ms": "latency_ms",
    "max_size_mb": "size_mb",
    "max_energy_mj": "energy_mj",
    "max_memory_mib": "peak_memory_mib",
    "min_quality": "quality",
    "min_throughput": "throughput",
}
"""Field of `PickBounds` -> the metric it bounds."""

_SHARES: Final = ("min_quality", "max_quality_drop")


@dataclass(frozen=True, slots=True)
class PickBounds:
    """What a finalist must keep. Qualities and their drops are shares, numbers below 1 or texts such as `1%` and `1pt`
    (see `core.shares`).

    A drop must be within its bound on rows that nobody has seen, with 90 % confidence, by all held-out rows (see
    `certainty.belief`). With `as_seen` it must be so on the validation split, as it was seen there, which is also what
    studies of before rows were kept are picked by; with `sure` it must lie within its bound at the upper end of its
    paired 95 % interval there. Raises SpecError for a number that is none, and for a bare 1 or 95 that may mean a share
    or a percentage.
    """

    max_latency_ms: float | None = None
    min_quality: float | str | None = None
    max_quality_drop: float | str | None = None
    max_size_mb: float | None = None
    max_energy_mj: float | None = None
    min_throughput: float | None = None
    max_memory_mib: float | None = None
    sure: bool = False
    as_seen: bool = False

    def __post_init__(self) -> None:
        if self.sure and self.as_seen:
            raise SpecError("give one of --sure and --as-seen: each says when a drop is within its bound")
        if self.sure and self.max_quality_drop is None:
            raise SpecError("--sure: of which drop? name it with --max-quality-drop")
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and name in _SHARES:
                _read(name, value, points=not _is_large(value))
            elif value is not None and not math.isfinite(value):
                raise SpecError(f"{_option(name)}: must be a finite number, got {value}")

    def of(self, unit: str) -> PickBounds:
        """With qualities and drops as numbers, by the unit of the study's, which names its metric. Raises SpecError."""
        points = score_named(unit).points
        given = {name: getattr(self, name) for name in _SHARES}
        found: dict[str, Any] = {
            name: _read(name, value, points=points) for name, value in given.items() if value is not None
        }
        return replace(self, **found) if found else self

    @property
    def bounds_quality(self) -> bool:
        return self.max_quality_drop is not None or self.min_quality is not None

    @property
    def drop(self) -> float | None:
        """The largest drop allowed, once it is a number."""
        return None if self.max_quality_drop is None else float(self.max_quality_drop)


class Bounded(Protocol):
    """What may keep a bound: a finalist, or two of them as one."""

    @property
    def metrics(self) -> Metrics: ...

    @property
    def relative(self) -> Relative: ...

    @property
    def expected(self) -> Expected | None: ...


Trust = Literal["seen", "expected", "sure"]
"""When a drop is within its bound: as it was seen, as it is expected with 90 % confidence, by its own interval."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound: `low` or `high` on a metric, or on the least that it can be by other `trust` than in what was seen. In
    words: its `name`, the `bound`, and a value `shown` beside it."""

    metric: str
    name: str
    bound: str
    shown: Callable[[float], str]
    low: float = -math.inf
    high: float = math.inf
    trust: Trust = "seen"

    @property
    def sure(self) -> bool:
        return self.trust == "sure"

    def value(self, member: Bounded) -> float | None:
        """What is held against the bound; None when it is unknown."""
        known, compared = member.metrics.get(self.metric), member.relative
        if known is None or self.trust == "seen":
            return known.value if known else None
        if self.trust == "expected":
            seen = compared.quality_drop
            return known.value + seen - member.expected.at_most if member.expected and seen is not None else None
        if compared.quality_drop is None or compared.quality_drop_interval is None:
            return None
        return known.value - (compared.quality_drop_interval[1] - compared.quality_drop)

    def violation(self, member: Bounded) -> float:
        """How far the member lies outside, as a share of the bound; infinite when the metric is unknown."""
        value = self.value(member)
        if value is None:
            return math.inf
        outside = max(self.low - value, value - self.high)
        bound = self.low if math.isfinite(self.low) else self.high
        return 0.0 if outside <= _ROUNDING * max(1.0, abs(bound)) else outside / max(abs(bound), _ROUNDING)


def limits_of(bounds: PickBounds, baseline: Baseline, expected: Expectations) -> list[Limit]:
    """Those of `bounds` whose drops and qualities are numbers already (`PickBounds.of`).

    Raises NotFoundError for a bound on the drop where the baseline is not measured yet, IntegrityError where the kept
    scores of rows are not what they were.
    """
    found = []
    for option, metric in _BOUNDED.items():
        value = getattr(bounds, option)
        if value is not None:
            least = option.startswith("min")
            ends = {"low": value} if least else {"high": value}
            shown = functools.partial(_exact, metric=metric)
            bound = f"{'>=' if least else '<='} {shown(value)}"
            found.append(Limit(metric, label(metric, baseline.metrics), bound, shown, **ends))
    if bounds.drop is not None:
        found.append(_drop_limit(bounds.drop, baseline, _trust(bounds, expected)))
    return found


def refuse_unknown(report: FrontReport, limits: Sequence[Limit]) -> None:
    """Raises NotFoundError for a bound on what nobody looked at: it fits no member, and loosening it would not help."""
    known = {metric for member in report.verified for metric in member.metrics}
    for option, metric in _BOUNDED.items():
        if metric not in known and any(limit.metric == metric for limit in limits):
            raise NotFoundError(
                f"{_option(option)}: {metric} is not known of any verified finalist of study {report.study!r}; name it "
                "in the objectives or constraints of a new study"
            )
    if any(limit.sure and all(limit.value(one) is None for one in report.verified) for limit in limits):
        raise NotFoundError(
            f"--sure: study {report.study!r} kept no paired intervals of its drops; only newer studies have them"
        )


def _trust(bounds: PickBounds, expected: Expectations) -> Trust:
    """Raises IntegrityError where rows were kept, and are not what they were."""
    if bounds.sure:
        return "sure"
    if bounds.as_seen:
        return "seen"
    if expected.damaged:
        raise IntegrityError(expected.why)
    return "expected" if expected.found else "seen"


def _drop_limit(allowed: float, baseline: Baseline, trust: Trust) -> Limit:
    """A bound on the drop is a floor under quality: a share of the drop itself would blow up near zero."""
    known = baseline.metrics.get("quality")
    if known is None or not baseline.measured:
        raise NotFoundError(
            "--max-quality-drop: the baseline of this study is not measured yet, so there is nothing to drop from; "
            "use --min-quality, or go on with `autocompress resume`"
        )
    top = known.value
    said = {"seen": "", "expected": f" ({CONFIDENCE:.0%} sure)".replace("%", " %"), "sure": " (95 % sure)"}[trust]
    name = f"{label('quality', baseline.metrics)} drop{said}"
    return Limit("quality", name, f"<= {allowed:g}", lambda value: f"{top - value:.4g}", low=top - allowed, trust=trust)


def _exact(value: float, metric: str) -> str:
    return f"{value:.4g} {unit(metric)}".rstrip()


def _is_large(given: float | str) -> bool:
    """Whether it may be an amount of something that has no hundredths; which, the study's metric says."""
    try:
        return 1 <= abs(float(given)) < math.inf
    except ValueError:
        return False


def _read(name: str, given: float | str, *, points: bool) -> float:
    try:
        return amount(given, points=points)
    except ValueError as error:
        raise SpecError(f"{_option(name)}: {error}") from error


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
