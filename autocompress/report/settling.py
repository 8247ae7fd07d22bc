"""One finalist for who asked for one command: one that is sure to keep a bound on the drop, else the next best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from autocompress.certainty import CONFIDENCE
from autocompress.errors import NotFoundError
from autocompress.report.bounds import PickBounds, limits_of
from autocompress.report.expectation import Expected
from autocompress.report.front import FrontReport, Member, front_report
from autocompress.report.picking import SPEED, Picked, pick
from autocompress.report.promise import in_words, is_likely, percent, what_would_help
from autocompress.report.wording import label, quality_unit, told
from autocompress.store import Store

Promise = Literal["sure", "likely", "unlikely"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was chosen, and whether it keeps the bound on the drop: it is `sure` to, as `pick` has it; more `likely`
    than not; or `unlikely` to, and the one that is expected to lose least."""

    picked: Picked
    promise: Promise

    def to_json(self) -> dict[str, Any]:
        return {**self.picked.to_json(), "promise": self.promise}


def settle(store: Store, name: str, bounds: PickBounds) -> Settled:
    """The fastest within `bounds`, of which one is on the drop: of those that are sure to keep it, else of those that
    probably do; where there is none of these either, the one that loses least. Other bounds are kept in any case.

    Raises NotFoundError where nothing keeps them, naming the nearest, or nothing is known of unseen rows.
    """
    try:
        return Settled(pick(store, name, bounds=bounds, minimize=SPEED), "sure")
    except NotFoundError:
        report = front_report(store, name)
        offered = _within(report, bounds)
        if not offered:
            raise
    allowed = float(bounds.of(_unit(report)).drop or 0.0)
    likely = [one for one in offered if is_likely(one, allowed)]
    chosen = min(likely, key=_speed) if likely else min(offered, key=lambda one: _expected(one).at_most)
    picked = pick(store, name, bounds=replace(bounds, max_quality_drop=None), candidate=chosen.digest)
    why = " ".join(_why(report, chosen, offered, bounds.of(_unit(report)), likely=bool(likely)))
    return Settled(replace(picked, why=why), "likely" if likely else "unlikely")


def _unit(report: FrontReport) -> str:
    assert report.baseline is not None, "what is verified was compared with it"
    return quality_unit(report.baseline.metrics)


def _within(report: FrontReport, bounds: PickBounds) -> list[Member]:
    """Those that keep all bounds but the one on the drop, of which it is known what they lose on unseen rows."""
    if report.baseline is None or not report.verified:
        return []
    others = replace(bounds, max_quality_drop=None, sure=False)
    limits = limits_of(others.of(_unit(report)), report.baseline, report.expectations)
    return [
        one for one in report.verified if one.expected is not None and not any(limit.violation(one) for limit in limits)
    ]


def _expected(one: Member) -> Expected:
    assert one.expected is not None, "only such are offered"
    return one.expected


def _speed(one: Member) -> tuple[float, int]:
    known = one.metrics.get(SPEED)
    return (known.value if known else float("inf"), one.number)


def _why(
    report: FrontReport, chosen: Member, offered: Sequence[Member], bounds: PickBounds, *, likely: bool
) -> list[str]:
    """Sentences. `bounds` are numbers already."""
    allowed, count = float(bounds.drop or 0.0), len(report.verified)
    nobody = "The one verified finalist is not" if count == 1 else f"None of the {count} verified finalists is"
    quality, others = label("quality", chosen.metrics), " within the other bounds" if bounds.max_latency_ms else ""
    taken = (
        "This is the fastest that is expected to" if likely else "None is expected to: this is the one to lose least"
    )
    said = [f"{nobody} sure ({percent(CONFIDENCE)}) to keep {quality} drop <= {allowed:g}{others}. {taken}."]
    said += in_words(chosen, bounds, report.expectations)
    helped = what_would_help(report, chosen, allowed)
    said.append(f"{helped[:1].upper()}{helped[1:]}.")
    surest = max(offered, key=lambda one: _expected(one).kept(allowed))
    if surest is not chosen:
        shown = told(SPEED, surest.metrics[SPEED]) if SPEED in surest.metrics else "not timed"
        said.append(
            f"The surest is {surest.digest[:8]}, {percent(_expected(surest).kept(allowed))}, with {shown}: "
            f"`autocompress pick {report.study} --candidate {surest.digest[:8]} --out FOLDER` takes it."
        )
    return said
