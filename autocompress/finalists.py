"""The life of a finalist: chosen from the front, trained from the teacher, its weights handed on to be deployed."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress import operators
from autocompress.anatomy import Anatomy
from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Evaluated, Record, values
from autocompress.core.pareto import front, oriented
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Phase
from autocompress.core.spec import FinalistSpec
from autocompress.distill import Progress, Trained, distillation_loss, joined, predict, train, transfer_texts
from autocompress.evaluate import Setup
from autocompress.tasks import Batch, Examples, batches

logger = logging.getLogger(__name__)

_BATCH = 32
_PAIRED = 1 / 3
"""All candidates are scored on the same texts, so a difference is known about three times better than either score."""

_TOLD_APART = 0.03
"""Predicted costs that differ by less are taken for equal: the predictor's own error is about that."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A candidate of the front: its quality, the least that the data cannot tell from it, and what it costs."""

    record: Record
    quality: float
    at_least: float
    costs: tuple[float, ...]


def choose(records: Sequence[Record], objectives: Mapping[str, Direction], count: int) -> list[Record]:
    """Members of the front, spread over what they cost.

    Quality before training says little about quality after it (a model without two of its layers scores 70 % and is
    trained back to 94 %), so finalists are spread evenly over what they cost, and quality only decides between
    neighbours: the range of the first cost is cut into `count` equal parts, and each gives its best. A member that the
    data cannot tell from a cheaper one stands back; places that stay free go to the best of those left.
    """
    everybody = _front(records, objectives)
    members = _told_apart(everybody)
    spread = _spread(members, count) if members and members[0].costs else []
    left = sorted((member for member in everybody if member not in spread), key=_quality, reverse=True)
    chosen = spread + left[: count - len(spread)]
    return [member.record for member in sorted(chosen, key=lambda m: m.costs)]


def _spread(members: Sequence[_Member], count: int) -> list[_Member]:
    """The best of each of `count` equal parts of the range of the first cost."""
    first = [member.costs[0] for member in members]
    low, width = min(first), (max(first) - min(first)) / count or 1.0
    parts: dict[int, list[_Member]] = {}
    for member in members:
        parts.setdefault(min(count - 1, int((member.costs[0] - low) / width)), []).append(member)
    return [max(part, key=_quality) for _, part in sorted(parts.items())]


def _front(records: Sequence[Record], objectives: Mapping[str, Direction]) -> list[_Member]:
    costs = [metric for metric, way in objectives.items() if way == "minimize"]
    members, points = [], []
    for record in records:
        if not isinstance(record.outcome, Evaluated) or record.candidate.policy.is_baseline:
            continue
        found = {measurement.metric: measurement for measurement in record.outcome.measurements}
        if not all(metric in found for metric in objectives):
            continue
        known = values(record.outcome.measurements)
        interval = found["quality"].interval if "quality" in found else None
        quality = known.get("quality", METRICS["quality"].worst)
        at_least = quality - _PAIRED * (quality - interval[0]) if interval else quality
        members.append(_Member(record, quality, at_least, tuple(known[metric] for metric in costs)))
        points.append(oriented(known, objectives))
    return [members[i] for i in front(points)]


def _told_apart(members: Sequence[_Member]) -> list[_Member]:
    """Without the members that the data cannot tell from one that costs no more in any way, as far as predicted costs
    can tell, and clearly less in one."""
    kept: list[_Member] = []
    for member in sorted(members, key=lambda m: math.prod(m.costs)):
        if not any(other.quality >= member.at_least and _cheaper(other.costs, member.costs) for other in kept):
            kept.append(member)
    return kept


def _cheaper(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x <= y * (1 + _TOLD_APART) for x, y in pairs) and any(x < y * (1 - _TOLD_APART) for x, y in pairs)


def _quality(member: _Member) -> float:
    return member.quality


def trainable_student(setup: Setup, policy: CompressionPolicy, *, freeze_embeddings: bool = False) -> Anatomy:
    """The policy's student with tensors of its own, before any step of the precision phase."""
    student = setup.teacher()
    operators.apply(policy, student, setup.importance, before=Phase.PRECISION)
    own = Anatomy(copy.deepcopy(student.model), {student.family.model_type: student.family})
    own.model.requires_grad_(True)
    if freeze_embeddings:
        own.word_embeddings.requires_grad_(False)
    return own


def deployed_student(setup: Setup, policy: CompressionPolicy, weights: Mapping[str, torch.Tensor]) -> Anatomy:
    """The trained student, quantized as its policy says."""
    student = trainable_student(setup, policy)
    student.model.load_state_dict(dict(weights))
    student.model.eval()
    operators.apply(policy, student, setup.importance, since=Phase.PRECISION)
    return student


@dataclass(frozen=True, slots=True)
class Recovery:
    """Trains students from the teacher's answers, `teacher_logits` [texts, classes], to the `examples`: the training
    split and the variations of it that the study asks for."""

    setup: Setup
    examples: Examples
    teacher_logits: NDArray[np.float32]
    spec: FinalistSpec
    seed: int

    @staticmethod
    def of(setup: Setup, spec: FinalistSpec, *, seed: int) -> Recovery:
        teacher, own = setup.teacher(), setup.task.examples("train")
        table = teacher.word_embeddings.weight.detach().numpy()
        held_out = [setup.task.examples(split) for split in ("validation", "test")]
        varied = transfer_texts(own, table, spec.transfer, held_out=held_out, seed=seed)
        everything = joined(own, varied)
        logits = predict(teacher.model, batches(everything, _BATCH), precision=setup.precision)
        labels = np.concatenate([own.labels, logits[len(own) :].argmax(axis=1)])  # the teacher's word for variations
        return Recovery(setup, replace(everything, labels=labels), logits, spec, seed)

    def __call__(
        self,
        policy: CompressionPolicy,
        *,
        folder: Path,
        on_epoch: Callable[[int, float], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Trained:
        """Distils into the policy's student, from the last checkpoint in `folder` on; the best weights end up there.

        `on_epoch(epoch, validation score)` is called after each epoch, once its checkpoint is on disk.
        """
        task, student = (
            self.setup.task,
            trainable_student(self.setup, policy, freeze_embeddings=self.spec.freeze_embeddings),
        )
        validation, teacher = task.examples("validation"), torch.from_numpy(self.teacher_logits)
        judged = batches(validation, _BATCH)

        def score(model: torch.nn.Module) -> float:
            logits = predict(model, judged, precision=self.setup.precision)
            return task.score(logits.argmax(axis=1), validation.labels).value

        def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
            return distillation_loss(logits, teacher[batch.rows], batch.labels, self.spec.distillation)

        return train(
            student.model,
            self.examples,
            loss,
            spec=self.spec.training,
            score=score,
            seed=self.seed,
            checkpoint=folder,
            on_epoch=on_epoch,
            progress=on_progress,
        )
