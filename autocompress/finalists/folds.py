"""A fold of a study's training rows left out: its teacher, the students of policies, and what both answer there."""

from __future__ import annotations

import functools
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress import operators
from autocompress.candidates.elastic import prepare_elastic
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.certainty import RowScores
from autocompress.core.policy import CompressionPolicy
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.distill import CHECKPOINT, Progress, kept_weights, predict
from autocompress.errors import CandidateError
from autocompress.finalists.recovery import Recovery, deployed_student, is_small
from autocompress.pricing import Pricing
from autocompress.tasks import Examples, Task, batches
from autocompress.tasks.folding import without_fold
from autocompress.teacher.importance import prepare_importance
from autocompress.teacher.teacher import Teacher, fold_teacher

logger = logging.getLogger(__name__)

_BATCH: Final = 32
_TELLING_SECONDS: Final = 5.0
"""So long a training is looked at before its pace says when it would end."""


class TimeUpError(Exception):
    """The time is up, or would be before a training ended."""


@dataclass(frozen=True, slots=True)
class Clock:
    """When the time is up, as `now` tells it; what trains tells how far it is, in words too."""

    ends: float
    tell: Callable[[float, str], None]
    now: Callable[[], float] = time.monotonic

    def check(self) -> None:
        """Raises TimeUpError."""
        if self.now() > self.ends:
            raise TimeUpError

    def training(self, what: str) -> Callable[[float], None]:
        """Hears the share that is done of a training. Raises TimeUpError as soon as its steps are too slow for the time
        that is left."""
        began = self.now()
        first: list[float] = []

        def hear(share: float) -> None:
            self.tell(share, what)
            now = self.now()
            first[:] = first or [share]  # what an earlier run did took no time of this one
            done = share - first[0]
            would_end = now + (1 - share) * (now - began) / done if done > 0 else now
            if now > self.ends or (now - began > _TELLING_SECONDS and would_end > self.ends):
                raise TimeUpError

        return hear


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a study's teacher and finalists came about, the seed apart: what a fold does again. `unlabelled` are the
    texts that finalists learn from too, `texts` the digest of their file; `elastic` says whether there was an elastic
    model."""

    spec: StudySpec
    model: Path
    teacher: Teacher
    space: SearchSpace
    pricing: Pricing
    unlabelled: Callable[[], Examples | None]
    texts: str
    elastic: bool
    workers: int


class Fold:
    """One fold, by its number from 1 and its rows' places. Its trainings have a seed of their own: how much two of them
    differ is part of what is asked. Nothing is trained before it is needed."""

    def __init__(self, recipe: Recipe, number: int, places: NDArray[np.int64], clock: Clock) -> None:
        self._recipe, self._clock, self.number = recipe, clock, number
        self._spec = replace(recipe.spec, seed=recipe.spec.seed + number)
        self._task = without_fold(recipe.teacher.task, places)

    @functools.cached_property
    def teacher(self) -> Teacher:
        """Raises SpecError when it cannot be trained, TimeUpError."""
        hear = self._clock.training(f"teacher of fold {self.number}")
        return fold_teacher(
            self._spec, self._recipe.model, self._recipe.teacher, self._task, self.number, on_progress=_share(hear)
        )

    def teachers_rows(self) -> RowScores | None:
        """What the teacher answers on the fold, row by row."""
        return self._scored(self.teacher.anatomy.model, self.teacher.task)

    def students_rows(self, policy: CompressionPolicy, folder: Path) -> RowScores | None:
        """The same of a policy's student, deployed. Its training leaves checkpoints in the `folder`, and goes on from
        them. Raises CandidateError when it cannot be trained, TimeUpError."""
        recovery = self._recovery(policy)
        hear = self._clock.training(f"{policy.digest[:8]} on fold {self.number}")
        recovery(policy, folder=folder, on_progress=_share(hear))
        weights, _ = kept_weights(folder / CHECKPOINT)
        setup = recovery.setup.reading(policy)
        found = self._scored(deployed_student(setup, policy, weights).model, setup.task)
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def _recovery(self, policy: CompressionPolicy) -> Recovery:
        spec = self._spec.finalists
        small = is_small(policy, self.teacher.anatomy.shape(), spec.from_teacher) and operators.elastic(policy.steps)
        setup = self._with_elastic if small and self._recipe.elastic else self._setup
        return Recovery(setup, self._lessons, spec, self._spec.seed)

    @functools.cached_property
    def _setup(self) -> Setup:
        importance = prepare_importance(self._spec, self.teacher, unlabelled=self._recipe.unlabelled)
        model, precision = self.teacher.anatomy.model, self._spec.teacher.precision
        return Setup.of(model, importance, self.teacher.task, precision=precision)

    @functools.cached_property
    def _lessons(self) -> Lessons:
        spec, unlabelled = self._spec.finalists.transfer, self._recipe.unlabelled()
        most = self._spec.most_lessons
        return Lessons.of(self._setup, spec, seed=self._spec.seed, unlabelled=unlabelled, most=most)

    @functools.cached_property
    def _with_elastic(self) -> Setup:
        """With an elastic model of the fold's teacher: that of the study has learned from the fold."""
        recipe, hear = self._recipe, self._clock.training(f"elastic model of fold {self.number}")
        try:
            weights = prepare_elastic(
                self._spec,
                self.teacher,
                self._setup,
                recipe.space,
                recipe.pricing,
                lambda: self._lessons,
                texts=recipe.texts,
                workers=recipe.workers,
                progress=lambda share, _: hear(share),
            )
        except CandidateError as error:
            logger.warning("fold %d does without an elastic model: %s", self.number, error)
            return self._setup
        return replace(self._setup, elastic=weights)

    def _scored(self, model: torch.nn.Module, task: Task) -> RowScores | None:
        """In full precision, as files compute."""
        rows = task.examples("test")
        return task.by_row(predict(model, batches(rows, _BATCH), precision="fp32"), rows)


def _share(hear: Callable[[float], None]) -> Callable[[Progress], None]:
    return lambda at: hear(at.done / at.total)
