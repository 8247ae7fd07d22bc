"""What rows of a task hold, as files, Python and csv write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autocompress.core.data_spec import Asset, DataSpec, TaskSpec
from autocompress.core.task_kinds import form_of
from autocompress.reading import kept, read_labelled, rows_given


def read(path: Path, kind: str, **settings: object) -> list[tuple[object, object]]:
    task = TaskSpec(DataSpec(Asset(path=str(path)), **settings), kind=kind)  # type: ignore[arg-type]
    (rows,) = read_labelled(task.data, {"all": path}, form_of(kind).targets).parts.values()
    return list(zip(rows.texts, rows.labels, strict=True))


def test_pairs_are_read_from_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("premise,hypothesis,label\na b,c,yes\nd,e f,no\n")
    found = read(path, "sentence-pairs", text="premise", text_pair="hypothesis")
    assert found == [(("a b", "c"), "yes"), (("d", "e f"), "no")]


def test_a_pair_is_repeated_only_where_both_texts_are(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("text,text_pair,label\na,b,x\na,c,y\na,b,x\n")
    assert read(path, "sentence-pairs") == [(("a", "b"), "x"), (("a", "c"), "y")]


def test_amounts_may_be_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,1\nb,-2.5\nc,3e-1\n")
    assert read(path, "regression") == [("a", 1.0), ("b", -2.5), ("c", 0.3)]


@pytest.mark.parametrize("several", ['["x", "y"]', "['x', 'y']", '["y","x","y"]'])
def test_several_labels_are_a_list_in_every_spelling(several: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(f"text\tlabel\na\t{several}\nb\t[]\n")
    (_, labels), empty = read(path, "multi-label", quoted=False)
    assert sorted(labels) == ["x", "y"]  # type: ignore[call-overload]
    assert empty == ("b", ())


def test_what_python_gives_is_kept_as_the_task_reads_it() -> None:
    data = TaskSpec(kind="sentence-embeddings").data
    (lines,) = rows_given(data, [{"text": "a", "text_pair": "b", "label": 2}], "amount").values()
    assert json.loads(lines) == {"text": "a", "text_pair": "b", "label": 2.0}
    assert kept(data, {"all": "0" * 64 + ".jsonl"}).text_pair == "text_pair"
    (lines,) = rows_given(DataSpec(), {"text": ["a", "b"], "label": [["x"], []]}, "classes").values()
    assert [json.loads(line)["label"] for line in lines.splitlines()] == [["x"], []]
