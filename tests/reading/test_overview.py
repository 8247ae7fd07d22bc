"""Files and folders of which nobody has said yet what is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autocompress.core.data_spec import DataSpec
from autocompress.errors import NotFoundError, SpecError
from autocompress.reading.overview import cells_of, overview

ROWS = [{"a text": "good soup", "n": 1}, {"a text": "late train", "n": 2}]
OBJECTS = [json.dumps(row) for row in ROWS]
CSV = "a text;n\ngood soup;1\nlate train;2\n"
CONLL = "Ann B-PER\nflew O\n\nTo O\nAspen B-LOC\n"


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("rows.csv", CSV.replace(";", ","), None),
        ("rows.csv", CSV, None),
        ("rows.tsv", CSV.replace(";", "\t"), None),
        ("rows.data", CSV.replace(";", "\t"), "tsv"),
        ("rows", CSV, "csv"),
        ("rows.jsonl", "\n".join(OBJECTS), None),
        ("rows.txt", "\n".join(OBJECTS), "jsonl"),
        ("rows.json", json.dumps(ROWS), None),
        ("rows.json", json.dumps({"data": ROWS}), None),
        ("rows.json", json.dumps({"a text": ["good soup", "late train"], "n": [1, 2]}), None),
        ("rows.txt", json.dumps(ROWS), "json"),
    ],
)
def test_all_columns_are_seen_whatever_the_form(tmp_path: Path, name: str, content: str, form: str | None) -> None:
    (tmp_path / name).write_text(content)
    found = overview(tmp_path / name, DataSpec())
    cells = cells_of(found.table)
    assert list(cells) == ["a text", "n"]
    assert (list(cells["a text"]), [str(one) for one in cells["n"]]) == (["good soup", "late train"], ["1", "2"])
    assert (found.format, found.splits, found.files) == (form, ("all",), 1)


@pytest.mark.parametrize("name", ["rows.conll", "train.txt"])
def test_words_and_tags_are_seen_as_lists(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONLL)
    cells = cells_of(overview(tmp_path / name, DataSpec()).table)
    assert cells == {"text": [["Ann", "flew"], ["To", "Aspen"]], "label": [["B-PER", "O"], ["O", "B-LOC"]]}


def test_rows_to_learn_from_are_looked_at_first(tmp_path: Path) -> None:
    for name, row in (("test", ROWS[0]), ("train", ROWS[1])):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    found = overview(tmp_path, DataSpec())
    assert (found.table.cells["n"], set(found.splits), found.files) == ([2], {"train", "test"}, 2)


def test_a_folder_for_each_class_is_seen_as_that(tmp_path: Path) -> None:
    for name in ("cats/1.png", "cats/2.png", "dogs/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89PNG")
    found = overview(tmp_path, DataSpec())
    assert (found.media, found.table.cells["label"]) == ("image", ["cats", "cats", "dogs"])


def test_what_nothing_tells_is_refused_with_the_formats(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a line\nanother line\n")
    with pytest.raises(SpecError, match=r"neither its name nor its content .*--set task.data.format=FORMAT"):
        overview(tmp_path / "rows.txt", DataSpec())
    with pytest.raises(NotFoundError, match="no such file or folder"):
        overview(tmp_path / "gone.csv", DataSpec())
