"""Scores of predictions by name, with their intervals, and how far two models' scores lie apart on the same rows.

Scores are scikit-learn's and scipy's. Accuracy has intervals of closed form; the others have those of a bootstrap of
rows, paired where two models are compared (`certainty.rows`).
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty import RowScores, resampled
from autocompress.core.interruption import shielded
from autocompress.core.scores import SCORES, MetricSpec
from autocompress.errors import SpecError, did_you_mean
from autocompress.tasks.task import Score

_Z: Final = 1.959964
Rows = NDArray[np.int64]
Scoring = Callable[[Any, Any], float]
"""(predictions, truth), rows first -> a score."""
ByRow = Callable[[Any, Any], RowScores]
"""(predictions, truth), rows first -> what each row adds to the same score."""


def _scikit_learn() -> Any:
    """Its scores; imported where one is asked for: accuracy needs none, and the import takes more than a second of
    every process that evaluates."""
    with shielded():
        from sklearn import metrics
    return metrics


def _scipy() -> Any:
    """Its correlations; the same."""
    with shielded():
        from scipy import stats
    return stats


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of predictions; `by_row` is the form of it that stays with a study, and that a thousand draws of the rows
    cost next to nothing in. `from_shares` where it wants what outputs say of every class [rows, classes], and not the
    answers [rows] alone."""

    spec: MetricSpec
    scoring: Scoring
    by_row: ByRow
    from_shares: bool = False

    def value(self, predicted: Any, truth: Any) -> float:
        """Larger is better: a metric of which less is better is taken negative."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a class that no row has, or constant answers
            found = float(self.scoring(predicted, truth))
        return found if SCORES[self.spec.name].direction == "maximize" else -found

    def score(self, predicted: Any, truth: Any) -> Score:
        if self.spec.name == "accuracy" and predicted.ndim == 1:
            return accuracy(predicted, truth)
        return within(self.value(predicted, truth), resampled([self.by_row(predicted, truth)])[:, 0])

    def drop(self, predicted: Any, reference: Any, truth: Any) -> Score:
        """The reference's score less that of the predictions, with an interval of paired rows."""
        if self.spec.name == "accuracy" and predicted.ndim == 1:
            return accuracy_drop(predicted, reference, truth)

        theirs, ours = resampled([self.by_row(reference, truth), self.by_row(predicted, truth)]).T
        return within(self.value(reference, truth) - self.value(predicted, truth), theirs - ours)


def of_classes(spec: MetricSpec, labels: Sequence[str]) -> Metric:
    """Of answers that are numbers of classes. Raises SpecError for a class that there is none of."""
    if spec.label is not None and spec.label not in labels:
        raise SpecError(f"task.metric.label: no class is called {spec.label!r}; {did_you_mean(spec.label, labels)}")
    one = labels.index(spec.label) if spec.label is not None else len(labels) - 1
    match spec.name:
        case "macro-f1":
            return Metric(
                spec,
                lambda predicted, truth: _scikit_learn().f1_score(truth, predicted, average="macro"),
                functools.partial(_columns, "macro-f1"),
            )
        case "micro-f1":
            return Metric(
                spec,
                lambda predicted, truth: _scikit_learn().f1_score(truth, predicted, average="micro"),
                _right_answers,
            )
        case "f1":
            return Metric(
                spec,
                lambda predicted, truth: _scikit_learn().f1_score(truth == one, predicted == one, zero_division=0.0),
                lambda predicted, truth: _decisions(predicted == one, truth == one),
            )
        case "mcc":
            return Metric(
                spec,
                lambda predicted, truth: _scikit_learn().matthews_corrcoef(truth, predicted),
                functools.partial(_columns, "mcc"),
            )
        case "roc-auc":
            wanted = [one] if spec.label is not None or len(labels) == 2 else range(len(labels))
            return Metric(
                spec,
                lambda shares, truth: _area(shares, truth, wanted),
                lambda shares, truth: _areas(shares, truth, wanted),
                from_shares=True,
            )
        case "accuracy":
            return Metric(
                spec, lambda predicted, truth: _scikit_learn().accuracy_score(truth, predicted), _right_answers
            )
    raise SpecError(f"task.metric: {spec.name} does not score classes")


def _area(shares: NDArray[np.float32], truth: Rows, classes: Sequence[int]) -> float:
    """Of each class against the rest, a mean over those that some rows have and some have not."""
    areas = [
        _scikit_learn().roc_auc_score(truth == label, shares[:, label])
        for label in classes
        if 0 < (truth == label).sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else math.nan


def _areas(shares: NDArray[np.float32], truth: Rows, classes: Sequence[int]) -> RowScores:
    return _columns("roc-auc", *(column for label in classes for column in (truth == label, shares[:, label])))


def _columns(form: str, *columns: Any) -> RowScores:
    return RowScores(form, np.column_stack(columns).astype(np.float32))


def _right_answers(predicted: Any, truth: Any) -> RowScores:
    return _columns("quotient", predicted == truth, np.ones(len(truth)))


def _decisions(predicted: Any, truth: Any) -> RowScores:
    """The F1 score of yes and no, [rows] or [rows, labels]."""
    given, wanted = (one.reshape(len(truth), -1) > 0 for one in (predicted, truth))
    return _columns("quotient", 2 * (given & wanted).sum(axis=1), given.sum(axis=1) + wanted.sum(axis=1))


def within(value: float, drawn: NDArray[np.float64]) -> Score:
    """A score of all rows between the percentiles of what it is of rows drawn from them, where it is defined."""
    value = value if math.isfinite(value) else 0.0  # constant answers correlate with nothing
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (value, value)
    return Score(value, (min(value, float(low)), max(value, float(high))))


def accuracy(predicted: Rows, truth: Rows) -> Score:
    """Share of right answers, with Wilson's score interval (Wilson 1927)."""
    right, n, z = int((predicted == truth).sum()), len(truth), _Z
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at shares of 0 and 1 an end is the share itself, which rounding would miss by a bit
    return Score(share, (min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))))


def accuracy_drop(predicted: Rows, reference: Rows, truth: Rows) -> Score:
    """Accuracy of the reference less that of the predictions, with the adjusted Wald interval of a difference of paired
    proportions (Bonett and Price 2012): one text more on which either alone is right."""
    lost = int(((reference == truth) & (predicted != truth)).sum())
    won = int(((reference != truth) & (predicted == truth)).sum())
    n = len(truth)
    ours, theirs = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = _Z * math.sqrt((ours + theirs - (theirs - ours) ** 2) / (n + 2))
    return Score((lost - won) / n, (max(-1.0, theirs - ours - half), min(1.0, theirs - ours + half)))


def of_decisions(spec: MetricSpec) -> Metric:
    """Of yes and no to each label, [rows, labels], beside what is true. A label that no row has and none is given
    counts for nothing."""
    averages = {"micro-f1": "micro", "macro-f1": "macro"}
    if spec.name not in averages:
        raise SpecError(f"task.metric: {spec.name} does not score several labels a row")

    def scoring(predicted: Any, truth: Any) -> float:
        known = (truth > 0).any(axis=0) | predicted.any(axis=0)
        if not known.any():
            return 1.0
        average = averages[spec.name]
        return float(
            _scikit_learn().f1_score(truth[:, known] > 0, predicted[:, known], average=average, zero_division=0.0)
        )

    def by_label(predicted: Any, truth: Any) -> RowScores:
        return _columns("label-macro-f1", predicted, truth > 0)

    return Metric(spec, scoring, by_label if spec.name == "macro-f1" else _decisions)


def of_ranks(spec: MetricSpec) -> Metric:
    """Of how many others stand before the right one, [rows]; rows whose label is 0 or less have no right one."""

    def scoring(ranks: Any, truth: Any) -> float:
        asked = ranks[truth > 0]
        return float((asked < (spec.k or 1)).mean()) if len(asked) else math.nan

    def by_row(ranks: Any, truth: Any) -> RowScores:
        asked = truth > 0
        return _columns("quotient", asked & (ranks < (spec.k or 1)), asked)

    return Metric(spec, scoring, by_row)


def of_amounts(spec: MetricSpec) -> Metric:
    """Of predicted amounts [rows] beside the true ones."""
    scorings: dict[str, Scoring] = {
        "spearman": lambda predicted, truth: _scipy().spearmanr(predicted, truth).statistic,
        "pearson": lambda predicted, truth: _scipy().pearsonr(predicted, truth).statistic,
        "rmse": lambda predicted, truth: _scikit_learn().root_mean_squared_error(truth, predicted),
    }
    if spec.name not in scorings:
        raise SpecError(f"task.metric: {spec.name} does not score amounts")

    def by_row(predicted: Any, truth: Any) -> RowScores:
        if spec.name == "rmse":
            return _columns("rmse", predicted.astype(np.float64) - truth)
        return _columns(spec.name, predicted, truth)

    return Metric(spec, scorings[spec.name], by_row)
