"""What tasks have in common whose rows belong to one class each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autocompress.certainty import Doubts, RowScores, doubts_of, temperature_of
from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.core.task_kinds import form_of
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch, Rows
from autocompress.reading import ALL, ordered, read_labelled
from autocompress.reading import Rows as Labelled
from autocompress.tasks.audio_loading import loaded_recordings
from autocompress.tasks.image_loading import loaded_images
from autocompress.tasks.loading import loaded
from autocompress.tasks.metrics import Metric, of_classes
from autocompress.tasks.task import Outputs, Reduction, Score, Task


@dataclass(frozen=True, slots=True)
class OfClasses(Task):
    """Rows that belong to one class each; an output a class. The answer is the largest."""

    answer: ClassVar[str] = "share"

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
        config: Any = None,
    ) -> Self:
        data = read_labelled(spec.data, files, modality=form_of(cls.kind).modality)
        names = tuple(labels or data.classes)
        of_classes(spec.scored, names)
        known = set(names if labels else (data.parts.get("train") or data.parts[ALL]).labels)
        for part in data.parts.values():
            _check_labels(part, known, "the model" if labels else f"the training {part.noun}")
        places = {name: number for number, name in enumerate(names)}

        def numbers(given: Sequence[str]) -> NDArray[np.int64]:
            return np.array([places[label] for label in given], dtype=np.int64)

        if data.modality == "image":
            found = loaded_images(spec, data, tokenizer_folder, numbers, classes=names, config=config)
        elif data.modality == "audio":
            found = loaded_recordings(spec, data, tokenizer_folder, numbers, classes=names, config=config)
        else:
            found = loaded(spec, data, tokenizer_folder, numbers, classes=names, rows=rows, types=types)
        return cls(str(spec.scored), names, found.splits, found.reading, found.notes)

    @classmethod
    def classes(cls, spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        return tuple(read_labelled(spec.data, files, modality=form_of(cls.kind).modality).classes)

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """The cross-entropy of logits [texts, classes] and classes [texts]. `label_smoothing` spreads that share of a
        true label over all classes (Szegedy et al. 2016, section 7)."""
        return class_loss(outputs, targets, label_smoothing=label_smoothing, reduction=reduction)

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        return softened(outputs, teacher, temperature=temperature)

    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[np.int64]:
        found: NDArray[np.int64] = outputs.argmax(axis=1)
        return found

    def varied(self, examples: Rows, count: int) -> NDArray[np.int64]:
        """As many of each class as can be."""
        order = np.random.default_rng(0).permutation(len(examples))
        places = np.zeros(len(examples), dtype=np.int64)
        for label in np.unique(examples.labels):
            of_class = order[examples.labels[order] == label]
            places[of_class] = np.arange(len(of_class))  # the first of every class, then the second of every class
        return order[np.argsort(places[order], kind="stable")][:count]

    @property
    def scored(self) -> Metric:
        return of_classes(parsed_metric(self.metric), self.labels)

    def _predicted(self, outputs: Outputs) -> Any:
        return outputs if self.scored.from_shares else outputs.argmax(axis=1)

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        return self.scored.score(self._predicted(outputs), examples.labels)

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        return self.scored.drop(self._predicted(outputs), self._predicted(reference), examples.labels)

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores:
        return self.scored.by_row(self._predicted(outputs), examples.labels)

    def doubts(self, outputs: Mapping[str, Outputs]) -> Doubts:
        temperature = temperature_of(outputs["validation"], self.examples("validation").labels)
        return Doubts(
            temperature, {split: doubts_of(one, temperature).astype(np.float32) for split, one in outputs.items()}
        )

    def chance(self, examples: Rows) -> float:
        same = np.eye(len(self.labels), dtype=np.float32)
        answers = (np.repeat(row[None], len(examples), axis=0) for row in same)
        found = [self.scored.value(self._predicted(one), examples.labels) for one in answers]
        return max((value for value in found if math.isfinite(value)), default=0.0)

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        return float((outputs.argmax(axis=1) == others.argmax(axis=1)).mean())

    def told(self, outputs: Outputs) -> tuple[str, float]:
        logits = outputs.astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return self.labels[int(shares.argmax())], float(shares.max())


def class_loss(
    outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy in fp32."""
    return functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing, reduction=reduction)


def softened(outputs: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence of answers [rows, classes] from the teacher's at temperature T, times T^2, so
    that its gradients keep their size (Hinton et al. 2015, section 2)."""
    apart = functional.kl_div(
        functional.log_softmax(outputs.float() / temperature, dim=-1),
        functional.log_softmax(teacher.float() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * apart


def _check_labels(part: Labelled, known: set[str], whose: str) -> None:
    """Raises SpecError with the labels that are unknown, and their rows."""
    strange = {label: row for row, label in reversed(list(enumerate(part.labels))) if label not in known}
    if strange:
        raise SpecError(
            f"{part.where}: labels {sorted(strange)} are unknown to {whose}, which know {ordered(list(known))} "
            f"({part.told(sorted(strange.values()))})"
        )
