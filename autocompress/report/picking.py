"""Choosing one verified finalist by a rule, and saying why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from autocompress.core.pareto import front, knee
from autocompress.core.runtimes import DEFAULT_RUNTIME, named_runtime
from autocompress.errors import NotFoundError, SpecError, did_you_mean
from autocompress.report.bounds import Limit, PickBounds, limits_of, refuse_unknown
from autocompress.report.cascade_picking import faster_cascade, in_a_line
from autocompress.report.cascades import Cascade
from autocompress.report.front import Baseline, FrontReport, Member, front_report, point, refuse_own
from autocompress.report.plain_text import one_line
from autocompress.report.promise import in_words, is_likely, less_sure, not_sure
from autocompress.report.ties import COMPARED, is_tied
from autocompress.report.wording import label, listed, quality_unit, told, word
from autocompress.store import Store

SCHEMA: Final = "autocompress.pick/1"
SPEED: Final = "latency_ms"


@dataclass(frozen=True, slots=True)
class Picked:
    """One verified finalist, what it is compared with, and why it was chosen. `cascade` is a faster answer of two
    finalists under the same bounds, where there is one, and `beside` says so and how it is taken."""

    study: str
    member: Member
    baseline: Baseline
    why: str
    cascade: Cascade | None = None
    beside: str = ""

    @property
    def digest(self) -> str:
        return self.member.digest

    def _repr_html_(self) -> str:
        from autocompress.report.notebook import printed  # which prints it
        from autocompress.report.table import as_picked

        return printed(as_picked(self))

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
            **self.member.certified,
            "why": self.why,
            "cascade": {**self.cascade.to_json(), "why": self.beside} if self.cascade else None,
        }


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
    candidate: int | str | None = None,
    runtime: str | None = None,
) -> Picked:
    """The best verified finalist within the bounds, and in a runtime where one is named, by one rule; without any, the
    knee of the front. A `candidate` is named by its number, or by the beginning of its digest.

    Raises SpecError for two rules, an unknown metric or an unknown runtime, NotFoundError when nothing is verified or
    nothing fits, naming the nearest member and what it breaks.
    """
    bounds = bounds or PickBounds()
    if sum([minimize is not None, maximize is not None, knee, candidate is not None]) > 1:
        raise SpecError("give one of --minimize, --maximize, --knee and --candidate: each is a rule to choose by")
    report = front_report(store, name)
    refuse_own(report)
    verified, baseline = report.verified, report.baseline
    if not verified or baseline is None:
        raise NotFoundError(_nothing_verified(report))
    offered = _comparable([_named(report, candidate)] if candidate is not None else verified, verified)
    if runtime is not None:
        offered = _in_runtime(report, offered, named_runtime(runtime))
    bounds = bounds.of(quality_unit(baseline.metrics))
    rule = _given() if candidate is not None else _rule(report, minimize, maximize)
    limits = limits_of(bounds, baseline, report.expectations)
    refuse_unknown(report, limits)
    fitting = [member for member in offered if not any(limit.violation(member) for limit in limits)]
    asks_for_speed = minimize == SPEED and bounds.bounds_quality and runtime in (None, DEFAULT_RUNTIME)
    if not fitting:
        faster = faster_cascade(store, report, limits) if asks_for_speed else None
        told = f" {in_a_line(faster, name, bounds)}" if faster else ""
        raise NotFoundError(_nothing_fits(report, offered, limits, bounds) + told)
    chosen = rule.best(fitting)
    why = [_why(rule, chosen, fitting, len(verified), limits, runtime, report.facts)]
    why += in_words(chosen, bounds, report.expectations)
    if (minimize or maximize) and (other := _likely(rule, chosen, offered, limits, bounds)) is not None:
        why.append(less_sure(other, rule.shown(other), float(bounds.drop or 0.0)))
    if bounds.max_memory_mib is not None or minimize == "peak_memory_mib":
        why.append(_only_counted(chosen))
    than = chosen.metrics[SPEED].value if asks_for_speed and SPEED in chosen.metrics else 0.0
    faster = faster_cascade(store, report, limits, than=than) if than else None
    beside = in_a_line(faster, name, bounds) if faster else ""
    return Picked(name, chosen, baseline, " ".join(sentence for sentence in why if sentence), faster, beside)


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
        said=lambda _, among: f"You asked for it; it is one of {among}.",
        shown=lambda _: "",
    )


def _why(
    rule: _Rule,
    chosen: Member,
    fitting: Sequence[Member],
    verified: int,
    limits: Sequence[Limit],
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


def _named(report: FrontReport, ref: int | str) -> Member:
    def is_meant(number: int, digest: str) -> bool:
        return number == ref if isinstance(ref, int) else bool(ref) and digest.startswith(ref)

    found = [member for member in report.members if is_meant(member.number, member.digest)]
    verified = [member for member in found if member.verified]
    if len(verified) == 1:
        return verified[0]
    if len(verified) > 1:
        raise SpecError(f"--candidate {ref!r} fits {listed([m.digest for m in verified])}; write more of the digest")
    offered = ", ".join(member.digest for member in report.verified)
    if report.baseline is not None and is_meant(0, report.baseline.digest):
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
    rule: _Rule, chosen: Member, offered: Sequence[Member], limits: Sequence[Limit], bounds: PickBounds
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


def _nothing_fits(report: FrontReport, offered: Sequence[Member], limits: Sequence[Limit], bounds: PickBounds) -> str:
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


def _value(limit: Limit, member: Member) -> str:
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
