"""Multi-label classification: yes or no to each of several classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autocompress.certainty import RowScores
from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.errors import SpecError, did_you_mean
from autocompress.inputs.examples import Batch, Rows
from autocompress.inputs.row_files import row_files_of
from autocompress.reading import ALL, read_labelled
from autocompress.tasks.loading import loaded
from autocompress.tasks.metrics import Metric, of_decisions
from autocompress.tasks.task import Outputs, Problem, Reduction, Score, Task

_THRESHOLDS = np.linspace(0.05, 0.95, 19)
"""Shares at which a label may begin to be given."""


@final
@dataclass(frozen=True, slots=True)
class MultiLabel(Task):
    """Rows with any number of labels, and an output for each; a label is given where the sigmoid of its output reaches
    the label's threshold, at 0.5 where nothing else is known."""

    kind: ClassVar[str] = "multi-label"
    answer: ClassVar[str] = "labels"
    problem: ClassVar[Problem] = "multi_label_classification"
    settles: ClassVar[bool] = True

    thresholds: tuple[float, ...] = ()

    @classmethod
    def load(
        cls,
        spec: TaskSpec,
        files: Mapping[str, Path],
        tokenizer_folder: Path,
        *,
        labels: Sequence[str] | None = None,
        rows: int | None = None,
        types: int = 1,
        config: Any = None,  # noqa: ARG003 - rows are texts
    ) -> Self:
        data = read_labelled(spec.data, files, "classes")
        names = tuple(labels or data.classes)
        learned = data.parts.get("train") or data.parts[ALL]
        known = set(names) if labels else {one for row in learned.labels for one in row}
        for part in data.parts.values():
            strange = [(row, one) for row, given in enumerate(part.labels) for one in given if one not in known]
            if strange:
                whose = "the model" if labels else "the training texts"
                raise SpecError(
                    f"{part.where}: label {strange[0][1]!r} is none of {whose} ({part.told([strange[0][0]])}); "
                    f"{did_you_mean(strange[0][1], known)}"
                )
        places = {name: number for number, name in enumerate(names)}

        def numbers(given: Sequence[Sequence[str]]) -> NDArray[np.float32]:
            found = np.zeros((len(given), len(names)), dtype=np.float32)
            for row, one in enumerate(given):
                found[row, [places[label] for label in one]] = 1
            return found

        found = loaded(spec, data, tokenizer_folder, numbers, rows=rows, types=types)
        return cls(str(spec.scored), names, found.splits, found.reading, found.notes)

    @staticmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        return tuple(read_labelled(spec.data, files, "classes").classes)

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """The binary cross-entropy of each output, summed over labels. `label_smoothing` moves a target that far
        towards a half."""
        smoothed = targets.float() * (1 - label_smoothing) + label_smoothing / 2
        found = functional.binary_cross_entropy_with_logits(outputs.float(), smoothed, reduction="none").sum(-1)
        return found.mean() if reduction == "mean" else found.sum()

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """The divergence of yes and no from the teacher's, softened as those of classes are (`tasks.classes`)."""
        ours, theirs = outputs.float() / temperature, teacher.float() / temperature
        entropy = functional.binary_cross_entropy_with_logits(theirs, torch.sigmoid(theirs), reduction="none")
        cross = functional.binary_cross_entropy_with_logits(ours, torch.sigmoid(theirs), reduction="none")
        return temperature**2 * (cross - entropy).sum(-1).mean()

    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[np.float32]:
        return self.decided(outputs).astype(np.float32)

    def decided(self, outputs: Outputs) -> NDArray[np.bool_]:
        """[rows, labels]: which labels are given."""
        limits = np.asarray(self.thresholds or [0.5] * len(self.labels))
        found: NDArray[np.bool_] = outputs.astype(np.float64) >= np.log(limits / (1 - limits))
        return found

    @property
    def scored(self) -> Metric:
        return of_decisions(parsed_metric(self.metric))

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        return self.scored.score(self.decided(outputs), examples.labels)

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        return self.scored.drop(self.decided(outputs), self.decided(reference), examples.labels)

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores:
        return self.scored.by_row(self.decided(outputs), examples.labels)

    def chance(self, examples: Rows) -> float:
        """The commonest labels given to every row, as many as score best."""
        order = np.argsort(-examples.labels.mean(axis=0), kind="stable")
        found = []
        for count in range(1, len(order) + 1):
            same = np.zeros_like(examples.labels, dtype=bool)
            same[:, order[:count]] = True
            found.append(self.scored.value(same, examples.labels))
        return max((value for value in found if math.isfinite(value)), default=0.0)

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        return float((self.decided(outputs) == self.decided(others)).all(axis=1).mean())

    def told(self, outputs: Outputs) -> tuple[str, float]:
        given = self.decided(outputs[None])[0]
        names = [name for name, is_given in zip(self.labels, given, strict=True) if is_given]
        return ", ".join(names) or "none", float(1 / (1 + math.exp(-float(np.abs(outputs).min()))))

    def settled(self, outputs: Outputs, examples: Rows) -> Self:
        """With the threshold of each label at which the teacher's answers to training rows have the best F1."""
        shares, found = 1 / (1 + np.exp(-outputs.astype(np.float64))), []
        for label in range(len(self.labels)):
            truth = examples.labels[:, label] > 0
            given = shares[:, label, None] >= _THRESHOLDS
            hits = (given & truth[:, None]).sum(axis=0)
            scores = 2 * hits / np.maximum(given.sum(axis=0) + truth.sum(), 1)
            best = np.flatnonzero(scores == scores.max())
            middle = best[len(best) // 2] if scores.max() > 0 else len(_THRESHOLDS) // 2
            found.append(round(float(_THRESHOLDS[middle]), 4))
        return replace(self, thresholds=tuple(found))

    @classmethod
    def served(cls, about: Mapping[str, Any]) -> Self:
        tokenizer = row_files_of(about)
        return cls(str(about["metric"]), tuple(about["labels"]), {}, tokenizer, thresholds=tuple(about["thresholds"]))

    def about(self) -> dict[str, Any]:
        return {**Task.about(self), "thresholds": list(self.thresholds or [0.5] * len(self.labels))}
