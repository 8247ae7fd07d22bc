"""Studies whose task and data, or task and model, do not fit each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.broken.given import both, changed
from tests.broken.table import Broken
from tests.given_study import write_model
from tests.tasks.given import write_rows

CHECK, RUN = "check mine.yaml", "run mine.yaml --workers 0"


def task(kind: str, *, rows: str = "", metric: Any = None, data: Any = None, **row: Any) -> Callable[[Path], None]:
    """A study of this kind over its rows, or over those of another; `row` changes one of them."""

    def build(folder: Path) -> None:
        write_rows(folder / "rows.jsonl", rows or kind, **row)
        about = {"kind": kind, "max_length": 24, "data": {"source": "rows.jsonl", **(data or {})}}
        changed(task={**about, **({"metric": metric} if metric else {})})(folder)

    return build


def _head(folder: Path) -> None:
    """A model that tells three classes apart."""
    write_model(folder / "model", head=True)


def _held_out(label: Any) -> Callable[[Path], None]:
    """A validation split of its own with a label that the training texts have not."""

    def build(folder: Path) -> None:
        write_rows(folder / "rows.jsonl", "multi-label")
        write_rows(folder / "validation.jsonl", "multi-label", rows=40, label=label)
        data = {"train": "rows.jsonl", "validation": "validation.jsonl"}
        changed(task={"kind": "multi-label", "max_length": 24, "data": data})(folder)

    return build


def _of(title: str, build: Callable[[Path], object], *says: str, command: str = CHECK) -> Broken:
    return Broken(title, build, command, 2, says)


ROWS = (
    _of("an amount that is a word", task("regression", label="good"), "rows.jsonl", "line 4", "no number in 'label'"),
    _of("an amount that is missing", task("regression", label=None), "rows.jsonl", "line 4", "no number"),
    _of("an endless amount", task("regression", label=1e999), "line 4", "no number"),
    _of(
        "classes for amounts",
        task("regression", rows="sentence-pairs", data={"ignore": ["text_pair"]}),
        "no number in 'label'",
    ),
    _of("a pair without its second text", task("sentence-pairs", rows="regression"), "'text_pair'", "text_pair"),
    _of("an empty second text", task("sentence-pairs", text_pair=" "), "line 4", "has no text"),
    _of(
        "a second text for a task of one",
        task("text-classification", rows="sentence-pairs", data={"text_pair": "text_pair"}),
        "task.data.text_pair",
        "sentence-pairs",
    ),
    _of("one label for several", task("multi-label", label="food"), "line 4", "list of labels", '["a", "b"]'),
    _of("a list of lists", task("multi-label", label=[["food"]]), "line 4", "list of labels"),
    _of("an empty label among several", task("multi-label", label=["food", ""]), "line 4", "empty label"),
    _of("a label outside of the set", _held_out(["fodo"]), "'fodo'", "line 4", "food", command=RUN),
    _of("a metric of another task", task("regression", metric="accuracy"), "task.metric", "regression", "spearman"),
    _of("f1 of no class", task("sentence-pairs", metric="f1"), "task.metric", "`label` must name the class"),
    _of(
        "f1 of a class that is none",
        task("sentence-pairs", metric={"name": "f1", "label": "smae"}),
        "task.metric.label",
        "same",
        command=RUN,
    ),
    _of(
        "an error that must be above nothing",
        both(task("regression", metric="rmse"), changed(constraints={"quality": {"min": 0.5}})),
        "constraints.quality.min",
        "-rmse",
    ),
    _of(
        "classes for a model of amounts",
        both(task("regression"), _head),
        "its answers are classes",
        "regression needs one output",
        "teacher: {head: new}",
        command=RUN,
    ),
    _of(
        "one class of several for a model of several labels",
        both(task("multi-label"), _head),
        "its largest output is the answer",
        "problem_type",
        command=RUN,
    ),
    _of("an embedding's pair without its second text", task("sentence-embeddings", rows="regression"), "'text_pair'"),
    _of(
        "an embedding's likeness in words", task("sentence-embeddings", label="near"), "line 4", "no number in 'label'"
    ),
    _of(
        "recall of nobody knows how many", task("sentence-embeddings", metric="recall"), "task.metric", "`k` belongs to"
    ),
    _of(
        "a new head for an embedding",
        both(task("sentence-embeddings"), changed(teacher={"head": "new"})),
        "teacher.head",
        "no head to train",
        command=RUN,
    ),
    _of(
        "tags of another length than words",
        task("token-classification", label=["O"]),
        "rows.jsonl",
        "line 4",
        "another number of tags",
    ),
    _of("a label for all words", task("token-classification", label=7), "line 4", "no list of tags in 'label'"),
    _of("texts for words", task("token-classification", rows="regression"), "rows.jsonl", "no list of tags"),
    _of("a sentence without words", task("token-classification", text=[], label=[]), "line 4", "has no words"),
    _of("a word that is nothing", task("token-classification", text=["soup", " "], label=["O", "O"]), "an empty word"),
    _of(
        "words without their column of tags",
        task("token-classification", data={"label": "ner_tags"}),
        "no label column 'ner_tags'",
        "task.data.label",
    ),
    _of(
        "a tag that makes no span",
        task("token-classification", text=["soup"], label=["food"]),
        "task.metric",
        "'food'",
        "accuracy",
        command=RUN,
    ),
    _of("a second text for words", task("token-classification", data={"text_pair": "text_pair"}), "text_pair"),
    _of(
        "words for a task of texts",
        task("text-classification", rows="token-classification"),
        "rows.jsonl",
        "hold a list",
        "join it",
    ),
    _of(
        "words with tags for a task of texts",
        task("text-classification", rows="regression", data={"format": "conll"}),
        "task.data.format",
        "token-classification",
    ),
    _of(
        "a classifier of texts for words",
        both(task("token-classification"), _head),
        "BertForSequenceClassification",
        "ForTokenClassification",
        "teacher: {head: new}",
        command=RUN,
    ),
    _of("a threshold for amounts", task("regression", data={"threshold": 1.0}), "task.data.threshold", "regression"),
    _of("a task nobody knows", task("txet", rows="regression"), "task.kind", "no task is called 'txet'"),
)
