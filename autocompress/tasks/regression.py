"""Regression and similarity: an amount for a text, or for two texts together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autocompress.certainty import RowScores
from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.inputs.examples import Batch, Rows
from autocompress.reading import read_labelled
from autocompress.tasks.loading import loaded
from autocompress.tasks.metrics import Metric, of_amounts
from autocompress.tasks.task import Outputs, Problem, Reduction, Score, Task

_SAME = 0.01
"""Amounts are the same that differ by less, as a share of themselves or of how much amounts differ."""


@final
@dataclass(frozen=True, slots=True)
class Regression(Task):
    """Rows with an amount each, and one output that says it."""

    kind: ClassVar[str] = "regression"
    answer: ClassVar[str] = "amount"
    problem: ClassVar[Problem] = "regression"

    @classmethod
    def load(
        cls,
        spec: TaskSpec,
        files: Mapping[str, Path],
        tokenizer_folder: Path,
        *,
        labels: Sequence[str] | None = None,  # noqa: ARG003 - an amount has none
        rows: int | None = None,
        types: int = 1,
        config: Any = None,  # noqa: ARG003 - rows are texts
    ) -> Self:
        data = read_labelled(spec.data, files, "amount")

        def numbers(given: Sequence[float]) -> NDArray[np.float32]:
            return np.array(given, dtype=np.float32)

        found = loaded(spec, data, tokenizer_folder, numbers, rows=rows, types=types)
        return cls(str(spec.scored), (), found.splits, found.reading, found.notes)

    @staticmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        read_labelled(spec.data, files, "amount")
        return ()

    @property
    def outputs(self) -> int:
        return 1

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """The squared error of outputs [rows, 1] and amounts [rows], in the variance of the training amounts."""
        return functional.mse_loss(outputs.float()[:, 0], targets.float(), reduction=reduction) / self._variance

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        return functional.mse_loss(outputs.float(), teacher.float()) / self._variance

    @property
    def _variance(self) -> float:
        """Losses mean the same whatever amounts are counted in."""
        known = self.splits.get("train")
        return float(known.labels.var()) if known is not None and len(known) > 1 else 1.0

    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[np.float32]:
        return outputs[:, 0]

    @property
    def scored(self) -> Metric:
        return of_amounts(parsed_metric(self.metric))

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        return self.scored.score(outputs[:, 0], examples.labels)

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        return self.scored.drop(outputs[:, 0], reference[:, 0], examples.labels)

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores:
        return self.scored.by_row(outputs[:, 0], examples.labels)

    def chance(self, examples: Rows) -> float:
        """Correlated with nothing, or off by as much as amounts differ from their mean."""
        return -float(examples.labels.std()) if self.scored.spec.name == "rmse" else 0.0

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        apart = np.abs(outputs[:, 0] - others[:, 0])
        spread = np.maximum(float(others[:, 0].std()), np.abs(others[:, 0]))
        return float((apart <= _SAME * spread).mean())

    def told(self, outputs: Outputs) -> tuple[str, float | None]:
        return f"{float(outputs[0]):.4g}", None
