"""What a task is: the socket that every other file of this room fits.

A task owns its examples and how they become a model's inputs; the losses that a teacher and a student are trained with;
the score of outputs, with its interval, and how far one model's lies below another's on the same rows; the head that
stands behind the encoder; and what an exported folder says of itself, so that it answers what a user puts in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autocompress.anatomy.heads import SEQUENCE
from autocompress.certainty import Doubts, RowScores
from autocompress.core.data_spec import TaskSpec
from autocompress.core.task_kinds import NOUNS, Modality, form_of
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch, Examples, Rows
from autocompress.inputs.row_files import RowFiles, row_files_of
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.inputs.vocabulary import Vocabulary
from autocompress.tasks.loading import unlabelled_texts

Outputs = NDArray[np.float32]
"""What a model puts out for some rows, one a row."""

Reduction = Literal["mean", "sum"]
Problem = Literal["classes", "regression", "multi_label_classification", "tags"]
"""What outputs of a head are: as a checkpoint's `problem_type` says it, where it says something."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its 95 % interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Task(ABC):
    """Rows in three splits that share none. `labels` are what the outputs mean, none where they are amounts.
    `reading` says how rows are read, in the study and in every exported folder; `notes` is what there is to say of the
    data."""

    metric: str
    labels: tuple[str, ...]
    splits: Mapping[str, Rows]
    reading: RowFiles
    notes: tuple[str, ...] = ()

    kind: ClassVar[str]
    """What a study calls it."""
    head: ClassVar[str] = SEQUENCE
    """What stands behind the encoder (`anatomy.heads`)."""
    problem: ClassVar[Problem] = "classes"
    texts_a_row: ClassVar[int] = 1
    """How many outputs one label belongs to; they stand one after another."""
    settles: ClassVar[bool] = False
    """Whether something is settled by a teacher's outputs for training rows (`settled`)."""
    answer: ClassVar[str]
    """What an exported folder makes of outputs (`deploy.answers`)."""

    @classmethod
    @abstractmethod
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
        """Reads and splits, tokenizes texts, resizes images and makes spectrograms. `labels` fixes the order of the
        outputs (that of a model already fine-tuned), `rows` are those of the model's embedding, `types` the kinds of
        token that it tells apart, `config` is the model's, where rows are no texts. In `tokenizer_folder` the
        checkpoint says how rows are read.

        Raises SpecError when the data do not fit the spec, the labels, or are too few to split, and when the tokenizer
        cannot be deployed, is not the model's, or knows next to nothing of the texts."""

    @staticmethod
    @abstractmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        """The labels in the data, in their order: what the outputs of a model must mean. None where outputs are
        amounts. Raises SpecError when the data do not fit the spec."""

    @staticmethod
    def unlabelled(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
        """Texts as the task's model reads them, without those that it reads nothing in. Their labels mean nothing."""
        return unlabelled_texts(spec, texts, tokenizer_folder)

    def examples(self, split: str) -> Any:
        """The rows of a split: `Rows`, and of texts `Examples`."""
        return self.splits[split]

    @property
    def modality(self) -> Modality:
        """What a row is."""
        return form_of(self.kind).modality

    @property
    def tokenizer(self) -> TokenizerFiles:
        """What turns texts into tokens. Raises SpecError where rows are none."""
        if not isinstance(self.reading, TokenizerFiles):
            raise SpecError(f"{self.kind} reads {NOUNS[self.modality]}, which have no tokens")
        return self.reading

    def read_with(self, vocabulary: Vocabulary, *, renumbered: bool = False) -> Self:
        """The same rows as they are read with fewer tokens, still in those of the whole tokenizer; `renumbered` they
        are read by the tokenizer that is deployed."""
        splits = {name: vocabulary.read(self.examples(name), renumbered=renumbered) for name in self.splits}
        return replace(self, splits=splits, reading=vocabulary.files if renumbered else self.reading)

    @property
    def outputs(self) -> int:
        """How many outputs the head has."""
        return len(self.labels)

    @property
    def pairs(self) -> bool:
        """Whether a row is two texts."""
        return any(isinstance(row, tuple) for part in self.splits.values() for row in part.given[:1])

    @property
    def types(self) -> bool:
        """Whether the model is told which of the two a token belongs to."""
        return any(getattr(part, "types", None) is not None for part in self.splits.values())

    def settled(self, outputs: Outputs, examples: Rows) -> Self:
        """With what follows from a teacher's outputs for some training rows."""
        return self

    # Training

    @abstractmethod
    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """Of outputs [rows, ...] beside what the data say: what a teacher is trained with, and a student by
        `hard_weight`."""

    @abstractmethod
    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Of a student's outputs beside its teacher's for the same rows, a scalar, 0 where they agree."""

    def importance_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """What importance takes gradients of: a sum over the rows of a batch."""
        return self.loss(outputs, batch.targets, reduction="sum")

    @abstractmethod
    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[Any]:
        """What the targets of rows are that nobody but the teacher labelled, by its outputs for these examples."""

    def varied(self, examples: Rows, count: int) -> NDArray[np.int64]:
        """So many rows that stand for all of them, the same every time: what calibration looks at."""
        return np.random.default_rng(0).permutation(len(examples))[:count]

    # Judging

    @abstractmethod
    def score(self, outputs: Outputs, examples: Rows) -> Score:
        """How good outputs are."""

    @abstractmethod
    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        """By how much a model scores below another one on the same rows. Pairing takes out what makes a row hard for
        both: the interval is narrower than the scores' own would have it."""

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores | None:
        """What each row adds to `score`, as a study keeps it of its finalists: from that follows how sure one can be of
        what they lose. None where the score is of another form; then drops are believed as they were seen."""
        return None

    def doubts(self, outputs: Mapping[str, Outputs]) -> Doubts | None:
        """How unsure a model is of each row, by its outputs for splits, validation among them; None where outputs are
        no shares of classes."""
        return None

    @abstractmethod
    def chance(self, examples: Rows) -> float:
        """What an answer that is the same for every row scores at best."""

    @abstractmethod
    def told(self, outputs: Outputs) -> tuple[str, float | None]:
        """A single row's outputs in words, and how sure the model is of them, 0 to 1, where it says so."""

    def told_beside(self, outputs: Outputs, others: Outputs) -> str:
        """What the outputs of two models for a row have in common, where their answers do not say it."""
        return ""

    @abstractmethod
    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        """The share of rows for which both give the same answer."""

    # Serving

    @classmethod
    def served(cls, about: Mapping[str, Any]) -> Self:
        """The task of an exported folder by its manifest, without any rows: it scores, and trains nothing."""
        return cls(str(about["metric"]), tuple(about["labels"]), {}, row_files_of(about))

    def about(self) -> dict[str, Any]:
        """What the manifest of an exported folder says of its task: all that its loader and its example need."""
        return {
            "kind": self.kind,
            "head": self.head,
            "answer": self.answer,
            "labels": list(self.labels),
            "metric": self.metric,
            **self.reading.about(),
            **({"pairs": True, "types": self.types} if self.pairs else {}),
        }
