"""What a study judges its candidates with, made ready: by its stages, and by whoever judges one of them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from autocompress import operators
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cores import usable_cores
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.ports import Evaluate, Observer
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import form_of
from autocompress.distill import Progress
from autocompress.errors import SpecError
from autocompress.finalists.recovery import Recovery, Rehearsal, RehearsalEvaluator
from autocompress.study.gathering import Inputs
from autocompress.tasks import Examples, task_named
from autocompress.teacher.teacher import Teacher, prepare_teacher


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch computes with so many inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def training_in_words(at: Progress, epochs: int) -> str:
    """`epoch 2 of 5, batch 40 of 135, best so far 0.9312`; no score is told before there is one."""
    each = max(1, at.total // epochs)
    best = f", best so far {at.best:.4f}" if at.epoch else ""
    return f"epoch {at.epoch + 1} of {epochs}, batch {at.done - at.epoch * each} of {each}{best}"


def ready_teacher(spec: StudySpec, inputs: Inputs, observer: Observer) -> Teacher:
    """From the cache, or trained. Raises as `prepare_teacher` does."""
    observer.progress(0, None, "reading the data, loading the model")
    epochs = spec.teacher.epochs

    def on_progress(at: Progress) -> None:
        observer.progress(at.done, at.total, training_in_words(at, epochs))

    return prepare_teacher(
        spec, inputs.model, inputs.data, on_progress=on_progress, on_note=observer.note, scoring=inputs.scoring
    )


def bound_space(spec: StudySpec, shape: ModelParts) -> SearchSpace:
    """The study's, over the parts of its model. Raises SpecError where it does not fit."""
    try:
        return operators.bound(spec.policies, shape)
    except ValueError as error:
        raise SpecError(f"space {spec.space.name!r} does not fit the model: {error}") from error


def unlabelled_examples(spec: StudySpec, inputs: Inputs, texts: Sequence[str] | None) -> Examples | None:
    """Unlabelled texts as the model reads them, where there are any."""
    return None if texts is None else task_named(spec.task.kind).unlabelled(spec.task, texts, inputs.model)


def ready_lessons(spec: StudySpec, setup: Setup, unlabelled: Examples | None, observer: Observer) -> Lessons:
    """What students learn from, with the teacher's answers."""
    own = len(setup.task.examples("train"))
    observer.progress(0, None, "asking the teacher for the answers that are learned from")
    most = spec.most_lessons
    with threads(usable_cores()):
        lessons = Lessons.of(setup, spec.finalists.transfer, seed=spec.seed, unlabelled=unlabelled, most=most)
    if spec.finalists.transfer.recombined and (form_of(spec.task.kind).targets != "class" or setup.task.pairs):
        observer.note(
            f"finalists.transfer.recombined adds nothing: {spec.task.kind} has no single texts with one class each"
        )
    if most is not None and len(lessons.examples) == most:
        observer.note(f"lessons: {most:,} random ones, no more than are looked at in so many steps")
    elif more := len(lessons.examples) - own:
        observer.note(f"lessons: {own} labelled texts, and {more} that the teacher labels")
    return lessons


def evaluation(
    spec: StudySpec, setup: Setup, lessons: Callable[[], Lessons]
) -> tuple[Callable[[Any], Evaluate], Setup | Rehearsal]:
    """What judges candidates, and what it is made of: as they are cut, or after a short recovery where the study asks
    for one."""
    steps = spec.budget.recovery_steps
    if not steps:
        return SliceEvaluator, setup
    return RehearsalEvaluator, Rehearsal(Recovery(setup, lessons(), spec.finalists, spec.seed), steps)


def judged_with(spec: StudySpec, teacher: Teacher, *, texts: str, elastic: str | None) -> dict[str, str | None]:
    """Digests of what a quality follows from: `model`, for any policy, and `elastic` for those that the elastic model
    is cut for; None where there is none. `texts` is the digest of unlabelled texts."""
    recovery = asdict(spec.finalists) if spec.budget.recovery_steps else None
    model = {
        "teacher": teacher.digest,
        "seed": spec.seed,
        "texts": texts,
        "precision": spec.teacher.precision,
        "rows": spec.budget.search_rows,
        "recovery": recovery and {**recovery, "steps": spec.budget.recovery_steps, "lessons": spec.most_lessons},
    }
    return {"model": content_digest(model), "elastic": elastic}
