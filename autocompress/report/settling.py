"""One finalist for who asked for one command: what is sure to keep a bound on the drop, else what is expected to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from autocompress.certainty import CONFIDENCE
from autocompress.errors import NotFoundError
from autocompress.report.bounds import PickBounds, limits_of
from autocompress.report.front import FrontReport, Member, front_report
from autocompress.report.picking import SPEED, Picked, pick
from autocompress.report.promise import in_words, is_likely, percent
from autocompress.report.wording import label, quality_unit, told
from autocompress.store import Store


@dataclass(frozen=True, slots=True)
class Settled:
    """`sure` where the pick keeps its bounds as `pick` has it; else it is the fastest of those that are more likely
    than not to keep the one on the drop, and keep the others."""

    picked: Picked
    sure: bool

    def to_json(self) -> dict[str, Any]:
        return {**self.picked.to_json(), "sure": self.sure}


def settle(store: Store, name: str, bounds: PickBounds) -> Settled:
    """The fastest within `bounds`, of which one is on the drop.

    Raises NotFoundError where nothing is even expected to keep them, naming the nearest and the command that takes it.
    """
    try:
        return Settled(pick(store, name, bounds=bounds, minimize=SPEED), sure=True)
    except NotFoundError as error:
        report = front_report(store, name)
        found = _likely(report, bounds)
        if not found:
            raise NotFoundError(f"{error}{_all_the_same(report, bounds)}") from error
    chosen = min(found, key=_speed)
    others = replace(bounds, max_quality_drop=None)
    picked = pick(store, name, bounds=others, candidate=chosen.digest)
    return Settled(replace(picked, why=_why(report, chosen, found, bounds)), sure=False)


def _within(report: FrontReport, bounds: PickBounds) -> list[Member]:
    """Those that keep all bounds but the one on the drop."""
    if report.baseline is None:
        return []
    others = replace(bounds, max_quality_drop=None, sure=False)
    limits = limits_of(others.of(quality_unit(report.baseline.metrics)), report.baseline, report.expectations)
    return [one for one in report.verified if not any(limit.violation(one) for limit in limits)]


def _likely(report: FrontReport, bounds: PickBounds) -> list[Member]:
    """Those of them that probably keep the one on the drop."""
    if report.baseline is None or bounds.as_seen or bounds.sure:
        return []
    allowed = bounds.of(quality_unit(report.baseline.metrics)).drop
    return [one for one in _within(report, bounds) if allowed is not None and is_likely(one, allowed)]


def _all_the_same(report: FrontReport, bounds: PickBounds) -> str:
    """How the next best is taken, where there is anything to take."""
    if not report.verified:
        return ""
    known = [one for one in _within(report, bounds) if one.expected is not None]
    digest = min(known, key=lambda one: one.expected.at_most if one.expected else 0.0).digest if known else "DIGEST"
    return f" Take it all the same with `autocompress pick {report.study} --candidate {digest} --out FOLDER`."


def _speed(one: Member) -> tuple[float, int]:
    known = one.metrics.get(SPEED)
    return (known.value if known else float("inf"), one.number)


def _why(report: FrontReport, chosen: Member, likely: list[Member], bounds: PickBounds) -> str:
    assert report.baseline is not None, "what is likely was compared with it"
    exact = bounds.of(quality_unit(report.baseline.metrics))
    allowed = float(exact.drop or 0.0)
    quality = label("quality", report.baseline.metrics)
    count = len(report.verified)
    nobody = "The one verified finalist is not" if count == 1 else f"None of the {count} verified finalists is"
    said = [
        f"{nobody} sure ({percent(CONFIDENCE)}) to keep {quality} drop <= {allowed:g}"
        f"{' within the other bounds' if exact.max_latency_ms else ''}. This is the fastest that is expected to.",
        *in_words(chosen, exact, report.expectations),
    ]
    surest = max(likely, key=lambda one: one.expected.kept(allowed) if one.expected else 0.0)
    if surest is not chosen and surest.expected is not None:
        shown = told(SPEED, surest.metrics[SPEED]) if SPEED in surest.metrics else "not timed"
        said.append(
            f"The surest is {surest.digest[:8]}, {percent(surest.expected.kept(allowed))}, with {shown}: `autocompress "
            f"pick {report.study} --candidate {surest.digest[:8]} --out FOLDER` takes it."
        )
    return " ".join(said)
