"""Metrics by name: equal to those of the library, larger where better, with intervals that hold them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import MetricSpec, above_chance, least_quality, parsed_metric, score_named
from autocompress.errors import SpecError
from autocompress.report.wording import drop, drop_within, number, with_unit
from autocompress.tasks import Examples, TextClassification
from autocompress.tasks.metrics import of_amounts, of_classes

LABELS = ["ham", "spam", "virus"]


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, shares [rows, classes] that know a little of it, and the answers they give."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, 90)
    shares = (generator.random((90, 3)) + 0.5 * np.eye(3)[truth]).astype(np.float32)
    return truth, shares, shares.argmax(axis=1)


TRUTH, SHARES, ANSWERS = drawn()
EXPECTED = {
    "accuracy": metrics.accuracy_score(TRUTH, ANSWERS),
    "macro-f1": metrics.f1_score(TRUTH, ANSWERS, average="macro"),
    "micro-f1": metrics.f1_score(TRUTH, ANSWERS, average="micro"),
    "f1 of spam": metrics.f1_score(TRUTH == 1, ANSWERS == 1),
    "mcc": metrics.matthews_corrcoef(TRUTH, ANSWERS),
    "roc-auc of virus": metrics.roc_auc_score(TRUTH == 2, SHARES[:, 2]),
    "roc-auc": np.mean([metrics.roc_auc_score(c == TRUTH, SHARES[:, c]) for c in range(3)]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_metric_of_classes_is_the_librarys_within_its_interval(name: str) -> None:
    metric = of_classes(parsed_metric(name), LABELS)
    given = SHARES if metric.from_shares else ANSWERS
    score = metric.score(given, TRUTH)
    assert str(metric.spec) == name
    assert score.value == pytest.approx(EXPECTED[name])
    assert score.interval[0] < score.value < score.interval[1]
    apart = metric.drop(given[::-1].copy(), given, TRUTH)
    assert apart.value == pytest.approx(score.value - metric.value(given[::-1].copy(), TRUTH))
    assert metric.drop(given, given, TRUTH).value == 0


def test_metrics_of_amounts_are_larger_where_better() -> None:
    generator = np.random.default_rng(1)
    truth = generator.normal(size=60)
    near, far = truth + 0.1 * generator.normal(size=60), truth + 2 * generator.normal(size=60)
    for name in ("spearman", "pearson", "rmse"):
        metric = of_amounts(MetricSpec(name))
        assert metric.score(near, truth).value > metric.score(far, truth).value
        assert metric.drop(far, near, truth).interval[0] > 0
    assert of_amounts(MetricSpec("rmse")).score(near, truth).value == pytest.approx(
        -np.sqrt(((near - truth) ** 2).mean())
    )
    assert of_amounts(MetricSpec("spearman")).score(np.ones(60), truth).value == 0


def test_chance_is_the_best_answer_that_is_always_the_same(small_task: TextClassification) -> None:
    examples = Examples(("x",) * 10, (np.ones(3, np.int64),) * 10, np.array([0] * 6 + [1] * 3 + [2]), 0)
    found = {
        name: TextClassification(name, ("a", "b", "c"), {}, small_task.tokenizer).chance(examples)
        for name in ("accuracy", "f1 of b", "mcc", "roc-auc")
    }
    assert found == {"accuracy": 0.6, "f1 of b": pytest.approx(6 / 13), "mcc": 0.0, "roc-auc": 0.5}
    assert above_chance(0.9, found["accuracy"]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "f2"}, "no metric is called 'f2'"),
        ({"name": "f1"}, "`label` must name the class of f1"),
        ({"name": "mcc", "label": "a"}, "`label` belongs to f1 and roc-auc"),
        ({"name": "recall"}, "`k` belongs to recall, which needs it"),
        ({"name": "recall", "k": 0}, "`k >= 1` must hold"),
    ],
)
def test_a_metric_that_lacks_something_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetricSpec(**given)  # type: ignore[arg-type]


def test_a_metric_must_score_the_task_and_its_class_be_one_of_the_data() -> None:
    with pytest.raises(ValueError, match=r"task\.metric: must be one that scores text-classification, got 'rmse'"):
        TaskSpec(metric="rmse")
    with pytest.raises(SpecError, match=r"task\.metric\.label: no class is called 'spma'; did you mean 'spam'"):
        of_classes(MetricSpec("f1", "spma"), LABELS)
    with pytest.raises(ValueError, match=r"task\.metric: `label` must name the class of f1"):
        TaskSpec(metric="f1")
    assert TaskSpec().metric == "accuracy", "as studies of before have it"


def test_what_has_no_points_is_told_in_its_own_unit() -> None:
    assert (number("quality", -0.51234, "-rmse"), number("quality", 0.51234, "spearman")) == ("-0.5123", "0.512")
    assert (with_unit("quality_drop", 0.02, "-rmse"), with_unit("quality_drop", 0.02, "accuracy")) == (
        "0.0200",
        "2.0 pt",
    )
    assert (drop(0.0123, "-rmse"), drop(0.0123, "accuracy")) == ("\N{MINUS SIGN}0.0123", "\N{MINUS SIGN}1.2")
    assert drop_within(0.0, (-0.01, 0.01), "f1 of b") == "±0.0 [\N{MINUS SIGN}1.0 to +1.0]"
    for correlation in ("mcc", "pearson", "spearman"):
        told = drop_within(0.004, (-0.002, 0.01), correlation)
        assert told == "\N{MINUS SIGN}0.004 [\N{MINUS SIGN}0.010 to +0.002]", "a correlation is no share"
        assert with_unit("quality_drop", 0.004, correlation) == "0.004"
        assert score_named(correlation).points, "and yet 1% is a bound on it"
    assert score_named("a metric of somebody else's").points
    assert (least_quality(MetricSpec("rmse"), -1.5), least_quality(MetricSpec("accuracy"), 0.4)) == (-1.5, 0.0)
