"""Choosing the fastest cascade that keeps bounds, and saying why."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.report.bounds import Limit, PickBounds, limits_of
from autocompress.report.cascades import WORTH, Cascade, cascades_of
from autocompress.report.front import Baseline, FrontReport, front_report, refuse_own
from autocompress.report.promise import in_words, loss_in_words
from autocompress.report.wording import listed, quality_unit, times, with_unit
from autocompress.store import Store

SCHEMA: Final = "autocompress.cascade/1"


@dataclass(frozen=True, slots=True)
class PickedCascade:
    """Two verified finalists as one, what they are compared with, and why they were chosen."""

    study: str
    cascade: Cascade
    baseline: Baseline
    why: str

    def _repr_html_(self) -> str:
        from autocompress.report.notebook import printed  # which prints it
        from autocompress.report.table import as_picked

        return printed(as_picked(self))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            **self.cascade.to_json(),
            "baseline": self.baseline.to_json(),
            "why": self.why,
        }


def pick_cascade(store: Store, name: str, *, bounds: PickBounds | None = None) -> PickedCascade:
    """The one of the lowest mean latency within the bounds, of which one holds its quality; a bound on latency holds
    for every single answer.

    Raises SpecError without such a bound, NotFoundError where the study can have none or none fits, naming the nearest
    and what it breaks, and IntegrityError where what it kept is not what it was.
    """
    bounds = bounds or PickBounds()
    if not bounds.bounds_quality:
        raise SpecError(
            "--cascade: the fastest one hands nothing on; say what it may lose, such as --max-quality-drop 1%, or what "
            "it must reach, with --min-quality"
        )
    report = front_report(store, name)
    refuse_own(report)
    if report.baseline is None or not report.verified:
        raise NotFoundError(
            f"--cascade: study {name!r} has no verified finalists yet; see `autocompress pareto {name}`"
        )
    bounds = bounds.of(quality_unit(report.baseline.metrics))
    known = cascades_of(store, report)
    if known.damaged:
        raise IntegrityError(known.why)
    if not known.found:
        raise NotFoundError(f"--cascade: {known.why or _never_unsure(report)}")
    limits = limits_of(bounds, report.baseline, report.expectations)
    fitting = known.within(limits)
    if not fitting:
        raise NotFoundError(_nothing_fits(report, known.found, limits))
    return PickedCascade(name, fitting[0], report.baseline, _why(report, fitting, limits, bounds))


def faster_cascade(
    store: Store, report: FrontReport, limits: Sequence[Limit], *, than: float = float("inf")
) -> Cascade | None:
    """The fastest within limits that takes a tenth less than so many milliseconds; None where there is none to tell
    of."""
    return next(iter(cascades_of(store, report, faster_than=WORTH * than).within(limits)), None)


def in_a_line(one: Cascade, study: str, bounds: PickBounds) -> str:
    """What a cascade offers, and the command that takes it."""
    price = one.found.price
    return (
        f"As a cascade: {with_unit('latency_ms', price.mean_ms)} on average, {times(one.relative.speedup)} "
        f"({with_unit('latency_ms', price.worst_ms)} at worst), expected to lose {loss_in_words(one)}: "
        f"{one.summary}. Take it with `{command(study, bounds)}`."
    )


def command(study: str, bounds: PickBounds) -> str:
    return f"autocompress pick {shlex.quote(study)} --cascade{_options(bounds)} --out FOLDER"


def _options(bounds: PickBounds) -> str:
    """As they are written on the command line."""
    said = []
    for one in fields(bounds):
        value, option = getattr(bounds, one.name), f" --{one.name.replace('_', '-')}"
        if value is True:
            said.append(option)
        elif value not in (None, False):
            said.append(f"{option} {value:g}" if isinstance(value, float) else f"{option} {value}")
    return "".join(said)


def _why(report: FrontReport, fitting: Sequence[Cascade], limits: Sequence[Limit], bounds: PickBounds) -> str:
    chosen = fitting[0]
    found, price = chosen.found, chosen.found.price
    low, high = (100 * end for end in found.share_interval)
    kept = listed([f"{limit.name} {limit.bound}" for limit in limits])
    many = "the only one" if len(fitting) == 1 else f"the fastest of {len(fitting)}"
    said = [
        f"It is {many} with {kept} among cascades of {len(report.verified)} verified finalists: "
        f"{with_unit('latency_ms', price.mean_ms)} on average, {with_unit('latency_ms', price.p99_ms)} in 99 of 100, "
        f"{with_unit('latency_ms', price.worst_ms)} at worst.",
        f"{chosen.small.digest[:8]} answers, and hands on to {chosen.large.digest[:8]} what it is less than "
        f"{100 * (1 - chosen.doubt):.0f} % sure of: {100 * found.share:.1f} % of texts ({low:.1f} to {high:.1f}).",
        *in_words(chosen, bounds, report.expectations),
        "Wrong labels and texts of another kind than the study's make cascades lose more, or hand more on: "
        "`autocompress verify FOLDER --data FILE` tells.",
    ]
    return " ".join(sentence for sentence in said if sentence)


def _never_unsure(report: FrontReport) -> str:
    return (
        f"no finalist of study {report.study!r} is unsure of a part of the texts for which a larger one would be worth "
        "asking; take a single model"
    )


def _nothing_fits(report: FrontReport, found: Sequence[Cascade], limits: Sequence[Limit]) -> str:
    nearest = min(found, key=lambda one: sum(limit.violation(one.at_worst) for limit in limits))
    broken = []
    for limit in limits:
        if limit.violation(nearest.at_worst):
            value = limit.value(nearest.at_worst)
            told = "not known" if value is None else limit.shown(value)
            of = " (at worst)" if limit.metric == "latency_ms" else ""
            broken.append(f"{limit.name}{of} {told} where {limit.bound} was asked")
    return (
        f"none of {len(found)} cascades of {len(report.verified)} verified finalists of study {report.study!r} fits; "
        f"the nearest is {nearest.small.digest[:8]} with {nearest.large.digest[:8]}, which hands on "
        f"{100 * nearest.found.share:.0f} % of texts, with {listed(broken)}. Loosen the bound, or train more finalists "
        f"(`autocompress resume {report.study} --finalists N`)."
    )
