"""Two verified finalists as one: what a study can offer, and the fastest that keeps given bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from autocompress.cascades import Answerer, Costs, Found, cascade_digest, found_cascades
from autocompress.certainty import Doubts, RowScores, losses_of
from autocompress.core.outcome import Measurement
from autocompress.core.runtimes import RUNTIMES, named_runtime
from autocompress.errors import IntegrityError
from autocompress.operators import kept_rows
from autocompress.report.bounds import Limit
from autocompress.report.expectation import Expected, row_doubts, row_scores
from autocompress.report.front import Baseline, FrontReport, Member, Metrics, Relative
from autocompress.report.wording import quality_unit
from autocompress.store import Finalist, Store

TASK: Final = "text-classification"
_FORMS: Final = ("quotient", "macro-f1", "mcc")
"""Of scores that answers alone decide. Amounts of two models do not lie on one scale."""
_QUALITIES: Final = {"quality": "validation", "test_quality": "test"}
_Z: Final = 1.959964
WORTH: Final = 0.9
"""A cascade that takes more of a single model's time is not worth two models."""
_TOLD: Final = 6


@dataclass(frozen=True, slots=True)
class Cascade:
    """`small` answers, and hands texts on to `large`. `metrics` are those of the two as one: latency is the mean over
    texts as they come. Their outputs are divided by `temperatures` before the softmax."""

    small: Member
    large: Member
    found: Found
    temperatures: tuple[float, float]
    rows: int
    metrics: Metrics
    relative: Relative
    expected: Expected

    @property
    def doubt(self) -> float:
        """Above this the small model hands a text on."""
        return self.found.threshold

    @property
    def digest(self) -> str:
        return cascade_digest(self.small.digest, self.large.digest, self.doubt, self.temperatures)

    @property
    def summary(self) -> str:
        """`da67702d hands 12 % of texts on to 033e1679`."""
        return f"{self.small.digest[:8]} hands {100 * self.found.share:.0f} % of texts on to {self.large.digest[:8]}"

    @property
    def in_full(self) -> Metrics:
        """With latencies that are no means."""
        price = self.found.price
        return {
            **self.metrics,
            "latency_p99_ms": Measurement("latency_p99_ms", price.p99_ms, "ms", "modelled"),
            "latency_worst_ms": Measurement("latency_worst_ms", price.worst_ms, "ms", "modelled"),
        }

    @property
    def at_worst(self) -> _AtWorst:
        """What bounds are held against: that of a latency holds for every single answer."""
        worst = replace(self.metrics["latency_ms"], value=self.found.price.worst_ms)
        return _AtWorst({**self.metrics, "latency_ms": worst}, self.relative, self.expected)

    def to_json(self) -> dict[str, Any]:
        price, found = self.found.price, self.found
        return {
            "digest": self.digest,
            "small": {"digest": self.small.digest, "policy": self.small.summary},
            "large": {"digest": self.large.digest, "policy": self.large.summary},
            "threshold": {"doubt": self.doubt, "confidence": 1 - self.doubt},
            "handed_on": {"share": found.share, "interval": list(found.share_interval), "rows": self.rows},
            "latency": {"mean_ms": price.mean_ms, "p99_ms": price.p99_ms, "worst_ms": price.worst_ms},
            "metrics": {name: known.to_json() for name, known in self.metrics.items()},
            "relative": self.relative.to_json(),
        }


@dataclass(frozen=True, slots=True)
class _AtWorst:
    metrics: Metrics
    relative: Relative
    expected: Expected | None


@dataclass(frozen=True, slots=True)
class Cascades:
    """The fastest first. Where there are none, `why` says what is missing."""

    found: tuple[Cascade, ...] = ()
    why: str = ""
    damaged: bool = False

    def within(self, limits: Sequence[Limit]) -> list[Cascade]:
        return [one for one in self.found if not any(limit.violation(one.at_worst) for limit in limits)]


@dataclass(frozen=True, slots=True)
class _Models:
    """What a study keeps of those that may stand in a cascade, by number, and of the uncompressed model."""

    teacher: Mapping[str, RowScores]
    rows: Mapping[int, Mapping[str, RowScores]]
    doubts: Mapping[int, Doubts]
    members: Mapping[int, Member] = field(default_factory=dict)


def cascades_of(store: Store, report: FrontReport, *, faster_than: float = float("inf")) -> Cascades:
    """All pairs and thresholds that a study can tell of, with a mean latency below so many milliseconds."""
    if why := _never(store, report):
        return Cascades(why=why)
    try:
        models = _models(store, report)
    except IntegrityError as error:
        return Cascades(why=str(error), damaged=True)
    if why := _too_few(report, models):
        return Cascades(why=why)
    alike: dict[int | None, list[Answerer]] = {}  # the two of a cascade read texts once, so with the same tokens
    for number, member in models.members.items():
        answerer = Answerer(number, models.rows[number], models.doubts[number].splits, _costs(member.metrics))
        alike.setdefault(kept_rows(member.policy), []).append(answerer)
    pairs = (one for some in alike.values() for one in found_cascades(models.teacher, some, faster_than=faster_than))
    found = sorted(pairs, key=lambda one: (one.price.mean_ms, one.expected))
    assert report.baseline is not None, "without one nothing is verified"
    told = _told(found, models, report.baseline)
    kept = [one for one in told if not _breaks(one, report.constraints)]
    if told and not kept:
        return Cascades(why=f"no pair of finalists keeps the constraints of study {report.study!r} at worst")
    return Cascades(tuple(kept))


def _breaks(one: Cascade, constraints: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether a bound of the study is broken: each model kept it alone, and the two as one need not."""
    metrics = one.at_worst.metrics
    return any(
        metric in metrics and not bound.get("min", -math.inf) <= metrics[metric].value <= bound.get("max", math.inf)
        for metric, bound in constraints.items()
    )


def _never(store: Store, report: FrontReport) -> str:
    """Why there are no cascades in such a study."""
    resolved = store.study(report.study).resolved
    kind = str((resolved.get("task") or {}).get("kind", TASK))
    if kind != TASK:
        return f"cascades are made for {TASK} so far, and study {report.study!r} is one of {kind}"
    batch = int((resolved.get("workload") or {}).get("batch", 1))
    if batch > 1:
        return f"a cascade answers texts one by one, and the workload of study {report.study!r} has batches of {batch}"
    if len(report.verified) < 2:
        return (
            f"a cascade needs two verified finalists, and study {report.study!r} has {len(report.verified)}; train "
            f"more with `autocompress resume {report.study} --finalists N`"
        )
    return ""


def _models(store: Store, report: FrontReport) -> _Models:
    """Raises IntegrityError where what was kept is not what it was."""
    by_number: dict[int, Finalist] = {one.candidate.number: one for one in store.finalists(report.study)}
    kept = {number: one for number, one in by_number.items() if one.row_scores is not None}
    rows = {number: row_scores(store, one) for number, one in kept.items()}
    doubts = {number: known for number, one in kept.items() if (known := row_doubts(store, one)) is not None}
    usable = {
        one.number: one
        for one in report.verified
        if one.number in doubts and "latency_ms" in one.metrics and _is_plain(one.runtime)
    }
    return _Models(rows.get(0, {}), rows, doubts, usable)


def _too_few(report: FrontReport, models: _Models) -> str:
    study = report.study
    if not models.teacher or len(models.doubts.keys() & {one.number for one in report.verified}) < 2:
        return (
            f"study {study!r} kept no doubts of single rows, by which texts are handed on: its finalists were verified "
            "before these were kept; a new study of the same file keeps them (`autocompress run FILE --name NEW`)"
        )
    forms = {one.form for one in models.teacher.values()}
    if not forms <= set(_FORMS):
        return f"study {study!r} is scored by amounts ({', '.join(sorted(forms))}), and those of two models do not mix"
    if len(models.members) < 2:
        return f"both models of a cascade run in ONNX Runtime, and study {study!r} has {len(models.members)} such"
    lengths = {tuple(len(one) for one in models.rows[number].values()) for number in (0, *models.members)}
    return "" if len(lengths) == 1 else f"the finalists of study {study!r} were not judged on the same rows"


def _is_plain(runtime: str) -> bool:
    return RUNTIMES[named_runtime(runtime)].library == "onnxruntime"


def _costs(metrics: Metrics) -> Costs:
    energy, memory = metrics.get("energy_mj"), metrics.get("peak_memory_mib")
    return Costs(
        metrics["latency_ms"].value,
        metrics["size_mb"].value,
        energy.value if energy else None,
        memory.value if memory else None,
    )


def _told(found: Sequence[Found], models: _Models, baseline: Baseline) -> list[Cascade]:
    """With scores, seen drops and their 95 % intervals, normal ones from the same covariances as what is expected."""
    unit = quality_unit(baseline.metrics)
    drops = {
        metric: losses_of(models.teacher[split], [one.rows[split] for one in found])
        for metric, split in _QUALITIES.items()
        if found and len(models.teacher.get(split, ()))
    }
    cascades = []
    for place, one in enumerate(found):
        small, large = models.members[one.small], models.members[one.large]
        scores = {
            metric: Measurement(metric, one.rows[_QUALITIES[metric]].score(), unit, "measured") for metric in drops
        }
        metrics = {**scores, **_priced(one)}
        below = {metric: float(losses.seen[place]) for metric, losses in drops.items()}
        within = {
            metric: (below[metric] - _Z * float(losses.errors[place]), below[metric] + _Z * float(losses.errors[place]))
            for metric, losses in drops.items()
        }
        rows = sum(map(len, one.rows.values()))
        expected = Expected(one.expected, one.uncertain, rows)
        beside = Relative(
            speedup=_ratio(baseline.metrics.get("latency_ms"), one.price.mean_ms),
            quality_drop=below.get("quality"),
            test_quality_drop=below.get("test_quality"),
            size_ratio=_inverse(_ratio(baseline.metrics.get("size_mb"), one.price.size_mb)),
            quality_drop_interval=within.get("quality"),
            test_quality_drop_interval=within.get("test_quality"),
            expected_drop=expected.value,
            expected_drop_interval=expected.interval,
        )
        heats = (models.doubts[one.small].temperature, models.doubts[one.large].temperature)
        cascades.append(Cascade(small, large, one, heats, rows, metrics, beside, expected))
    return cascades


def _priced(one: Found) -> dict[str, Measurement]:
    """A mean of two medians is modelled, whatever these are; `verify` measures it."""
    price = one.price
    known = {
        "latency_ms": (price.mean_ms, "ms"),
        "size_mb": (price.size_mb, "MB"),
        "energy_mj": (price.energy_mj, "mJ"),
        "peak_memory_mib": (price.peak_memory_mib, "MiB"),
        "throughput": (1000 / price.mean_ms if price.mean_ms > 0 else None, "1/s"),
    }
    return {
        metric: Measurement(metric, value, unit, "counted" if metric == "size_mb" else "modelled")
        for metric, (value, unit) in known.items()
        if value is not None
    }


def _ratio(known: Measurement | None, value: float) -> float | None:
    return known.value / value if known is not None and value > 0 else None


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def with_cascades(store: Store, report: FrontReport) -> FrontReport:
    """The same front with the best of its cascades: each sure to lose less than any faster one, and a tenth faster than
    every single model that is sure to lose as little. At most six, spread over their latencies."""
    if report.own:
        return report
    best: list[Cascade] = []
    for one in cascades_of(store, report).found:
        if best and one.expected.at_most >= best[-1].expected.at_most:
            continue
        if not any(_makes_needless(member, one) for member in report.verified):
            best.append(one)
    if len(best) > _TOLD:
        best = [best[round(place * (len(best) - 1) / (_TOLD - 1))] for place in range(_TOLD)]
    return replace(report, cascades=tuple(best))


def _makes_needless(member: Member, one: Cascade) -> bool:
    latency = member.metrics.get("latency_ms")
    if latency is None or member.expected is None:
        return False
    return WORTH * latency.value <= one.found.price.mean_ms and member.expected.at_most <= one.expected.at_most
