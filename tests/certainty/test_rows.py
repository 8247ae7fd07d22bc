"""Scores by what rows add to them are the metrics themselves, under any weights of rows; the file keeps them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autocompress.certainty import RowScores, drawn, from_bytes, to_bytes
from autocompress.core.scores import MetricSpec
from autocompress.errors import IntegrityError
from autocompress.tasks.metrics import Metric, of_amounts, of_classes, of_decisions, of_ranks

LABELS = ["ham", "spam", "virus"]
ROWS = 60


def classes() -> tuple[Any, Any, Any]:
    """Truth, shares and answers of three classes, the last of which is rare."""
    generator = np.random.default_rng(0)
    truth = generator.choice(3, ROWS, p=[0.5, 0.45, 0.05])
    shares = (generator.random((ROWS, 3)) + 0.6 * np.eye(3)[truth]).astype(np.float32).round(1)
    return truth, shares, shares.argmax(axis=1)


def amounts() -> tuple[Any, Any]:
    """Many of them equal."""
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 6, ROWS).astype(np.float32)
    return (truth + generator.normal(0, 2, ROWS)).round().astype(np.float32), truth


def decisions() -> tuple[Any, Any]:
    """The last label is never true and never given."""
    generator = np.random.default_rng(2)
    truth = generator.random((ROWS, 4)) < [0.5, 0.3, 0.05, 0]
    return (generator.random((ROWS, 4)) < 0.2 * np.array([1, 1, 1, 0])) | truth, truth.astype(np.float32)


TRUTH, SHARES, ANSWERS = classes()
CASES: dict[str, Callable[[], tuple[Metric, Any, Any]]] = {
    **{
        name: lambda name=name: (of_classes(MetricSpec(name), LABELS), ANSWERS, TRUTH)
        for name in ("accuracy", "macro-f1", "micro-f1", "mcc")
    },
    "f1": lambda: (of_classes(MetricSpec("f1", label="spam"), LABELS), ANSWERS, TRUTH),
    "roc-auc": lambda: (of_classes(MetricSpec("roc-auc"), LABELS), SHARES, TRUTH),
    "roc-auc of one": lambda: (of_classes(MetricSpec("roc-auc", label="ham"), LABELS), SHARES, TRUTH),
    **{name: lambda name=name: (of_amounts(MetricSpec(name)), *amounts()) for name in ("spearman", "pearson", "rmse")},
    "micro-f1 of labels": lambda: (of_decisions(MetricSpec("micro-f1")), *decisions()),
    "macro-f1 of labels": lambda: (of_decisions(MetricSpec("macro-f1")), *decisions()),
    "recall": lambda: (of_ranks(MetricSpec("recall", k=2)), TRUTH.astype(np.float32), amounts()[1]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_score_by_rows_is_the_metric_of_the_rows_that_were_drawn(case: str) -> None:
    metric, predicted, truth = CASES[case]()
    rows, weights = metric.by_row(predicted, truth), drawn(ROWS, 12)
    assert rows.score() == pytest.approx(metric.value(predicted, truth), abs=1e-6)
    found = rows.scores(weights)
    for draw, score in zip(weights, found, strict=True):
        again = np.repeat(np.arange(ROWS), draw.astype(int))
        assert score == pytest.approx(metric.value(predicted[again], truth[again]), abs=1e-5)


def test_draws_are_bootstraps_of_the_rows_and_the_same_every_time() -> None:
    weights = drawn(100, 400)
    assert (weights.sum(axis=1) == 100).all()
    assert weights.var() == pytest.approx(0.99, abs=0.03)  # of Binomial(100, 1/100)
    assert (weights == drawn(100, 400)).all()
    assert (weights != drawn(100, 400, seed=1)).any()


def test_many_rows_are_scored_in_parts() -> None:
    truth = np.zeros(300_000, dtype=np.int64)
    rows = of_classes(MetricSpec("accuracy"), LABELS).by_row(truth, truth)
    assert rows.scores(np.ones((30, len(rows)), dtype=np.float32)).tolist() == [1.0] * 30


def test_a_score_that_is_not_defined_is_nought() -> None:
    nothing = RowScores("quotient", np.zeros((3, 2), dtype=np.float32))
    assert nothing.score() == 0.0


def test_the_file_gives_back_what_was_put_in_and_is_the_same_every_time() -> None:
    metric, predicted, truth = CASES["macro-f1"]()
    rows = metric.by_row(predicted, truth)
    content = to_bytes({"validation": rows, "test": rows.take(np.arange(5))})
    found = from_bytes(content, where="a file")
    assert {name: (one.form, len(one)) for name, one in found.items()} == {
        "validation": ("macro-f1", ROWS),
        "test": ("macro-f1", 5),
    }
    assert (found["validation"].values == rows.values).all()
    assert content == to_bytes({"validation": rows, "test": rows.take(np.arange(5))})


def damaged() -> dict[str, bytes]:
    objects, strange = io.BytesIO(), io.BytesIO()
    np.savez(objects, **{"test.quotient": np.array([[object(), 1]], dtype=object)})
    np.savez(strange, **{"test.beauty": np.ones((2, 2))})
    return {"empty": b"", "cut": to_bytes({})[:9], "objects": objects.getvalue(), "strange": strange.getvalue()}


@pytest.mark.parametrize("kind", ["empty", "cut", "objects", "strange"])
def test_a_file_of_anything_else_is_refused(kind: str) -> None:
    with pytest.raises(IntegrityError, match="a file: holds no scores of rows"):
        from_bytes(damaged()[kind], where="a file")


def test_scores_of_two_splits_go_together_only_where_they_are_of_one_kind() -> None:
    accuracy, spearman = CASES["accuracy"](), CASES["spearman"]()
    one, other = accuracy[0].by_row(*accuracy[1:]), spearman[0].by_row(*spearman[1:])
    assert len(one.beside(one)) == 2 * ROWS
    with pytest.raises(ValueError, match="scored by quotient and by spearman"):
        one.beside(other)
    with pytest.raises(ValueError, match="no form of scores is called 'beauty'"):
        RowScores("beauty", np.ones((1, 1), dtype=np.float32))
    with pytest.raises(ValueError, match="must be"):
        RowScores("rmse", np.ones(3, dtype=np.float32))
