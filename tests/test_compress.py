"""`compress`: from a checkpoint and a csv to a verified folder in one command, twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import autocompress
from autocompress.store import Store
from tests.commands import command
from tests.given_study import write_data, write_telling_model

SMALL = (
    "budget.trials=6",
    "elastic.steps=0",
    "finalists.count=1",
    "finalists.training.epochs=1",
    "export.form=written",
    "space={name: tiny, version: 1, steps: [{operator: remove_layer, target: layers.*, optional: true}]}",
)


@pytest.mark.expectation(2)
def test_a_csv_with_odd_columns_ends_in_a_folder_that_answers_and_the_same_command_finds_it(tmp_path: Path) -> None:
    write_telling_model(tmp_path / "model")
    write_data(tmp_path / "plain.csv")
    with (tmp_path / "plain.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "my data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Review Body (en)", "Sentiment?"])
        writer.writerows((row["text"], row["label"]) for row in rows)
    asked = ["compress", "model", "--data", "my data.csv", "--out", "small", "--max-drop", "5%", "--workers", "0"]
    asked += [part for one in SMALL for part in ("--set", one)]

    done = command(tmp_path, *asked, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["schema"], told["folder"], told["promise"]) == ("autocompress.compress/1", "small", "sure")
    assert told["verification"]["ok"] is True
    text, label = rows[0]["text"], rows[0]["label"]
    assert autocompress.load(tmp_path / "small")([text])[0].label == label

    again = command(
        tmp_path,
        *[one if one != "5%" else "2%" for one in asked],
        "--ray-address",
        "10.0.0.1:6379",
        "--log",
        "tensorboard:runs",
    )
    assert again.returncode == 8, again.stderr
    assert "study 'my-data-model' is complete already: nothing is run again" in again.stderr
    assert "not sure (90 %) to keep accuracy drop <= 0.02. This is the fastest" in " ".join(again.stdout.split())
    assert "verified in small:" in again.stdout
    assert list((tmp_path / "runs" / "my-data-model").iterdir()), "a study that is complete is told to a logger too"
    with Store.open(str(tmp_path / "autocompress.db")) as store:
        assert [study.name for study in store.studies()] == ["my-data-model"]

    other = command(tmp_path, *asked, "--max-latency", "9ms")
    assert other.returncode == 2
    assert "constraints: {latency_ms" in other.stderr or "constraints.latency_ms" in other.stderr
    assert "start another one with `--name`" in other.stderr

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine\n")
    refused = command(tmp_path, *[one if one != "small" else "mine" for one in asked])
    assert (refused.returncode, "no earlier export" in refused.stderr) == (2, True)
