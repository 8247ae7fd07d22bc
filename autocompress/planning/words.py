"""A plan as a table of 80 columns, in a line, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from autocompress.core.spec import StudySpec
from autocompress.planning.needs import Part
from autocompress.planning.stages import CERTIFICATION, ELASTIC, FINALISTS, SEARCH, TEACHER, Measured, Plan


@final
@dataclass(frozen=True, slots=True)
class Ahead:
    """A study with its minutes before it."""

    spec: StudySpec
    measured: Measured
    plan: Plan

    def table(self) -> str:
        """Stage by stage what it takes and what fits."""
        plan = self.plan
        lines = [f"{'stage':<14}{'minutes':>8}{'share':>6}  {'planned':<25} {'asked for'}"]
        for part, planned, asked in _rows(plan, self.spec, self.measured):
            share = part.seconds / plan.total if plan.total else 0.0
            told = asked if planned != asked else ""
            lines.append(f"{part.need.stage:<14}{part.seconds / 60:>8.1f}{share:>6.0%}  {planned:<25} {told}".rstrip())
        end = f"of {plan.seconds / 60:.4g} minutes; {ends(plan.total)}"
        return "\n".join([*lines, f"{'together':<14}{plan.total / 60:>8.1f}{'':<9}{end}"])

    def to_json(self) -> dict[str, Any]:
        """With what was measured."""
        plan, measured = self.plan, self.measured
        stages = [
            {
                "stage": part.need.stage,
                "minutes": round(part.seconds / 60, 2),
                "planned": planned,
                "asked": asked,
                "cut": part.is_cut,
            }
            for part, planned, asked in _rows(plan, self.spec, measured)
        ]
        total, most = round(plan.total / 60, 2), round(plan.seconds / 60, 2)
        return {"minutes": most, "planned_minutes": total, "stages": stages, "measured": measured.to_json()}


def ends(seconds: float) -> str:
    """The time of day in so many seconds."""
    return f"ends at about {time.strftime('%H:%M', time.localtime(time.time() + seconds))}"


def in_a_line(plan: Plan) -> str:
    """`search 3.9, finalists 6.1, verification 0.9`, in minutes."""
    return ", ".join(f"{part.need.stage} {part.seconds / 60:.1f}" for part in plan.parts if part.seconds >= 3)


def _rows(plan: Plan, spec: StudySpec, measured: Measured) -> Iterator[tuple[Part, str, str]]:
    """Each part, and in words what it gets and what it was asked for; nothing where there is no choice."""
    count = spec.finalists.count + spec.finalists.more
    for part in plan.parts:
        stage, asked = part.need.stage, part.need.asked
        if stage == FINALISTS:
            of_each, rows = spec.finalists.training.batch_size, measured.lessons
            yield part, _trained(plan.finalists, part.units, of_each, rows), _trained(count, asked, of_each, rows)
        else:
            planned, whole = (_amount(stage, units, spec, measured) for units in (part.units, asked))
            yield part, planned, whole


def _amount(stage: str, units: int, spec: StudySpec, measured: Measured) -> str:
    if stage == TEACHER:
        epochs = units * spec.teacher.batch_size / measured.train
        return f"{units:,} steps ({_epochs(epochs)})" if measured.trains else "trained already"
    if stage == ELASTIC:
        return f"{units:,} steps"
    if stage == SEARCH:
        found = min(spec.budget.trials, int(units * measured.slots / measured.candidate(spec)))
        return f"about {found:,} candidates"
    return f"{units / 60:.1f} minutes" if stage == CERTIFICATION else ""


def _trained(count: int, steps: int, size: int, rows: int) -> str:
    return f"{count} x {steps:,} ({_epochs(steps * size / rows)})"


def _epochs(epochs: float) -> str:
    return f"{epochs:.1f} epochs"
