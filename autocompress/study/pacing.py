"""A study kept within its minutes: planned before the first of them, and again when a stage begins with more or fewer
of them left than was thought."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from autocompress.core.ports import Observer
from autocompress.core.spec import StudySpec
from autocompress.errors import SpecError
from autocompress.finalists.promotion import places_taken
from autocompress.planning.stages import (
    CERTIFICATION,
    CERTIFY_MINUTES,
    ELASTIC,
    FINALIST_COUNT,
    FINALIST_STEPS,
    FINALISTS,
    PLAN_FACT,
    TEACHER,
    VERIFICATION,
    Measured,
    Plan,
    as_decided,
    decided_at,
    decisions_until,
    drawn_up,
    least_minutes,
    least_needs,
    made_at,
)
from autocompress.planning.words import Ahead, ends, in_a_line
from autocompress.store import Lease, Store

_TOLD: Final = 3.0
"""Seconds below which a stage is not worth a word."""

_FORESEEN: Final = "foreseen"
"""Of the plan's fact: the seconds of a training as they were planned when it began."""

_MOST_SLOWER: Final = 4.0
"""Times that a training which took longer than planned makes those after it longer: more was a pause of the machine."""


def ahead(spec: StudySpec, measured: Measured) -> Ahead:
    """The plan of a study with its minutes before it. Raises SpecError where they are too few, with what would do."""
    minutes = spec.budget.minutes
    assert minutes is not None, "it is asked of studies with a budget"
    plan = drawn_up(spec, measured, 60 * minutes)
    if plan.fits:
        return Ahead(spec, measured, plan)
    needs = [need for need in least_needs(spec, measured) if need.least_seconds >= _TOLD]
    parts = ", ".join(f"{need.stage} {need.least_seconds / 60:.1f}" for need in needs)
    raise SpecError(
        f"budget.minutes: {minutes:g} bounds the whole study, and the least that would do is "
        f"{least_minutes(spec, measured):g} ({parts}); what bounds the search alone is `search_minutes`"
    )


class Pacing:
    """Of one study, under a lease. What is decided is stored before it is acted on: a run that goes on decides nothing
    twice. A study whose minutes are not bounded is left as it is."""

    def __init__(
        self, asked: StudySpec, store: Store, lease: Lease, observer: Observer, timings: Mapping[str, float]
    ) -> None:
        """`timings` are the seconds of each stage so far, kept up to date by whoever runs them."""
        self._asked, self._store, self._lease, self._observer = asked, store, lease, observer
        self._timings = timings
        self._known: dict[str, Any] = dict(store.study(asked.name).facts.get(PLAN_FACT) or {})

    @property
    def is_bounded(self) -> bool:
        return self._asked.budget.minutes is not None

    def begin(self, measure: Callable[[], Measured]) -> None:
        """Plans, unless that was done, and tells. Raises SpecError where the minutes are too few."""
        if self._known:
            left = self._left() / 60
            self._observer.note(f"plan: {max(0.0, left):.1f} of {self._asked.budget.minutes:g} minutes are left")
            return
        measured = measure()
        found = ahead(self._asked, measured)
        self._remember(measured=measured.to_json(), planned=_seconds(found.plan), decided={})
        self._observer.note(f"plan of the study:\n{found.table()}")

    def at(self, stage: str, spec: StudySpec) -> StudySpec:
        """The study as it goes on from a stage that begins, with what is decided there."""
        if not self.is_bounded or (stage == CERTIFICATION and self._asked.finalists.certify is None):
            return spec
        if not made_at(stage) & self._known["decided"].keys():
            whole = stage == TEACHER  # as it was told; what reading and timing took is little
            plan = drawn_up(self._asked, self._measured, self._whole()) if whole else self._drawn_up(stage)
            if stage in (TEACHER, ELASTIC) and (part := plan.part(stage)) is not None:
                self._known[_FORESEEN] = {**self._known.get(_FORESEEN, {}), stage: round(part.seconds, 1)}
            found = decided_at(stage, plan, self._asked)
            self._decide(found)
            if found.get(CERTIFY_MINUTES) == 0:
                self._leaves_out(plan)
            elif stage not in (TEACHER, FINALISTS):  # told already, or told when these are known
                self._tell(plan)
        return self._so_far(stage, spec)

    def at_training(self, shares: Sequence[float], spec: StudySpec) -> StudySpec:
        """The same for the steps of finalists that were chosen and are to be trained, of so much work each."""
        if FINALIST_STEPS not in self._known["decided"] and shares:
            plan = drawn_up(
                self._asked, self._measured, self._left(), since=FINALISTS, finalists=len(shares), shares=shares
            )
            self._decide({FINALIST_STEPS: plan.cut(FINALISTS)})
            self._tell(plan)
        return self._so_far(VERIFICATION, spec)

    def _so_far(self, stage: str, spec: StudySpec) -> StudySpec:
        asked = replace(self._asked, workload=spec.workload)  # which knows by now how long the rows are
        return as_decided(asked, decisions_until(stage, self._known["decided"]))

    def over(self) -> None:
        """Tells how long it took."""
        if self.is_bounded:
            took = sum(self._timings.values()) / 60
            self._observer.note(f"plan: the study took {took:.1f} of its {self._asked.budget.minutes:g} minutes")

    def _drawn_up(self, stage: str) -> Plan:
        decided = self._known["decided"]
        steps = decided.get(FINALIST_STEPS)
        count = decided.get(FINALIST_COUNT) if stage == CERTIFICATION else None
        return drawn_up(
            self._asked,
            self._measured,
            self._left(),
            since=stage,
            finalists=None if count is None else int(count),
            steps=None if steps is None else int(steps),
            trained=0 if stage == CERTIFICATION else places_taken(self._asked, self._store),
        )

    @property
    def _measured(self) -> Measured:
        """As it was before the first minute, and slower by what the trainings since took beyond their plan: of a few
        steps on a machine that had nothing else to do, many are longer."""
        measured = Measured.from_json(self._known["measured"])
        return measured.slower(all_cores=self._slowness(TEACHER), one_core=self._slowness(ELASTIC))

    def _slowness(self, stage: str) -> float:
        """At least 1: a training that took less may have been answered by the cache."""
        foreseen = self._known.get(_FORESEEN, {}).get(stage)
        if not foreseen or foreseen < _TOLD:
            return 1.0
        return float(min(_MOST_SLOWER, max(1.0, self._timings.get(stage, 0.0) / foreseen)))

    def _whole(self) -> float:
        assert self._asked.budget.minutes is not None
        return 60 * self._asked.budget.minutes

    def _left(self) -> float:
        return self._whole() - sum(self._timings.values())

    def _decide(self, found: Mapping[str, float | None]) -> None:
        self._remember(decided={**self._known["decided"], **found})

    def _remember(self, **parts: Any) -> None:
        self._known |= parts
        self._store.set_fact(self._lease, PLAN_FACT, self._known)

    def _leaves_out(self, plan: Plan) -> None:
        minutes = self._asked.budget.minutes
        assert minutes is not None
        self._observer.note(
            f"plan: certification is left out: a fold takes about {plan.total / 60:.1f} minutes, and "
            f"{max(0.0, plan.seconds) / 60:.1f} of {minutes:g} are left; `budget.minutes` of "
            f"{math.ceil(minutes + (plan.total - plan.seconds) / 60)} or more would do"
        )

    def _tell(self, plan: Plan) -> None:
        """What the stages before took, and what is planned for the others."""
        first = self._known["planned"]
        took = [
            f"{stage} took {seconds / 60:.1f} ({first[stage] / 60:.1f} planned)"
            for stage, seconds in self._timings.items()
            if stage in first and max(seconds, first[stage]) >= _TOLD
        ]
        minutes = self._asked.budget.minutes
        left = f"{max(0.0, plan.seconds) / 60:.1f} of {minutes:g} minutes are left: {in_a_line(plan)}"
        end = ends(plan.total) if plan.fits else f"that is {(plan.total - plan.seconds) / 60:.1f} more than there are"
        self._observer.note("plan: " + "; ".join([*took, left, end]))


def _seconds(plan: Plan) -> dict[str, float]:
    return {part.need.stage: round(part.seconds, 1) for part in plan.parts}
