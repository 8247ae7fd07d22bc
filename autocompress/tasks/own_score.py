"""A task that is judged by a function of the user's: `(outputs, targets) -> number`, larger where it is better.

Whatever the task, the function is given two arrays with a row each: what the model puts out, and what the data say. Its
intervals are those of a bootstrap of rows, paired where two models are compared; each draw asks the function again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Final, cast

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty import RowScores
from autocompress.errors import SpecError
from autocompress.inputs.examples import Rows
from autocompress.tasks.metrics import within
from autocompress.tasks.task import Outputs, Score, Task

Scoring = Callable[[Any, Any], float]

OWN: Final = "score"
"""The key under which a manifest says that a folder was judged by such a function."""
_DRAWS: Final = 100


def with_score(task: Task, name: str, scoring: Scoring | None) -> Task:
    """The same task, judged so. Without a function it can be asked for everything but a score."""
    own = type(f"{type(task).__name__}ByOwnScore", (_ByOwnScore, type(task)), {"__slots__": (), "scoring": [scoring]})
    values = {one.name: getattr(task, one.name) for one in fields(task)}
    made: Task = own(**values | {"metric": name})
    return made


def can_score(task: Task) -> bool:
    """Whether the function is at hand, where there is one."""
    return not isinstance(task, _ByOwnScore) or task.scoring[0] is not None


class _ByOwnScore:
    """What a task of any kind says otherwise."""

    __slots__ = ()
    scoring: ClassVar[list[Scoring | None]]
    """The function, in a list so that it is no method."""

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        given, truth = self._rows(outputs, examples)
        drawn = [self._value(given[rows], truth[rows], drawn=True) for rows in _draws(len(truth))]
        return within(self._value(given, truth), np.array(drawn))

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        (before, truth), (now, _) = self._rows(reference, examples), self._rows(outputs, examples)

        def lost(rows: Any, *, drawn: bool) -> float:
            theirs, ours = (self._value(one[rows], truth[rows], drawn=drawn) for one in (before, now))
            return theirs - ours

        return within(lost(slice(None), drawn=False), np.array([lost(rows, drawn=True) for rows in _draws(len(truth))]))

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores | None:
        """None: no form of scores is known to it."""
        return None

    def chance(self, examples: Rows) -> float:
        """The best of one class for all, or of the mean amount; 0 where answers are of another form."""
        count, task = len(examples), cast(Task, self)
        if task.problem == "classes":
            same = np.eye(task.outputs, dtype=np.float32)
        elif task.problem == "regression":
            same = np.array([[examples.labels.mean()]], dtype=np.float32)
        else:
            return 0.0
        found = [self._value(np.repeat(row[None], count, axis=0), examples.labels, drawn=True) for row in same]
        return max((value for value in found if math.isfinite(value)), default=0.0)

    def about(self) -> dict[str, Any]:
        return {**super().about(), OWN: "own"}  # type: ignore[misc]

    def _rows(self, outputs: Outputs, examples: Rows) -> tuple[Any, Any]:
        """Outputs [rows, ...], or [rows, texts, ...] where a label belongs to several, and targets [rows]."""
        each: int = self.texts_a_row  # type: ignore[attr-defined]
        return (
            (outputs, examples.labels)
            if each == 1
            else (
                outputs.reshape(-1, each, *outputs.shape[1:]),
                examples.labels[::each],
            )
        )

    def _value(self, outputs: Outputs, truth: Any, *, drawn: bool = False) -> float:
        """Raises SpecError for what is no number, but for `drawn` rows, of which a score need not be defined."""
        scoring, name = self.scoring[0], self.metric  # type: ignore[attr-defined]
        if scoring is None:
            raise SpecError(f"{name} is a function that is not at hand here; give it from Python: `score=...`")
        try:
            value: float = float(scoring(outputs, truth))
        except Exception as error:
            if drawn:
                return math.nan
            where = f"for outputs {list(np.shape(outputs))} and targets {list(np.shape(truth))}"
            raise SpecError(
                f"score: {name} must return a number {where}; it ended in {type(error).__name__}: {error}"
            ) from error
        if not (drawn or math.isfinite(value)):
            raise SpecError(f"score: {name} must return a finite number, got {value}")
        return value


def _draws(rows: int) -> list[NDArray[np.int64]]:
    """The same for all models."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, rows, rows) for _ in range(_DRAWS)]
