"""Choosing one verified finalist by a rule, and saying why."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from autocompress.certainty import CONFIDENCE
from autocompress.core.pareto import front, knee
from autocompress.core.runtimes import named_runtime
from autocompress.core.scores import score_named
from autocompress.core.shares import amount
from autocompress.errors import IntegrityError, NotFoundError, SpecError, did_you_mean
from autocompress.report.expectation import Expectations
from autocompress.report.front import Baseline, FrontReport, Member, front_report, point
from autocompress.report.plain_text import one_line
from autocompress.report.promise import in_words, is_likely, less_sure, not_sure
from autocompress.report.ties import COMPARED, is_tied
from autocompress.report.wording import label, listed, quality_unit, told, unit, word
from autocompress.store import Store

SCHEMA: Final = "autocompress.pick/1"

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
    def drop(self) -> float | None:
        """The largest drop allowed, once it is a number."""
        return None if self.max_quality_drop is None else float(self.max_quality_drop)


@dataclass(frozen=True, slots=True)
class Picked:
    """One verified finalist, what it is compared with, and why it was chosen."""

    study: str
    member: Member
    baseline: Baseline
    why: str

    @property
    def digest(self) -> str:
        return self.member.digest

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            "number": self.member.number,
            "digest": self.member.digest,
            "summary": self.member.summary,
            "policy": self.member.policy.to_json(),
            "runtime": self.member.runtime,
            "verified": True,
            "metrics": self.member.to_json()["metrics"],
            "baseline": self.baseline.to_json(),
            "relative": self.member.relative.to_json(),
            "why": self.why,
        }


Trust = Literal["seen", "expected", "sure"]
"""When a drop is within its bound: as it was seen, as it is expected with 90 % confidence, by its own interval."""


@dataclass(frozen=True, slots=True)
class _Limit:
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

    def value(self, member: Member) -> float | None:
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

    def violation(self, member: Member) -> float:
        """How far the member lies outside, as a share of the bound; infinite when the metric is unknown."""
        value = self.value(member)
        if value is None:
            return math.inf
        outside = max(self.low - value, value - self.high)
        bound = self.low if math.isfinite(self.low) else self.high
        return 0.0 if outside <= _ROUNDING * max(1.0, abs(bound)) else outside / max(abs(bound), _ROUNDING)


@dataclass(frozen=True, slots=True)
class _Rule:
    """`best` chooses among members; `said` is the sentence about the one chosen of `n` members, `shown` its figure."""

    best: Callable[[Sequence[Member]], Member]
    said: Callable[[Member, str], str]
    shown: Callable[[Member], str]


def pick(
    store: Store,
    name: str,
    *,
    bounds: PickBounds | None = None,
    minimize: str | None = None,
    maximize: str | None = None,
    knee: bool = False,
    candidate: str | None = None,
    runtime: str | None = None,
) -> Picked:
    """The best verified finalist within the bounds, and in a runtime where one is named, by one rule; without any, the
    knee of the front.

    Raises SpecError for two rules, an unknown metric or an unknown runtime, NotFoundError when nothing is verified or
    nothing fits, naming the nearest member and what it breaks.
    """
    bounds = bounds or PickBounds()
    if sum([minimize is not None, maximize is not None, knee, candidate is not None]) > 1:
        raise SpecError("give one of --minimize, --maximize, --knee and --candidate: each is a rule to choose by")
    report = front_report(store, name)
    verified, baseline = report.verified, report.baseline
    if not verified or baseline is None:
        raise NotFoundError(_nothing_verified(report))
    offered = _comparable([_named(report, candidate)] if candidate is not None else verified, verified)
    if runtime is not None:
        offered = _in_runtime(report, offered, named_runtime(runtime))
    bounds = bounds.of(quality_unit(baseline.metrics))
    rule = _given() if candidate is not None else _rule(report, minimize, maximize)
    limits = _limits(bounds, baseline, report.expectations)
    _refuse_unknown(report, limits)
    fitting = [member for member in offered if not any(limit.violation(member) for limit in limits)]
    if not fitting:
        raise NotFoundError(_nothing_fits(report, offered, limits, bounds))
    chosen = rule.best(fitting)
    why = [_why(rule, chosen, fitting, len(verified), limits, runtime, report.facts)]
    why += in_words(chosen, bounds, report.expectations)
    if (minimize or maximize) and (other := _likely(rule, chosen, offered, limits, bounds)) is not None:
        why.append(less_sure(other, rule.shown(other), float(bounds.drop or 0.0)))
    if bounds.max_memory_mib is not None or minimize == "peak_memory_mib":
        why.append(_only_counted(chosen))
    return Picked(name, chosen, baseline, " ".join(sentence for sentence in why if sentence))


def _rule(report: FrontReport, minimize: str | None, maximize: str | None) -> _Rule:
    if minimize is None and maximize is None:
        return _knee(report)
    metric = minimize or maximize or ""
    known = {name for member in report.verified for name in member.metrics} - {"test_quality"}
    if metric not in known:
        option = "--maximize" if minimize is None else "--minimize"
        why = " (the test split is reported, never selected on)" if metric == "test_quality" else ""
        raise SpecError(f"{option}: no verified finalist has a metric {metric!r}{why}; {did_you_mean(metric, known)}")
    return _extreme(report, metric, lowest=minimize is not None)


def _extreme(report: FrontReport, metric: str, *, lowest: bool) -> _Rule:
    sign = 1 if lowest else -1

    def order(member: Member) -> tuple[float, ...]:
        # Equal values are decided by the study's objectives, then by age: the same question has the same answer.
        known = member.metrics.get(metric)
        own = sign * known.value if known else math.inf
        complete = report.objectives.keys() <= member.metrics.keys()
        return (own, *(point(member, report.objectives) if complete else ()), member.number)

    def shown(member: Member) -> str:
        known = member.metrics.get(metric)
        return told(metric, known) if known else "not measured"

    word = "lowest" if lowest else "highest"
    return _Rule(
        best=lambda members: min(members, key=order),
        said=lambda member, among: f"It has the {word} {label(metric, member.metrics)} of {among}: {shown(member)}.",
        shown=shown,
    )


def _knee(report: FrontReport) -> _Rule:
    objectives = report.objectives

    def best(members: Sequence[Member]) -> Member:
        complete = [member for member in members if objectives.keys() <= member.metrics.keys()]
        if not complete:
            return min(members, key=lambda member: member.number)
        points = [point(member, objectives) for member in complete]
        kept = front(points)
        return complete[kept[knee([points[i] for i in kept])]]

    def shown(member: Member) -> str:
        wanted = [metric for metric in objectives if metric in member.metrics]
        return listed([f"{label(m, member.metrics)} {told(m, member.metrics[m])}" for m in wanted])

    return _Rule(
        best=best,
        said=lambda member, among: (
            f"It is the knee of {among}, the nearest to the best of every objective at once: {shown(member)}."
        ),
        shown=shown,
    )


def _given() -> _Rule:
    return _Rule(
        best=lambda members: members[0],
        said=lambda _, among: f"You asked for it by its digest; it is one of {among}.",
        shown=lambda _: "",
    )


def _why(
    rule: _Rule,
    chosen: Member,
    fitting: Sequence[Member],
    verified: int,
    limits: Sequence[_Limit],
    runtime: str | None,
    facts: Mapping[str, Any],
) -> str:
    kept = listed([f"{limit.name} {limit.bound}" for limit in limits] + ([f"runtime {runtime}"] if runtime else []))
    members = f"{verified} verified finalist{'' if verified == 1 else 's'}"
    among = f"the {len(fitting)} of {members} with {kept}" if kept else f"the {members}"
    said = [rule.said(chosen, among)]
    if len(fitting) == 1 < verified and kept and (shown := rule.shown(chosen)):
        said = [f"It is the only one of {members} with {kept}: {shown}."]
    others = [member for member in fitting if member is not chosen]
    if others:
        second = rule.best(others)
        said.append(f"The runner-up is {second.digest[:8]} with {rule.shown(second)}.")
        tied = [metric for metric in COMPARED if is_tied(chosen, second, metric, facts)]
        if tied:
            names = listed([label(metric, chosen.metrics) for metric in tied])
            said.append(f"The two are tied in {names}: nothing measured tells them apart.")
    if not chosen.on_front:
        said.append("Another verified finalist is better in every objective.")
    return " ".join(said)


def _comparable(offered: Sequence[Member], verified: Sequence[Member]) -> list[Member]:
    """Where the peak memory of some was measured, what was counted of others is left out: it is less, and would win."""
    memory = "peak_memory_mib"
    if not any(memory in one.metrics and one.metrics[memory].source == "measured" for one in verified):
        return list(offered)
    return [
        replace(one, metrics={name: known for name, known in one.metrics.items() if name != memory})
        if memory in one.metrics and one.metrics[memory].source == "counted"
        else one
        for one in offered
    ]


def _only_counted(chosen: Member) -> str:
    """Whether a memory that decided was measured."""
    known = chosen.metrics.get("peak_memory_mib")
    if known is None or known.source != "counted":
        return ""
    return "Its peak memory was counted (weights and activations), not measured: a process takes more."


def _limits(bounds: PickBounds, baseline: Baseline, expected: Expectations) -> list[_Limit]:
    found = []
    for option, metric in _BOUNDED.items():
        value = getattr(bounds, option)
        if value is not None:
            least = option.startswith("min")
            ends = {"low": value} if least else {"high": value}
            shown = functools.partial(_exact, metric=metric)
            bound = f"{'>=' if least else '<='} {shown(value)}"
            found.append(_Limit(metric, label(metric, baseline.metrics), bound, shown, **ends))
    if bounds.drop is not None:
        found.append(_drop_limit(bounds.drop, baseline, _trust(bounds, expected)))
    return found


def _refuse_unknown(report: FrontReport, limits: Sequence[_Limit]) -> None:
    """A bound on what nobody looked at fits no member, and loosening it would not help."""
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


def _drop_limit(allowed: float, baseline: Baseline, trust: Trust) -> _Limit:
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
    return _Limit(
        "quality", name, f"<= {allowed:g}", lambda value: f"{top - value:.4g}", low=top - allowed, trust=trust
    )


def _exact(value: float, metric: str) -> str:
    return f"{value:.4g} {unit(metric)}".rstrip()


def _named(report: FrontReport, ref: str) -> Member:
    found = [member for member in report.members if member.digest.startswith(ref)] if ref else []
    verified = [member for member in found if member.verified]
    if len(verified) == 1:
        return verified[0]
    if len(verified) > 1:
        raise SpecError(f"--candidate {ref!r} fits {listed([m.digest for m in verified])}; write more of the digest")
    offered = ", ".join(member.digest for member in report.verified)
    if report.baseline is not None and ref and report.baseline.digest.startswith(ref):
        raise NotFoundError(
            f"candidate {report.baseline.digest} is the baseline, the uncompressed model; verified are: {offered}"
        )
    if found:
        state = f"is {found[0].state}" if found[0].state != "estimate" else "was never trained and exported"
        reason = f" ({one_line(found[0].reason, width=160)})" if found[0].reason else ""
        raise NotFoundError(f"candidate {found[0].digest} {state}{reason}; verified are: {offered}")
    raise NotFoundError(f"study {report.study!r} has no verified finalist {ref!r}; verified are: {offered}")


def _in_runtime(report: FrontReport, offered: Sequence[Member], runtime: str) -> list[Member]:
    """Raises NotFoundError when none of them is deployed in it."""
    found = [member for member in offered if member.runtime == runtime]
    if not found:
        known = listed(sorted({member.runtime for member in offered}))
        raise NotFoundError(
            f"--runtime: no verified finalist of study {report.study!r} that was asked for is deployed in {runtime!r} "
            f"(they are in {known}); a new study with `runtime: {runtime}` has them there"
        )
    return found


def _likely(
    rule: _Rule, chosen: Member, offered: Sequence[Member], limits: Sequence[_Limit], bounds: PickBounds
) -> Member | None:
    """A better one that is more likely than not to keep its bound on the drop, and all others in any case."""
    if bounds.drop is None or all(limit.trust != "expected" for limit in limits):
        return None
    others = [limit for limit in limits if limit.trust != "expected"]
    within = [
        one for one in offered if is_likely(one, bounds.drop) and not any(limit.violation(one) for limit in others)
    ]
    best = rule.best([chosen, *(one for one in within if one is not chosen)])
    return None if best is chosen else best


def _nothing_fits(report: FrontReport, offered: Sequence[Member], limits: Sequence[_Limit], bounds: PickBounds) -> str:
    others = [limit for limit in limits if limit.trust != "expected"]
    within = [member for member in offered if not any(limit.violation(member) for limit in others)]
    if within and len(others) < len(limits) and bounds.drop is not None:
        return not_sure(report, within, bounds.drop, of=len(offered))
    nearest = min(offered, key=lambda member: sum(limit.violation(member) for limit in limits))
    broken = [
        f"{limit.name} {_value(limit, nearest)} where {limit.bound} was asked"
        for limit in limits
        if limit.violation(nearest)
    ]
    one = len(offered) == 1
    none = "the one finalist asked for" if one else f"none of the {len(offered)} verified finalists"
    fits = "does not fit: it" if one else "fits; the nearest"
    return (
        f"{none} of study {report.study!r} {fits} is {nearest.digest} ({nearest.summary}), with {listed(broken)}. "
        f"Loosen the bound, or see them all with `autocompress pareto {report.study}`."
    )


def _value(limit: _Limit, member: Member) -> str:
    value, known = limit.value(member), member.metrics.get(limit.metric)
    return f"{limit.shown(value)} {word(limit.metric, known)}".rstrip() if known and value is not None else "not known"


def _nothing_verified(report: FrontReport) -> str:
    study, counts = report.study, report.counts
    judged = counts.evaluated + counts.infeasible + counts.failed
    if report.state != "complete":
        return (
            f"study {study!r} has no verified finalist yet: it is {report.state}, with {judged} candidates judged; "
            f"unless it is running elsewhere, go on with `autocompress resume {study}`"
        )
    reasons: Mapping[str, str] = {m.digest: m.reason for m in report.members if m.state == "rejected"}
    first = next((f"; {digest[:8]}: {one_line(why, width=200)}" for digest, why in reasons.items()), "")
    return (
        f"study {study!r} is complete, but none of its finalists was verified ({counts.rejected} rejected{first}); "
        f"see `autocompress pareto {study}`, and give a new study more candidates, or its finalists longer training"
    )


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
