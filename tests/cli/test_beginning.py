"""`init`: a study's file out of a model and data, and what is asked back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocompress import config
from autocompress.operators import OPERATORS
from tests.cli.conftest import Run
from tests.cli.test_program import HEAVY, LOADED
from tests.given_study import write_data, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned classifier of three classes."""
    folder = tmp_path_factory.mktemp("models") / "tiny model"
    write_model(folder, head=True)
    return folder


@pytest.fixture
def data(folder: Path) -> Path:
    """A csv with odd names of columns, and columns that nobody needs."""
    write_data(folder / "plain.csv")
    with (folder / "plain.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = folder / "my reviews (2).csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["ID #", "Review Body (en)", "Is it: sport?", "Sentiment?"])
        writer.writerows([f"R-{place:05d}", row["text"], "no", row["label"]] for place, row in enumerate(rows))
    return path


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.expectation(3)
def test_init_writes_a_study_that_check_finds_in_order(folder: Path, run: Run, model: Path, data: Path) -> None:
    ended = run("init", str(model), "--data", data.name, "--max-latency", "5 ms", "--minutes", "3", "--max-drop", "2pt")
    assert (ended.code, ended.out) == (0, ""), ended.err
    head = (folder / "study.yaml").read_text(encoding="utf-8")
    assert "#   autocompress pick my-reviews-2-tiny-model --max-quality-drop 2pt --minimize latency_ms" in head
    assert "# Labelled rows (one source: training, validation and test are drawn from it)." in head
    tree = written(folder / "study.yaml")
    assert tree["name"] == "my-reviews-2-tiny-model"
    assert tree["task"] == {
        "kind": "text-classification",
        "max_length": 16,
        "data": {"source": {"path": data.name}, "text": "Review Body (en)", "label": "Sentiment?"},
    }
    assert (tree["budget"]["minutes"], tree["constraints"]) == (3, {"latency_ms": {"max": 5}})
    assert "label         'Sentiment?': the only column that could be; it holds 3 different values" in ended.err
    assert "fine-tuned already" in ended.err
    assert run("check", "study.yaml").code == 0
    spec = config.load_study(folder / "study.yaml", operators=OPERATORS)
    assert spec.task.data.label == "Sentiment?"


def test_init_loads_no_heavy_library(folder: Path, process: Run, model: Path, data: Path) -> None:
    ended = process("init", str(model), "--data", data.name, program=LOADED)
    assert ended.code == 0, ended.err
    assert not set(HEAVY) & set(ended.err.rpartition("loaded:")[2].split())


def test_an_existing_file_is_replaced_only_when_asked(folder: Path, run: Run, model: Path, data: Path) -> None:
    (folder / "mine.yaml").write_text("mine: yes\n")
    ended = run("init", str(model), "--data", data.name, "--out", "mine.yaml")
    assert ended.code == 2
    assert "mine.yaml is there already; name another file, or replace it with --force" in ended.err
    assert (folder / "mine.yaml").read_text() == "mine: yes\n"
    assert run("init", str(model), "--data", data.name, "--out", "mine.yaml", "--force").code == 0
    assert written(folder / "mine.yaml")["space"] == "bert-uniform"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-latency", "5"), "--max-latency: 5 of what? write `5ms` for milliseconds"),
        (("--max-latency", "5%"), "--max-latency: '%' is no unit of time; write `ms`, `us` or `s`"),
        (("--max-latency", "fast"), "--max-latency: must be a time such as `5ms`, got 'fast'"),
        (("--max-latency", "0ms"), "--max-latency: must be above 0"),
        (("--max-drop", "1"), "--max-drop: is 1 a share or hundredths? write `1%`"),
        (("--max-drop", "1ms"), "--max-drop: must be a share such as 0.01, or hundredths"),
        (("--max-drop=-1pt",), "--max-drop: must not be below 0"),
        (("--minutes", "nan"), "--minutes: must be a number of minutes above 0"),
        (("--task", "text-clasification"), "--task: no task is called 'text-clasification'; did you mean 'text-cl"),
        (("--label", "Sentiment"), "has no column 'Sentiment'; did you mean 'Sentiment?'"),
        (("--set", "teacher.epochs"), "--set teacher.epochs: must be KEY=VALUE"),
        (("--set", "teacher.epoch=2"), "teacher.epoch: unknown key; did you mean 'epochs'"),
        (("--test", "gone.csv"), "--test: gone.csv: no such file or folder"),
        (("--device", "gameboy"), "no device profile is called 'gameboy'"),
        (("--out", "study.json"), "--out: a study is a YAML file"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_refused_in_words(
    folder: Path, run: Run, model: Path, data: Path, options: tuple[str, ...], said: str
) -> None:
    ended = run("init", str(model), "--data", data.name, *options)
    assert ended.code in (2, 3), ended.err
    assert said in ended.err
    assert not (folder / "study.yaml").exists()


def test_data_without_a_line_of_names_are_not_misread(folder: Path, run: Run, model: Path) -> None:
    rows = [("we saw a good match", "sports"), ("the soup was very good", "food")] * 20
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    ended = run("init", str(model), "--data", "rows.csv")
    assert ended.code == 2
    assert "its first line seems to be a row" in ended.err
    distinct = [(f"{text} {place}", label) for place, (text, label) in enumerate(rows)]
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(distinct)
    ended = run("init", str(model), "--data", "rows.csv", "--set", "task.data.columns=[text, label]")
    assert ended.code == 0, ended.err
    assert written(folder / "study.yaml")["task"]["data"]["columns"] == ["text", "label"]


def test_formats_and_splits_are_told_by_what_is_there(folder: Path, run: Run, model: Path) -> None:
    write_data(folder / "plain.csv")
    with (folder / "plain.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (folder / "data").mkdir()
    for name, part in (("train", rows[:200]), ("dev", rows[200:])):
        (folder / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    ended = run("init", str(model), "--data", "data")
    assert ended.code == 0, ended.err
    assert "train, validation: as the files are named; test split off from train" in ended.err
    (folder / "rows.data").write_text("".join(json.dumps(row) + "\n" for row in rows[:200]))
    with (folder / "rest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((row["text"], row["label"]) for row in rows[200:])])
    ended = run("init", str(model), "--data", "rows.data", "--test", "rest.csv", "--out", "two.yaml")
    assert ended.code == 0, ended.err
    assert "jsonl: by what the file holds" in ended.err
    assert "train, test: files of their own; validation split off" in ended.err
    data = written(folder / "two.yaml")["task"]["data"]
    assert (data["format"], data["test"]) == ("jsonl", {"source": {"path": "rest.csv"}, "format": "csv"})


def test_no_model_is_told_as_that(run: Run, data: Path) -> None:
    ended = run("init", "no/such/folder", "--data", data.name)
    assert ended.code == 3
    assert (
        "MODEL: no/such/folder: no such file or folder; give a path, `owner/name` on the hub or `default`" in ended.err
    )
