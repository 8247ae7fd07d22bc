"""What the stages of a study need on a machine that was measured, and what is decided for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import EPOCH_ROWS, TrainingSpec
from autocompress.planning.needs import Need, Part, divided, least_seconds, makespan

PLAN_FACT: Final = "plan"
"""The fact of a study that holds what was measured for its plan, and what was decided since."""

TEACHER: Final = "teacher"
IMPORTANCE: Final = "importance"
DEVICE: Final = "device"
ELASTIC: Final = "elastic model"
WORKERS: Final = "workers"
SEARCH: Final = "search"
FINALISTS: Final = "finalists"
VERIFICATION: Final = "verification"
CERTIFICATION: Final = "certification"
STAGES: Final = (
    *(TEACHER, IMPORTANCE, DEVICE, ELASTIC, WORKERS, SEARCH),
    *(FINALISTS, VERIFICATION, CERTIFICATION),
)

_WEIGHTS: Final = {TEACHER: 3.0, ELASTIC: 2.0, SEARCH: 2.0, FINALISTS: 5.0, CERTIFICATION: 3.0}
"""How the minutes of a study that gets less than it asks for are shared."""

_LEAST_STEPS: Final = 60
"""Steps below which no training is worth its minutes."""
_ENOUGH_STEPS: Final = 300
"""Steps that a finalist shall have before another one is trained."""
_ROUNDS: Final = 4
_LEAST_CANDIDATES: Final = 8
_IMPORTANCE_ROWS: Final = 1024

_START_SECONDS: Final = 8.0
"""Of Ray, and again of its workers, which load the model before they judge anything."""
_CANDIDATE_SECONDS: Final = 0.1
"""Of a candidate beside its answers: cutting it, handing it to a worker."""
_BASELINE_SECONDS: Final = 25.0
"""Of exporting and timing the uncompressed model."""
_FILE_SECONDS: Final = 15.0
"""The same of a finalist, whose graph is written and traced."""
_INSIDE: Final = 4 / 3
"""A step that looks inside of the teacher beside one that knows its answers: one more forward pass for three."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds on this machine: of `reading` model and data, of a teacher's `step` and of a row's `forward` pass on all
    cores, of the whole model's `lone_step` as a finalist trains it and a row's `lone_forward` on one core with the
    others at work, of measuring the `device`. `share` is the work of a model that the space may choose, of the whole
    model's, on average. Rows of the splits and `lessons` that students learn from; `trains` where there is a teacher to
    train."""

    reading: float
    step: float
    forward: float
    lone_step: float
    lone_forward: float
    device: float
    share: float
    train: int
    validation: int
    test: int
    lessons: int
    workers: int
    trains: bool

    @property
    def slots(self) -> int:
        """What is judged or trained at a time."""
        return max(1, self.workers)

    @property
    def of_an_epoch(self) -> int:
        """Validation rows that an epoch is judged on."""
        return min(self.validation, EPOCH_ROWS)

    def candidate(self, spec: StudySpec) -> float:
        """Seconds of one on its core."""
        rows, most = self.validation, spec.budget.search_rows
        judged = (rows if most is None else min(rows, most)) * self.lone_forward
        return _CANDIDATE_SECONDS + self.share * (judged + spec.budget.recovery_steps * self.lone_step)

    def slower(self, *, all_cores: float, one_core: float) -> Measured:
        """Where what runs on all cores, and on one beside others, takes so many times as long."""
        return replace(
            self,
            step=self.step * all_cores,
            forward=self.forward * all_cores,
            lone_step=self.lone_step * one_core,
            lone_forward=self.lone_forward * one_core,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Measured:
        return Measured(**stored)


@dataclass(frozen=True, slots=True)
class Plan:
    """So many seconds divided among the stages that are left, with the number of finalists."""

    seconds: float
    parts: tuple[Part, ...]
    finalists: int

    @property
    def total(self) -> float:
        """Seconds that the stages take."""
        return sum(part.seconds for part in self.parts)

    @property
    def spare(self) -> float:
        """Seconds that nothing asks for."""
        return max(0.0, self.seconds - self.total)

    @property
    def fits(self) -> bool:
        return self.total <= self.seconds * (1 + 1e-9)

    def part(self, stage: str) -> Part | None:
        return next((part for part in self.parts if part.need.stage == stage), None)

    def cut(self, stage: str) -> int | None:
        """Units of a stage that gets less than it asks for; None where it gets that."""
        part = self.part(stage)
        return part.units if part and part.is_cut else None


def drawn_up(
    spec: StudySpec,
    measured: Measured,
    seconds: float,
    *,
    since: str = TEACHER,
    finalists: int | None = None,
    shares: Sequence[float] | None = None,
    steps: int | None = None,
    trained: int = 0,
) -> Plan:
    """The plan of what is left `since` a stage. Fewer `finalists` are trained where each would have few steps, unless
    their number was decided; `shares` is the work of each once they are known. So many are `trained` already, and
    further ones get the same `steps` where these were decided."""
    asked = spec.finalists.count + spec.finalists.more
    counts = range(max(asked, trained), max(trained, 1) - 1, -1) if finalists is None else (finalists,)
    plan = None
    for count in counts:
        work = [measured.share] * (count - trained) if shares is None else shares
        plan = _plan(spec, measured, seconds, work, count, since=since, steps=steps)
        training = plan.part(FINALISTS)
        if plan.fits and (training is None or training.units >= min(training.need.asked, _ENOUGH_STEPS)):
            return plan
    assert plan is not None, "there is a count"
    return plan


def _plan(
    spec: StudySpec,
    measured: Measured,
    seconds: float,
    work: Sequence[float],
    count: int,
    *,
    since: str,
    steps: int | None,
) -> Plan:
    """For so many finalists. Fewer steps need fewer lessons, and so less of the teacher's answers, which leave more for
    steps: a few rounds find both."""

    def with_lessons(answered: int | None) -> Plan:
        needs = needs_of(spec, measured, work, steps=steps, answered=answered)
        left = [need for need in needs if STAGES.index(need.stage) >= STAGES.index(since)]
        return Plan(seconds, divided(left, seconds), count)

    plan = with_lessons(None)
    if not any(part.is_cut for part in plan.parts):
        return plan
    plan = with_lessons(_least_lessons(spec))
    for _ in range(_ROUNDS):
        found = with_lessons(_lessons_of(plan, spec))
        if not found.fits:
            break
        plan = found
    return plan


def _least_lessons(spec: StudySpec) -> int:
    return _LEAST_STEPS * max(spec.finalists.training.batch_size, spec.elastic.batch_size)


def _lessons_of(plan: Plan, spec: StudySpec) -> int | None:
    """Rows that a plan's students can look at; None where they are not bounded."""
    steps, elastic = plan.cut(FINALISTS), plan.part(ELASTIC)
    if steps is None:
        return spec.most_lessons
    others = elastic.units if elastic else spec.elastic.steps
    return max(steps * spec.finalists.training.batch_size, others * spec.elastic.batch_size)


def least_minutes(spec: StudySpec, measured: Measured) -> float:
    """What the study would do with, in tenths of a minute, rounded up."""
    return math.ceil(least_seconds(least_needs(spec, measured)) / 6) / 10


def least_needs(spec: StudySpec, measured: Measured) -> tuple[Need, ...]:
    """With one finalist and the fewest lessons."""
    return needs_of(spec, measured, [measured.share], answered=_least_lessons(spec))


def needs_of(
    spec: StudySpec,
    measured: Measured,
    work: Sequence[float],
    *,
    steps: int | None = None,
    answered: int | None = None,
) -> tuple[Need, ...]:
    """Of every stage, for finalists of so much `work` each, shares of the whole model's. `steps` of each, where they
    were decided; no more than so many lessons are `answered` by the teacher, or as many as the study asks for."""
    most = spec.most_lessons if answered is None else answered
    answers = measured.forward * (measured.lessons if most is None else min(most, measured.lessons))
    elastic, training = _elastic(spec, measured, answers), _finalists(spec, measured, work, steps)
    if elastic is None:
        training = replace(training, fixed=training.fixed + answers)
    teacher = _teacher(spec, measured)
    rows, uncut = measured.validation + measured.test, int(spec.finalists.uncut)
    runs = 1 + sum(work) + uncut
    judging = _BASELINE_SECONDS + (len(work) + uncut) * _FILE_SECONDS + rows * measured.lone_forward * runs
    found = [
        teacher,
        Need(IMPORTANCE, measured.step * min(_IMPORTANCE_ROWS, measured.train) / spec.teacher.batch_size),
        Need(DEVICE, measured.device),
        *([elastic] if elastic else []),
        Need(WORKERS, _START_SECONDS if measured.workers else 0.0),
        _search(spec, measured),
        training,
        Need(VERIFICATION, judging),
    ]
    certify = spec.finalists.certify
    if certify is not None:
        asked = math.ceil(60 * certify.minutes)
        one = teacher.least_seconds + training.least_seconds / max(1, len(work))
        least = min(asked, math.ceil(one + (elastic.least_seconds if elastic else 0.0)))
        found.append(Need(CERTIFICATION, 0.0, 1.0, asked, least, _WEIGHTS[CERTIFICATION]))
    return tuple(found)


def _teacher(spec: StudySpec, measured: Measured) -> Need:
    training = spec.teacher
    fixed = measured.reading + measured.validation * measured.forward
    if not measured.trains:
        return Need(TEACHER, fixed)
    steps = training.epochs * training.steps_an_epoch(measured.train)
    fixed += training.epochs * measured.of_an_epoch * measured.forward
    return Need(TEACHER, fixed, measured.step, steps, _least(steps, training), _WEIGHTS[TEACHER])


def _elastic(spec: StudySpec, measured: Measured, answers: float) -> Need | None:
    """None where there is none. The teacher's answers to the lessons count here: nobody needs them earlier."""
    wanted = spec.elastic
    if wanted.steps == 0:
        return None
    at_once = min(measured.slots, wanted.subnetworks)
    each = _of_batch(spec, measured, wanted.batch_size) * measured.share * math.ceil(wanted.subnetworks / at_once)
    steps = min(wanted.steps, max(1, math.ceil(60 * wanted.minutes / each))) if each else wanted.steps
    return Need(ELASTIC, answers, each, steps, min(steps, _LEAST_STEPS), _WEIGHTS[ELASTIC])


def _search(spec: StudySpec, measured: Measured) -> Need:
    one = measured.candidate(spec) / measured.slots
    minutes = spec.budget.search_minutes
    seconds = max(1, math.ceil(min(spec.budget.trials * one, math.inf if minutes is None else 60 * minutes)))
    least = min(seconds, math.ceil(_LEAST_CANDIDATES * one))
    return Need(SEARCH, _START_SECONDS if measured.workers else 0.0, 1.0, seconds, least, _WEIGHTS[SEARCH])


def _finalists(spec: StudySpec, measured: Measured, work: Sequence[float], steps: int | None) -> Need:
    """In steps of each."""
    last, training = spec.finalists, spec.finalists.training
    asked = training.epochs * training.steps_an_epoch(measured.lessons) if steps is None else steps
    spread = makespan(work, measured.slots)
    tries = 1 + (last.tuning.tries - 1) / 2 if measured.workers else 1.0  # half of the further ones are stopped early
    aware = 1.0 if last.quantization_aware == "never" else 1 + last.quantization_epochs / training.epochs
    factor = tries * aware * (_INSIDE if last.distillation.looks_inside else 1.0)
    each = spread * measured.lone_step * factor
    judged = spread * training.epochs * measured.of_an_epoch * measured.lone_forward * tries
    least = asked if steps is not None else _least(asked, training)
    return Need(FINALISTS, judged, each, asked, least, _WEIGHTS[FINALISTS])


def _least(steps: int, training: TrainingSpec) -> int:
    return min(steps, max(_LEAST_STEPS, training.epochs))


def _of_batch(spec: StudySpec, measured: Measured, size: int) -> float:
    return measured.lone_step * size / spec.finalists.training.batch_size


# Decisions

Decisions = Mapping[str, float | None]
"""What was decided, each before it was acted on, by the names below: None where all is done that the study asks for."""

TEACHER_STEPS: Final = "teacher.steps"
ELASTIC_STEPS: Final = "elastic.steps"
LESSON_STEPS: Final = "lessons.steps"
"""Steps of a finalist for which lessons are at hand; their own are decided later."""
SEARCH_MINUTES: Final = "search.minutes"
FINALIST_COUNT: Final = "finalists.count"
FINALIST_STEPS: Final = "finalists.steps"
CERTIFY_MINUTES: Final = "certify.minutes"
"""0 where it is left out."""


def decided_at(stage: str, plan: Plan, spec: StudySpec) -> dict[str, float | None]:
    """What a plan says of a stage that begins. A search that is not cut may take half of what nobody asks for too, as
    long as the study lets it. Certification is left out where not even one fold fits: half of one certifies nothing."""
    if stage == TEACHER:
        return {TEACHER_STEPS: plan.cut(TEACHER)}
    if stage == ELASTIC:
        return {ELASTIC_STEPS: plan.cut(ELASTIC), LESSON_STEPS: plan.cut(FINALISTS)}
    if stage == SEARCH:
        part = plan.part(SEARCH)
        assert part is not None, "every study searches"
        minutes = (part.seconds + (0.0 if part.is_cut else plan.spare / 2)) / 60
        asked = spec.budget.search_minutes
        return {SEARCH_MINUTES: round(minutes if asked is None else min(minutes, asked), 3)}
    if stage == FINALISTS:
        cut = plan.finalists < spec.finalists.count + spec.finalists.more
        return {FINALIST_COUNT: plan.finalists if cut else None}
    assert stage == CERTIFICATION, stage
    if not plan.fits:
        return {CERTIFY_MINUTES: 0.0}
    seconds = plan.cut(CERTIFICATION)
    return {CERTIFY_MINUTES: None if seconds is None else round(seconds / 60, 3)}


def as_decided(spec: StudySpec, decided: Decisions) -> StudySpec:
    """The study as it is run: what was decided stands in the place of what is asked for."""
    teacher, elastic, budget, last = spec.teacher, spec.elastic, spec.budget, spec.finalists
    if (steps := decided.get(TEACHER_STEPS)) is not None:
        teacher = replace(teacher, steps=int(steps))
    if (steps := decided.get(ELASTIC_STEPS)) is not None:
        elastic = replace(elastic, steps=int(steps))
    if (minutes := decided.get(SEARCH_MINUTES)) is not None:
        budget = replace(budget, search_minutes=minutes)
    if (count := decided.get(FINALIST_COUNT)) is not None:
        last = replace(last, count=min(int(count), last.count), more=max(0, int(count) - last.count))
    steps = decided.get(FINALIST_STEPS if FINALIST_STEPS in decided else LESSON_STEPS)
    if steps is not None:
        last = replace(last, training=replace(last.training, steps=int(steps)))
    minutes = decided.get(CERTIFY_MINUTES)
    if minutes is not None and last.certify is not None:
        last = replace(last, certify=replace(last.certify, minutes=minutes) if minutes else None)
    return replace(spec, teacher=teacher, elastic=elastic, budget=budget, finalists=last)


_MADE_AT: Final = {
    TEACHER_STEPS: TEACHER,
    ELASTIC_STEPS: ELASTIC,
    LESSON_STEPS: ELASTIC,
    SEARCH_MINUTES: SEARCH,
    FINALIST_COUNT: FINALISTS,
    FINALIST_STEPS: VERIFICATION,  # known once they were chosen: between the two
    CERTIFY_MINUTES: CERTIFICATION,
}


def made_at(stage: str) -> set[str]:
    """What is decided when a stage begins."""
    return {key for key, made in _MADE_AT.items() if made == stage}


def decisions_until(stage: str, decided: Decisions) -> dict[str, float | None]:
    """Those that were made when this stage began. Lessons are those of a run that knew no more."""
    last = STAGES.index(stage)
    return {key: value for key, value in decided.items() if STAGES.index(_MADE_AT[key]) <= last}


def as_planned(spec: StudySpec, facts: Mapping[str, Any]) -> StudySpec:
    """The same by the facts of a study."""
    return as_decided(spec, (facts.get(PLAN_FACT) or {}).get("decided", {}))


_AGAIN: Final = (SEARCH_MINUTES, FINALIST_COUNT, CERTIFY_MINUTES)


def reopened(plan: Mapping[str, Any], *, another: bool = False) -> dict[str, Any]:
    """A stored plan whose study was given more: what is trained stays as it was decided, the rest is decided again. Of
    `another` study of the same teacher the finalists are too."""
    again = {*_AGAIN, *((FINALIST_STEPS,) if another else ())}
    return {**plan, "decided": {key: value for key, value in plan["decided"].items() if key not in again}}
