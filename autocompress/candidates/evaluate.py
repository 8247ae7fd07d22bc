"""The life of one candidate: a policy is applied to the teacher, and what comes of it is scored."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress import operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.calibration import Batches
from autocompress.anatomy.heads import config_of, empty_model
from autocompress.core.outcome import Evaluated, Failed, Measurement, Outcome, Stage
from autocompress.core.policy import CompressionPolicy
from autocompress.distill import predict
from autocompress.importance import Importance
from autocompress.inputs.vocabulary import Vocabulary
from autocompress.tasks import Batch, Outputs, Rows, Task, batches, judging

logger = logging.getLogger(__name__)

_BATCH = 32

_CALIBRATED = 128
"""Texts that calibration sees."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs, as plain values: the teacher's config and tensors, the data, the importance scores.

    Tensors are numpy arrays, so that an object store can hand them to every worker of a machine without a copy.
    `elastic` are those of the elastic model, when there is one. At most `most_rows` validation rows judge a candidate.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]
    importance: Importance
    task: Task
    precision: str
    elastic: Mapping[str, NDArray[Any]] | None = None
    most_rows: int | None = None

    @staticmethod
    def of(model: Any, importance: Importance, task: Task, *, precision: str, most_rows: int | None = None) -> Setup:
        tensors = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        return Setup(model.config.to_dict(), tensors, importance, task, precision, most_rows=most_rows)

    def teacher(self) -> Anatomy:
        """The teacher over the shared tensors; they must not be written to."""
        return self._model(self.tensors)

    def elastic_model(self) -> Anatomy:
        """What students are cut from: the elastic model, the teacher where there is none. Not to be written to."""
        return self._model(self.tensors if self.elastic is None else self.elastic)

    def origin(self, policy: CompressionPolicy) -> Anatomy:
        """The model that a policy starts from. One that cuts nothing off the teacher starts from the teacher itself."""
        return self.elastic_model() if operators.elastic(policy.steps) else self.teacher()

    def vocabulary(self, policy: CompressionPolicy) -> Vocabulary | None:
        """The tokens that a policy leaves; None where it leaves all."""
        rows = operators.kept_rows(policy)
        return None if rows is None else Vocabulary.of(self.task.tokenizer, self.importance.best_rows(rows))

    def reading(self, policy: CompressionPolicy) -> Setup:
        """The same with rows read as the policy's student will read them once it is deployed."""
        vocabulary = self.vocabulary(policy)
        return self if vocabulary is None else replace(self, task=self.task.read_with(vocabulary))

    def _model(self, arrays: Mapping[str, NDArray[Any]]) -> Anatomy:
        model = empty_model(config_of(self.config), self.task.head)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        model.load_state_dict(tensors, assign=True)
        return anatomy_of(model, texts=self.calibration_texts())

    def calibration_texts(self) -> Batches:
        """Training texts, as unlike one another as the task can tell, on which ranges of activations are found."""
        examples = self.task.examples("train")
        some = examples.take(self.task.varied(examples, _CALIBRATED))
        if self.task.labels and len(np.unique(some.labels)) == 1:
            logger.warning("calibration: all training texts are of one class; others may leave the ranges it finds")
        return tuple(batch.inputs for batch in batches(some, _BATCH)) if len(some) else ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A setup with its models, and with its validation rows as they are read."""

    task: Task
    teacher: Anatomy
    elastic: Anatomy
    judging: Rows
    batches: Sequence[Batch]

    @staticmethod
    def of(setup: Setup) -> _Opened:
        rows = judging(setup.task.examples("validation"), setup.most_rows)
        return _Opened(setup.task, setup.teacher(), setup.elastic_model(), rows, batches(rows, _BATCH))


class SliceEvaluator:
    """Rung 1: the candidate's quality with the weights it inherits, on validation data or a part of it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._opened: dict[int | None, _Opened] = {None: _Opened.of(setup)}

    def _as_read(self, policy: CompressionPolicy) -> _Opened:
        """Rows are read once for each vocabulary."""
        rows = operators.kept_rows(policy)
        if rows not in self._opened:
            self._opened[rows] = _Opened.of(self._setup.reading(policy))
        return self._opened[rows]

    def __call__(self, policy: CompressionPolicy) -> Outcome:
        """Never raises: whatever goes wrong with one candidate is its outcome, and the search goes on."""
        stage: Stage = "build"
        try:
            student = self.build(policy)
            stage = "score"
            opened = self._as_read(policy)
            outputs = predict(student.model, opened.batches, precision=self._setup.precision)
            return Evaluated((quality(opened.task, outputs, opened.judging),))
        except Exception as error:  # noqa: BLE001 - the one broad handler: see the docstring
            return Failed(stage, type(error).__name__, str(error), traceback.format_exc())

    def build(self, policy: CompressionPolicy) -> Anatomy:
        """The candidate's model, as it would be deployed."""
        opened = self._as_read(policy)
        student = (opened.elastic if operators.elastic(policy.steps) else opened.teacher).copy()
        operators.apply(policy, student, self._setup.importance)
        return student


def quality(task: Task, outputs: Outputs, rows: Rows) -> Measurement:
    """The task's score of these rows' outputs [rows, ...], as a measurement with its interval."""
    score = task.score(outputs, rows)
    return Measurement("quality", score.value, task.metric, "measured", interval=score.interval)
