"""Parquet, arrow, JSON and what the `datasets` library saves, against what that library says it holds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pytest
from pyarrow import feather, parquet

from autocompress.errors import SpecError
from tests.reading.given import PAIRS, pairs, read

TEXTS, LABELS = [text for text, _ in PAIRS], [label for _, label in PAIRS]
FRAME = pandas.DataFrame({"text": TEXTS, "label": LABELS, "vector": [[0.1, 0.2]] * 4})
NAMED = datasets.Dataset.from_dict(
    {"text": TEXTS, "label": [0, 1, 0, 1]},
    features=datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["food", "sports"])}
    ),
)


def saved_json(path: Path, tree: Any) -> Path:
    path.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.parquet", FRAME.to_parquet),
        ("x.pq", lambda path: FRAME.astype({"label": "category"}).to_parquet(path)),
        ("x.feather", lambda path: feather.write_feather(pyarrow.Table.from_pandas(FRAME), str(path))),
        ("x.parquet", NAMED.to_parquet),
        ("saved", NAMED.save_to_disk),
        ("saved", lambda path: NAMED.select([3, 2, 1, 0]).select([3, 2, 1, 0]).save_to_disk(path, num_shards=2)),
        ("x.json", lambda path: saved_json(path, [{"text": text, "label": label} for text, label in PAIRS])),
        ("x.json", lambda path: saved_json(path, {"text": TEXTS, "label": LABELS, "version": "1"})),
        ("x.json", lambda path: saved_json(path, {"version": 1, "data": FRAME.to_dict(orient="records")})),
        ("x.json", lambda path: saved_json(path, PAIRS)),
        ("x.json", lambda path: FRAME.to_json(path, orient="records", lines=True)),
        ("x.jsonl", lambda path: FRAME.to_json(path, orient="records", lines=True)),
        ("x.ndjson.gz", lambda path: FRAME.to_json(path, orient="records", lines=True)),
    ],
)
def test_texts_are_read_from_every_form(name: str, write: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path / name)
    assert pairs(tmp_path / name) == PAIRS


def test_a_saved_folder_says_its_splits(tmp_path: Path) -> None:
    splits = {name: NAMED.select(rows) for name, rows in (("train", [0, 1]), ("test", [2]), ("unsupervised", [3]))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    found = read(tmp_path / "saved")
    assert {name: rows.texts for name, rows in found.parts.items()} == {
        "train": tuple(TEXTS[:2]),
        "test": tuple(TEXTS[2:3]),
    }
    assert found.classes == ("food", "sports")
    assert "splits that are not read: unsupervised" in found.notes[0]
    del splits["train"]
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "lacking")
    with pytest.raises(SpecError, match=r"none of its splits is called train \(there are test, unsupervised\)"):
        read(tmp_path / "lacking")
    assert pairs(tmp_path / "saved" / "train") == PAIRS[:2]


def test_files_in_a_folder_say_by_their_names_which_split_they_hold(tmp_path: Path) -> None:
    """The names that data sets have on the hub."""
    (tmp_path / "data").mkdir()
    shards = {"train-00000-of-00002": [0], "train-00001-of-00002": [1], "validation-00000-of-00001": [2]}
    for name, rows in shards.items():
        NAMED.select(rows).to_parquet(tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / ".gitattributes").write_text("")
    saved_json(tmp_path / "dataset_infos.json", {})
    found = read(tmp_path)
    assert {name: rows.texts for name, rows in found.parts.items()} == {
        "train": tuple(TEXTS[:2]),
        "validation": (TEXTS[2],),
    }
    assert found.parts["train"].told([1]) == "train-00001-of-00002.parquet row 1"
    (tmp_path / "more.csv").write_text("text,label\na,food\n")
    with pytest.raises(SpecError, match=r"holds files in several formats \(csv, parquet\); say which with"):
        read(tmp_path)


def test_files_of_a_folder_that_say_no_split_are_one_table(tmp_path: Path) -> None:
    for name, rows in (("a", FRAME[:2]), ("b", FRAME[2:])):
        rows[["text", "label"]].to_csv(tmp_path / f"{name}.csv", index=False)
    assert pairs(tmp_path) == PAIRS
    (tmp_path / "b.csv").write_text("text,label\nx,\n")
    with pytest.raises(SpecError, match=r"b.csv: 1 row has no label \(line 2\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            {"label": [["a"], ["b"], ["a"], ["b"]]},
            r"4 rows hold a list or another structure in 'label'.*\(rows 1, 2,",
        ),
        ({"label": [{"a": 1}] * 4}, "4 rows hold a list or another structure in 'label'"),
        ({"label": ["a", None, "b", "a"]}, r"1 row has no label \(row 2\)"),
        ({"label": [1.0, float("nan"), 0.0, 1.0]}, r"1 row has no label \(row 2\)"),
        ({"text": [["a"], ["b"], ["c"], ["d"]]}, "4 rows hold a list or another structure in 'text' where a text"),
        ({"text": [b"a", b"b", b"c", b"d"]}, "4 rows hold a list or another structure in 'text'"),
        ({"text": ["a", None, "", "d"]}, r"2 rows have no text \(rows 2, 3\)"),
        (
            {"text2": TEXTS},
            r"column 'text2' looks like the second text of a pair .*ignore: \[text2\]",
        ),
    ],
)
def test_what_is_no_text_or_no_label_is_refused_by_its_rows(
    frame: dict[str, Any], message: str, tmp_path: Path
) -> None:
    parquet.write_table(pyarrow.table({"text": TEXTS, "label": LABELS} | frame), tmp_path / "x.parquet")
    with pytest.raises(SpecError, match=message):
        read(tmp_path / "x.parquet")


def test_a_label_that_the_library_holds_for_unknown_is_missing(tmp_path: Path) -> None:
    unknown = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, -1, -1, 1]}, features=NAMED.features)
    unknown.save_to_disk(tmp_path / "saved")
    with pytest.raises(SpecError, match=r"2 rows have no label \(rows 2, 3\)"):
        read(tmp_path / "saved")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "row 1: neither columns nor a pair of text and label, got '1'"),
        ('{"text": ["a"], "label": ["x", "y"]}', "columns must be equally long, but 'text' has 1, 'label' has 2"),
        ('[{"text": "a", "label": "x"}, {"text": "b"}]', "row 2: no label column 'label'"),
        ('[{"text": "a", "label": NaN}]', r"1 row has no label \(row 1\)"),
        ("[{]", "x.json:1: not JSON"),
        ('"a"', "not a list of objects"),
    ],
)
def test_json_that_is_no_table_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(SpecError, match=message):
        read(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_a_damaged_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PAR1 but not for long")
    with pytest.raises(SpecError, match=f"{name}: no {name[2:]} file, or not whole"):
        read(tmp_path / name)


def test_a_data_set_in_the_hubs_cache_is_read_offline(tmp_path: Path) -> None:
    commit = "a" * 40
    data = tmp_path / "datasets--me--topics" / "snapshots" / commit / "data"
    data.mkdir(parents=True)
    NAMED.select([0, 1]).to_parquet(data / "train-00000-of-00001.parquet")
    NAMED.select([2, 3]).to_parquet(data / "test-00000-of-00001.parquet")
    code = (
        "from autocompress.assets import fetch\n"
        "from autocompress.core.data_spec import Asset\n"
        f"print(fetch(Asset(hub='me/topics', revision='{commit}'), kind='dataset'))"
    )
    # A process of its own: the hub's library reads these variables once, when it is imported.
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found = read(Path(done.stdout.strip()))
    assert {name: rows.texts for name, rows in found.parts.items()} == {
        "train": tuple(TEXTS[:2]),
        "test": tuple(TEXTS[2:]),
    }
