"""Texts that a Python program holds."""

import json
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pytest

from autocompress.core.data_spec import DataSpec
from autocompress.errors import SpecError
from autocompress.reading import kept, rows_given
from tests.reading.given import PAIRS

TEXTS, LABELS = [text for text, _ in PAIRS], [label for _, label in PAIRS]
FRAME = pandas.DataFrame({"text": TEXTS, "label": LABELS, "number": [1.0, None, 2.0, 3.0]})
NAMES = datasets.ClassLabel(names=["food", "sports"])
DATASET = datasets.Dataset.from_pandas(FRAME)


def given(data: Any, **settings: Any) -> dict[str, list[tuple[str, str]]]:
    found = rows_given(DataSpec(**settings), data)
    rows = {name: [json.loads(line) for line in lines.splitlines()] for name, lines in found.items()}
    return {name: [(row["text"], row["label"]) for row in part] for name, part in rows.items()}


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        FRAME.iloc[::-1].set_index("number").iloc[::-1],
        FRAME.astype({"label": "category", "text": "string"}),
        DATASET,
        DATASET.select([3, 2, 1, 0]).select([3, 2, 1, 0]),
        DATASET.class_encode_column("label"),
        pyarrow.Table.from_pandas(FRAME),
        PAIRS,
        np.array(PAIRS),
        [list(pair) for pair in PAIRS],
        [{"label": label, "text": text, "id": 1} for text, label in PAIRS],
        {"text": TEXTS, "label": LABELS},
        {"text": pandas.Series(TEXTS), "label": np.array(LABELS)},
        zip(TEXTS, LABELS, strict=True),
    ],
)
def test_texts_are_taken_from_whatever_holds_them(data: Any) -> None:
    assert given(data) == {"all": PAIRS}


def test_splits_are_taken_as_they_are_given() -> None:
    parts = {"train": PAIRS[:2], "validation": PAIRS[2:3], "test": PAIRS[3:]}
    assert given(parts) == parts
    assert given({"train": FRAME[:2], "dev": FRAME[2:3], "test": PAIRS[3:]}) == parts
    assert given(datasets.DatasetDict(train=DATASET.select([0, 1]), test=DATASET.select([3]))) == {
        "train": PAIRS[:2],
        "test": PAIRS[3:],
    }


def test_numbers_are_labels_too() -> None:
    frame = pandas.DataFrame({"body": ["a", "b", "c"], "y": np.array([1, 0, -1], dtype=np.int8)})
    assert given(frame, text="body", label="y") == {"all": [("a", "1"), ("b", "0"), ("c", "-1")]}
    assert given([("a", True), ("b", False)]) == {"all": [("a", "True"), ("b", "False")]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FRAME.rename(columns={"text": "txt"}), "data: no text column 'text'; did you mean 'txt'"),
        (FRAME.assign(label=[1.0, float("nan"), None, 2.0]), r"data: 2 rows have no label \(rows 2, 3\)"),
        (FRAME.assign(label=[["a"]] * 4), "data: 4 rows hold a list or another structure in 'label'"),
        (FRAME.assign(label=[np.array([0, 1])] * 4), "data: 4 rows hold a list or another structure in 'label'"),
        (pandas.concat([FRAME, FRAME[["text"]]], axis=1), "data: 2 columns are called 'text'"),
        (FRAME.assign(text_b="x"), "column 'text_b' looks like the second text of a pair"),
        ([("a", "x"), ("b",)], r"data: row 2: neither columns nor a pair of text and label, got"),
        ([("a", "x", "y")], "data: row 1: neither columns nor a pair"),
        ({"train": FRAME, "unsupervised": FRAME}, "data: 'unsupervised' is no split"),
        ({"train": FRAME, "training": FRAME}, "data: 'training' is no split, or one that is there already"),
        ({"test": FRAME}, "data: names no texts to learn from; give `train` too"),
        ({"train": FRAME, "test": FRAME.assign(label=None)}, r"data\['test'\]: 4 rows have no label"),
        ("texts.csv", "data: 'str' is no table of texts; give a pandas DataFrame"),
        (3, "data: 'int' is no table of texts"),
        (datasets.Dataset.from_dict({"text": ["a"], "label": [-1]}).cast_column("label", NAMES), "1 row has no label"),
        (DATASET.to_iterable_dataset(), "is a stream of rows; load it whole"),
    ],
)
def test_what_is_no_table_of_texts_is_refused(data: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        given(data)


def test_kept_rows_stand_for_what_was_given() -> None:
    name = "0" * 64 + ".jsonl"
    spec = kept(DataSpec(text="body", label="y", format="csv", delimiter=";", split_seed=3), {"all": name})
    assert (spec.source and spec.source.kept, spec.format, spec.text, spec.split_seed) == (name, "jsonl", "text", 3)
    parts = kept(DataSpec(), {"train": name, "test": name}).parts
    assert {split: part.source.kept for split, part in parts.items()} == {"train": name, "test": name}
