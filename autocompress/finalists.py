"""The life of a finalist: chosen from the front, trained from the teacher, its weights handed on to be deployed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from autocompress import operators
from autocompress.anatomy import Anatomy
from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Evaluated, Record, values
from autocompress.core.pareto import costs, front, oriented
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Phase
from autocompress.core.shape import macs
from autocompress.core.training_spec import FinalistSpec
from autocompress.core.trust import Trust, trust
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
from autocompress.evaluate import Setup, SliceEvaluator
from autocompress.lessons import Lessons
from autocompress.operators.distill import distilled, overridden
from autocompress.tasks import batches

logger = logging.getLogger(__name__)

_BATCH = 32
_PAIRED = 1 / 3
"""All candidates are scored on the same texts, so a difference is known about three times better than either score."""

HEALED = 0.1
"""More than training adds to the quality of a slice of the elastic model: 1 to 6 points in most quickstarts (a report
says it of its own finalists), up to 11 of the very smallest. A slice of the teacher as it is may gain anything."""

_TOLD_APART = 0.03
"""Predicted costs that differ by less are taken for equal: the predictor's own error is about that."""

_FREE: Final = 1e-9
"""A cost of nothing has no logarithm."""

_BEYOND: Final = 3.0
"""How many times the first cost of the best a finalist may have. Some larger ones are trained though they score no
better: the best of hundreds of scores is partly luck, and training ends higher with more layers (on the quickstart at
0.944 with four and at 0.934 with three, whose best slices scored alike)."""

_ROOM: Final = 1.2
"""The reference of costs lies a fifth above the uncompressed model, as that of the hypervolume does."""

_LENGTH: Final = 128
"""Tokens at which the work of a student and of the whole model are compared."""

_AWARE_RATE: Final = 0.3
"""Of the learning rate: what is rounded from now on was trained already."""

_AWARE_RUN: Final = "aware"
"""The folder of quantization-aware training, inside of that of the training before."""

Endings = Mapping[str, Path | str]
"""Digest -> the checkpoint that holds a finalist's best weights, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A candidate: its quality, the least that the data cannot tell from it, what it costs; what it is `worth`
    among others of the same first cost, and the `volume` that it fills."""

    record: Record
    quality: float
    at_least: float
    costs: tuple[float, ...]
    worth: float = 0.0
    volume: float = 0.0


def choose(
    records: Sequence[Record],
    objectives: Mapping[str, Direction],
    count: int,
    *,
    healed: float = math.inf,
    already: Collection[int] = (),
) -> list[Record]:
    """Candidates that promise most, spread over what they cost.

    Before training quality hardly rises with cost any more from some size on, so that the front ends early. Finalists
    are therefore spread evenly over what judged candidates cost: the range of the first cost, up to three times that
    of the best of the front, is cut into `count` parts of equal ratio, and each gives its best, one of the front
    where there is one. The best of a part is the one that fills most of the hypervolume by its quality and its other
    costs: a tenth of a point more is not worth three times the size. Candidates further below the best than training
    can heal stand back, and so does a member of the front that the data cannot tell from a cheaper one; places that
    stay free go to the best of the front that are left. Nobody is chosen who costs more than a candidate that answers
    as the uncompressed model does.

    Candidates chosen `already`, by number, get parts beside the `count` and keep those that they lie in, so that the
    new ones come from where none of them is; of more such parts than `count`, the best give. Places that stay free then
    go to the front first, and after it to all that are near the best.
    """
    everybody = _judged(records, objectives, healed)
    taken = [member for member in everybody if member.record.candidate.number in already]
    on_front = _front(everybody, objectives)
    enough = max((member.quality for member in everybody), default=0.0) - healed
    near = [member for member in everybody if member.quality >= enough]
    apart = [member for member in _told_apart(on_front) if member.quality >= enough]
    spread = _spread(apart, near, count, taken) if apart and apart[0].costs else []
    front_first = sorted(near if taken else on_front, key=lambda m: (m in on_front, m.volume), reverse=True)
    left = [member for member in front_first if member not in (*taken, *spread)]
    chosen = spread + left[: count - len(spread)]
    return [member.record for member in sorted(chosen, key=lambda m: m.costs)]


def _spread(apart: Sequence[_Member], near: Sequence[_Member], count: int, taken: Sequence[_Member]) -> list[_Member]:
    """The best of each part of equal ratio of the first cost in which nobody is `taken`, at most `count`: of those
    `apart`, the front, else of all that are near it."""
    parts, low, high = count + len(taken), min(map(_log_cost, near)), max(map(_log_cost, near))
    best = max(apart, key=lambda member: member.quality)
    high = max(low, min(high, _log_cost(best) + math.log(_BEYOND)))
    width = (high - low) / parts or 1.0
    found: dict[int, _Member] = {}
    for member in (*taken, *_best_first(apart), *_best_first(near)):
        if member not in taken and _log_cost(member) > high + _FREE:
            continue
        part = int((_log_cost(member) - low) / width)
        found.setdefault(min(max(part, 0), parts - 1), member)
    return _best_first(member for member in found.values() if member not in taken)[:count]


def _log_cost(member: _Member) -> float:
    return math.log(max(member.costs[0], _FREE))


def _best_first(members: Iterable[_Member]) -> list[_Member]:
    return sorted(members, key=lambda member: member.worth, reverse=True)


def _judged(records: Sequence[Record], objectives: Mapping[str, Direction], healed: float) -> list[_Member]:
    """Every candidate that has a score and a chance, with what it is worth beside others of its first cost: its quality
    above what training can heal, times the logarithms of how many times each other cost fits into the uncompressed
    model's, or into the largest there is."""
    scored = _scored(records, objectives)
    whole = [member for member in scored if member.record.candidate.policy.is_baseline]
    members = [member for member in scored if member not in whole]
    if not members:
        return []
    most = [_ROOM * max(together) for together in zip(*(member.costs for member in scored), strict=True)]
    qualities = [member.quality for member in members]
    floor = max(qualities) - healed if math.isfinite(healed) else min(qualities)

    def weighed(member: _Member) -> _Member:
        above = member.quality - floor
        logs = [math.log(top / max(cost, _FREE)) if top else 1.0 for top, cost in zip(most, member.costs, strict=True)]
        return replace(member, worth=above * math.prod(logs[1:]), volume=above * math.prod(logs))

    return [weighed(member) for member in _unsurpassed(members, whole)]


def _unsurpassed(members: Sequence[_Member], whole: Sequence[_Member]) -> list[_Member]:
    """Without the members that cost more than one that answers as the uncompressed model does, as far as the data can
    tell: training has nothing to give them."""
    as_good = [member for member in members if any(member.quality >= model.at_least for model in whole)]
    return [member for member in members if not any(_cheaper(other.costs, member.costs) for other in as_good)]


def _scored(records: Sequence[Record], objectives: Mapping[str, Direction]) -> list[_Member]:
    members = []
    for record in records:
        if not isinstance(record.outcome, Evaluated):
            continue
        found = {measurement.metric: measurement for measurement in record.outcome.measurements}
        if not all(metric in found for metric in objectives):
            continue
        known = values(record.outcome.measurements)
        interval = found["quality"].interval if "quality" in found else None
        quality = known.get("quality", METRICS["quality"].worst)
        at_least = quality - _PAIRED * (quality - interval[0]) if interval else quality
        members.append(_Member(record, quality, at_least, tuple(known[metric] for metric in costs(objectives))))
    return members


def _front(members: Sequence[_Member], objectives: Mapping[str, Direction]) -> list[_Member]:
    outcomes = [member.record.outcome for member in members]
    points = [oriented(values(one.measurements), objectives) for one in outcomes if isinstance(one, Evaluated)]
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


def only_rounded(policy: CompressionPolicy) -> bool:
    """Whether a policy changes how the model is stored and run, and nothing that training could heal."""
    return all(operators.OPERATORS[step.operator].phase > Phase.RECOVERY for step in policy.steps)


def ranked(records: Iterable[Record], checkpoints: Mapping[str, Path]) -> Trust | None:
    """How the search ranked what was trained, not only rounded: its scores against those of the kept epochs, from
    checkpoint files by digest; None of fewer than two."""
    seen = {
        one.candidate.digest: one.outcome
        for one in records
        if isinstance(one.outcome, Evaluated) and not only_rounded(one.candidate.policy)
    }
    return trust(
        [
            (values(seen[digest].measurements)["quality"], kept_scores(checkpoint).score)
            for digest, checkpoint in checkpoints.items()
            if digest in seen
        ]
    )


def trainable_student(setup: Setup, policy: CompressionPolicy, *, freeze_embeddings: bool = False) -> Anatomy:
    """The policy's student with tensors of its own, before any step of the precision phase."""
    student = setup.origin(policy)
    operators.apply(policy, student, setup.importance, before=Phase.PRECISION)
    own = student.own_copy()
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
        student = trainable_student(self._origin(policy), policy, freeze_embeddings=self.spec.freeze_embeddings)
        spec = overridden(distilled(policy, self.spec), settings or {})
        if only_rounded(policy):
            trained = keep_untrained(student.model, self._score, checkpoint=folder, on_epoch=on_epoch)
        else:
            trained = self._train(
                student, self.lessons, spec, checkpoint=folder, on_epoch=on_epoch, progress=on_progress
            )
        if spec.quantization_aware == "never" or not _is_quantized(policy):
            return trained
        operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        deployed = self._score(student.model)
        if spec.quantization_aware == "lossy" and trained.score - deployed <= spec.quantization_loss:
            return trained
        aware = self._train_aware(student, spec, folder)
        logger.info("deployed %.4f, after quantization-aware training %.4f", deployed, aware.score)
        if aware.score < deployed:
            return trained
        (folder / _AWARE_RUN / CHECKPOINT).replace(folder / AWARE)
        if on_epoch:
            on_epoch(spec.training.epochs, aware.score, aware.score)
        return aware

    def _origin(self, policy: CompressionPolicy) -> Setup:
        """What the policy's student is cut from: the teacher itself, where the student is large enough."""
        whole = self.setup.teacher().shape()
        _, kept = operators.effective(policy, whole)
        share = macs(kept, batch=1, length=_LENGTH) / macs(whole, batch=1, length=_LENGTH)
        return replace(self.setup, elastic=None) if share >= self.spec.from_teacher else self.setup

    def _train_aware(self, quantized: Anatomy, spec: FinalistSpec, folder: Path) -> Trained:
        """Goes on with a student that computes as it will be deployed, gradients passing through its roundings."""
        learning_rate = _AWARE_RATE * spec.training.learning_rate
        training = replace(spec.training, epochs=spec.quantization_epochs, learning_rate=learning_rate)
        return self._train(quantized, self.lessons, replace(spec, training=training), checkpoint=folder / _AWARE_RUN)

    def shortly(self, policy: CompressionPolicy, *, steps: int) -> Anatomy:
        """The policy's student after a few steps only, as it would be deployed."""
        spec = distilled(policy, self.spec)
        rows = np.random.default_rng(self.seed).permutation(len(self.lessons.examples))
        lessons = self.lessons.take(rows[: steps * spec.training.batch_size])
        student = trainable_student(self.setup, policy, freeze_embeddings=spec.freeze_embeddings)
        self._train(student, lessons, replace(spec, training=replace(spec.training, epochs=1)))
        operators.apply(policy, student, self.setup.importance, since=Phase.PRECISION)
        return student

    def _score(self, model: torch.nn.Module) -> float:
        """On validation data."""
        validation = self.setup.task.examples("validation")
        logits = predict(model, batches(validation, _BATCH), precision=self.setup.precision)
        return self.setup.task.score(logits.argmax(axis=1), validation.labels).value

    def _train(self, student: Anatomy, lessons: Lessons, spec: FinalistSpec, **options: Any) -> Trained:
        objective = Objective.of(
            student,
            self.setup.teacher() if spec.distillation.looks_inside else None,
            torch.from_numpy(lessons.logits),
            spec.distillation,
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
