"""The life of a finalist: trained from the teacher's answers, its weights handed on to be deployed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from autocompress import operators
from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.outcome import Evaluated, Record, values
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Phase
from autocompress.core.scores import above_chance
from autocompress.core.training_spec import EPOCH_ROWS, FinalistSpec
from autocompress.core.trust import Trust, trust
from autocompress.core.workload import Workload
from autocompress.distill import (
    AWARE,
    CHECKPOINT,
    Objective,
    Progress,
    Trained,
    keep_untrained,
    kept_scores,
    predict,
    train,
)
from autocompress.operators.distill import distilled, overridden
from autocompress.tasks import batches, judging

logger = logging.getLogger(__name__)

_BATCH: Final = 32

_LENGTH: Final = 128
"""Tokens at which the work of a student and of the whole model are compared."""

_AWARE_RATE: Final = 0.3
"""Of the learning rate: what is rounded from now on was trained already."""

_AWARE_RUN: Final = "aware"
"""The folder of quantization-aware training, inside of that of the training before."""

Endings = Mapping[str, Path | str]
"""Digest -> the checkpoint that holds a finalist's best weights, or the reason why there is none."""


def ranked(records: Iterable[Record], checkpoints: Mapping[str, Path]) -> Trust | None:
    """How the search ranked what was trained, not only rounded: its scores against those of the kept epochs, from
    checkpoint files by digest; None of fewer than two."""
    seen = {
        one.candidate.digest: one.outcome
        for one in records
        if isinstance(one.outcome, Evaluated) and not operators.only_rounded(one.candidate.policy)
    }
    return trust(
        [
            (values(seen[digest].measurements)["quality"], kept_scores(checkpoint).score)
            for digest, checkpoint in checkpoints.items()
            if digest in seen
        ]
    )


def trainable_student(setup: Setup, policy: CompressionPolicy, *, freeze_embeddings: bool = False) -> Anatomy:
    """The policy's student with tensors of its own, before any step of the precision phase. A table of words that has
    to be trained with its roundings is not frozen."""
    student = setup.origin(policy)
    operators.apply(policy, student, setup.importance, before=Phase.PRECISION)
    own = student.own_copy()
    own.model.requires_grad_(True)
    if freeze_embeddings and own.reads_words and not operators.in_few_bits(policy, "embeddings"):
        own.word_embeddings.requires_grad_(False)
    return own


def deployed_student(setup: Setup, policy: CompressionPolicy, weights: Mapping[str, torch.Tensor]) -> Anatomy:
    """The trained student, quantized as its policy says."""
    student = trainable_student(setup, policy)
    student.model.load_state_dict(dict(weights))
    student.model.eval()
    operators.apply(policy, student, setup.importance, since=Phase.PRECISION)
    return student


def is_small(policy: CompressionPolicy, whole: ModelParts, from_teacher: float) -> bool:
    """Whether what it leaves of a model is cut from the elastic one, where there is one."""
    _, kept = operators.effective(policy, whole)
    return work_of(kept, whole) < from_teacher


def work_of(shape: ModelParts, whole: ModelParts) -> float:
    """What one computes of what the other does, all positions of the last layer among it."""
    return _work(shape) / _work(whole)


def _work(shape: ModelParts) -> int:
    """Multiply-accumulates."""
    return macs(shape, passes(shape, Workload(length=_LENGTH), whole=True))


def _is_quantized(policy: CompressionPolicy) -> bool:
    return any(operators.OPERATORS[step.operator].phase == Phase.PRECISION for step in policy.steps)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Trains students from the teacher's answers."""

    setup: Setup
    lessons: Lessons
    spec: FinalistSpec
    seed: int

    def __call__(
        self,
        policy: CompressionPolicy,
        *,
        folder: Path,
        on_epoch: Callable[[int, float, float], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> Trained:
        """Distils into the policy's student, from the last checkpoint in `folder` on; the kept weights end up there.
        How, is what the policy's own `distill` steps say, and the study where they say nothing. A policy that takes
        nothing away keeps the teacher's weights as they are.

        `on_epoch(epoch, validation score, score of the epoch to keep)` is called once an epoch's checkpoint is on disk.
        `settings` are those of one try: they go before the policy's.
        """
        return self.reading(policy)._recovered(policy, folder, on_epoch, on_progress, settings or {})

    def reading(self, policy: CompressionPolicy) -> Recovery:
        """The same with rows read as the policy's student will read them once it is deployed."""
        vocabulary = self.setup.vocabulary(policy)
        if vocabulary is None:
            return self
        return replace(self, setup=self.setup.reading(policy), lessons=self.lessons.read_with(vocabulary))

    def _recovered(
        self,
        policy: CompressionPolicy,
        folder: Path,
        on_epoch: Callable[[int, float, float], None] | None,
        on_progress: Callable[[Progress], None] | None,
        settings: Mapping[str, float],
    ) -> Trained:
        student = trainable_student(self._origin(policy), policy, freeze_embeddings=self.spec.freeze_embeddings)
        spec = overridden(distilled(policy, self.spec), settings)
        few = operators.in_few_bits(policy)
        if few:  # rounded when all is learned, it would lose points, or all it knew
            operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        if operators.only_rounded(policy):
            trained = keep_untrained(student.model, self._score, checkpoint=folder, on_epoch=on_epoch)
        else:
            trained = self._train(
                student, self.lessons, spec, checkpoint=folder, on_epoch=on_epoch, progress=on_progress
            )
        if few or spec.quantization_aware == "never" or not _is_quantized(policy):
            return trained
        operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        deployed = self._score(student.model)
        if spec.quantization_aware == "lossy" and trained.score - deployed <= self._bearable(trained.score, spec):
            return trained
        aware = self._train_aware(student, spec, folder)
        logger.info("deployed %.4f, after quantization-aware training %.4f", deployed, aware.score)
        if aware.score < deployed:
            return trained
        (folder / _AWARE_RUN / CHECKPOINT).replace(folder / AWARE)
        if on_epoch:
            on_epoch(spec.training.epochs, aware.score, aware.score)
        return aware

    def _bearable(self, quality: float, spec: FinalistSpec) -> float:
        """How much of a trained student's quality its precision may take."""
        task = self.setup.task
        return spec.quantization_loss * above_chance(quality, task.chance(task.examples("validation")))

    def _origin(self, policy: CompressionPolicy) -> Setup:
        """What the policy's student is cut from: the teacher itself, where the student is large enough."""
        small = is_small(policy, self.setup.teacher().shape(), self.spec.from_teacher)
        return self.setup if small else replace(self.setup, elastic=None)

    def _train_aware(self, quantized: Anatomy, spec: FinalistSpec, folder: Path) -> Trained:
        """Goes on with a student that computes as it will be deployed, gradients passing through its roundings."""
        learning_rate = _AWARE_RATE * spec.training.learning_rate
        training = spec.training.going_on(epochs=spec.quantization_epochs, learning_rate=learning_rate)
        return self._train(quantized, self.lessons, replace(spec, training=training), checkpoint=folder / _AWARE_RUN)

    def shortly(self, policy: CompressionPolicy, *, steps: int) -> Anatomy:
        """The policy's student after a few steps only, as it would be deployed."""
        return self.reading(policy)._rehearsed(policy, steps)

    def _rehearsed(self, policy: CompressionPolicy, steps: int) -> Anatomy:
        spec = distilled(policy, self.spec)
        rows = np.random.default_rng(self.seed).permutation(len(self.lessons.examples))
        lessons = self.lessons.take(rows[: steps * spec.training.batch_size])
        student = trainable_student(self.setup, policy, freeze_embeddings=spec.freeze_embeddings)
        few = operators.in_few_bits(policy)
        if few:
            operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        if not operators.only_rounded(policy):
            self._train(student, lessons, replace(spec, training=replace(spec.training, epochs=1, steps=None)))
        if not few:
            operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        return student

    def _score(self, model: torch.nn.Module) -> float:
        """On validation data, or a part of them."""
        validation = judging(self.setup.task.examples("validation"), EPOCH_ROWS)
        outputs = predict(model, batches(validation, _BATCH), precision=self.setup.precision)
        return self.setup.task.score(outputs, validation).value

    def _train(self, student: Anatomy, lessons: Lessons, spec: FinalistSpec, **options: Any) -> Trained:
        objective = Objective.of(
            student,
            self.setup.teacher() if spec.distillation.looks_inside else None,
            torch.from_numpy(lessons.logits),
            spec.distillation,
            task=self.setup.task,
            label_smoothing=spec.training.label_smoothing,
        )
        return train(
            student.model,
            lessons.examples,
            objective,
            spec=spec.training,
            score=self._score,
            seed=self.seed,
            keep=spec.keep,
            **options,
        )


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that a worker needs to score candidates by a short recovery of `steps`."""

    recovery: Recovery
    steps: int


class RehearsalEvaluator(SliceEvaluator):
    """Rung 2: a candidate's quality after a short recovery, for what only training can show: how to distil, or how far
    a cut can be healed."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        super().__init__(rehearsal.recovery.setup)
        self._rehearsal = rehearsal

    def build(self, policy: CompressionPolicy) -> Anatomy:
        if policy.is_baseline:
            return super().build(policy)
        return self._rehearsal.recovery.shortly(policy, steps=self._rehearsal.steps)
