"""Rows of words with a tag each: as the CoNLL tasks write them, as lists in tables, and from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from autocompress.core.data_spec import Asset, DataSpec
from autocompress.errors import SpecError
from autocompress.reading import kept, read_labelled, rows_given

ROWS = [(("EU", "rejects", "#lamb", "."), ("B-org", "O", "O", "O")), (("Ann", "Lee"), ("B-per", "I-per"))]
FRAME = pandas.DataFrame({"text": [list(words) for words, _ in ROWS], "label": [list(tags) for _, tags in ROWS]})
TABS = "EU\tB-org\nrejects\tO\n#lamb\tO\n.\tO\n\nAnn\tB-per\nLee\tI-per\n"


def read(path: Path, **settings: Any) -> list[tuple[Any, Any]]:
    spec = DataSpec(Asset(path=str(path)), **settings)
    (rows,) = read_labelled(spec, {"all": path}, "tags").parts.values()
    return list(zip(rows.texts, rows.labels, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        TABS,
        TABS.replace("\t", " ").replace("\n", "\r\n"),
        TABS.replace("\n\n", "\n\t\n\n\n"),
        "-DOCSTART-\tO\n\n" + TABS,
        "# id 12 of several\n" + TABS + "\n# id 13\n",
        TABS.replace("\t", "\tNN\tI-NP\t"),
    ],
    ids=["tabs", "spaces", "tabs between", "document", "comments", "more columns"],
)
def test_a_word_a_line_is_read_however_it_is_laid_out(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_bytes(content.encode())
    assert read(path) == ROWS


def test_what_python_takes_for_an_end_of_line_may_be_a_word(tmp_path: Path) -> None:
    path = tmp_path / "rows.iob"
    path.write_text("a\u2028b\tB-x\nc\u00a0d\tO\n", "utf-8")
    assert read(path) == [(("a\u2028b", "c\u00a0d"), ("B-x", "O"))]


def test_columns_are_named_where_words_do_not_come_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.annotated"
    path.write_text("1\tEU\tNNP\n2\trejects\tVBZ\n\n1\tAnn\tNNP\n", "utf-8")
    columns = {"columns": ("id", "form", "pos"), "text": "form", "label": "pos", "format": "conll"}
    assert read(path, **columns) == [(("EU", "rejects"), ("NNP", "VBZ")), (("Ann",), ("NNP",))]
    with pytest.raises(SpecError, match=r"its first column numbers the words; name all columns with `task\.data\.col"):
        read(path, format="conll")


@pytest.mark.parametrize("name", ["x.csv", "numpy.csv", "spaces.csv", "x.jsonl", "x.json", "x.parquet"])
def test_lists_are_read_in_every_table(name: str, tmp_path: Path) -> None:
    path, frame = tmp_path / name, FRAME
    if name == "numpy.csv":
        frame = FRAME.map(lambda cell: pandas.Series(cell, dtype=object).to_numpy())
    if name == "spaces.csv":
        frame = FRAME.map(" ".join)
    write = {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(path.suffix[1:])
    if write:
        write(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=name.endswith("l"))
    assert read(path) == ROWS


def test_numbers_of_tags_are_named_as_the_datasets_library_names_them(tmp_path: Path) -> None:
    import datasets

    names = ["O", "B-org", "B-per", "I-per"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=names))}
    )
    numbers = [[names.index(tag) for tag in tags] for _, tags in ROWS]
    data = datasets.Dataset.from_dict({"tokens": [list(w) for w, _ in ROWS], "ner_tags": numbers}, features=features)
    data.save_to_disk(str(tmp_path / "saved"))
    data.to_parquet(str(tmp_path / "rows.parquet"))
    columns = {"text": "tokens", "label": "ner_tags"}
    assert read(tmp_path / "saved", **columns) == read(tmp_path / "rows.parquet", **columns) == ROWS
    (lines,) = rows_given(DataSpec(**columns), data, "tags").values()
    assert [json.loads(line)["label"] for line in lines.splitlines()] == [list(tags) for _, tags in ROWS]


@pytest.mark.parametrize("data", [FRAME, FRAME.to_dict("records"), [list(map(list, row)) for row in ROWS]])
def test_what_python_gives_is_kept_as_lists(data: Any, tmp_path: Path) -> None:
    (lines,) = rows_given(DataSpec(), data, "tags").values()
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines)
    assert read(path, format=kept(DataSpec(), {"all": "0" * 64 + ".jsonl"}).format) == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tO\nb\n", r"1 lines do not have 2 fields \(line 2\)"),
        ("a\nb\n", r"2 lines do not have 2 fields \(lines 1, 2\); a line has a word"),
        ("\n\n", "no line has a word and a tag"),
        ("a\tO\nb\tO\n", "all words have the tag 'O'; there is nothing to learn"),
        ("a\tB-x\nb\tb-x\nc\tB-x\n", "tag 'b-x' is 'B-x' but for case or spaces"),
        ("a\tO\n\tB-x\n", r"1 row holds an empty word \(line 1\); remove it with its tag"),
        ("a\tO\nb\t\n", r"1 row holds an empty tag \(line 1\); write O"),
        (
            "".join(f"{i}\tx{i}\n" for i in range(40)),
            "40 different tags for 40 words, such as 'x0' and 'x1': is 'label'",
        ),
    ],
)
def test_words_without_tags_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text(content, "utf-8")
    with pytest.raises(SpecError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": ["a", "b"], "label": ["O"]},
            r"1 row has another number of tags than of words \(line 2\): there 2",
        ),
        ({"text": [], "label": []}, r"1 row has no words \(line 2\); remove it"),
        ({"text": ["a", None], "label": ["O", "O"]}, r"1 row holds no list of words in 'text' \(line 2\); write each"),
        ({"text": ["a"], "label": [["O"]]}, "1 row holds no list of tags in 'label'"),
        ({"text": ["a", ""], "label": ["O", "O"]}, "1 row holds an empty word"),
        ({"text": 3, "label": ["O"]}, "1 row holds no list of words in 'text'"),
        ({"text": ["a"]}, "no label column 'label'"),
    ],
)
def test_rows_that_are_no_words_with_a_tag_each_are_refused(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in ({"text": ["x", "y"], "label": ["B-x", "O"]}, row)))
    with pytest.raises(SpecError, match=message):
        read(path)


def test_words_with_tags_are_no_texts_with_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text(TABS)
    with pytest.raises(SpecError, match=r"has a tag for each word.*`task\.kind: token-classification` reads it"):
        read_labelled(DataSpec(Asset(path=str(path))), {"all": path})
