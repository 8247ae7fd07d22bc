"""A study's files belong to that study: not to the next one of its name, nor to one of another database beside it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

import autocompress
from tests.given_study import BOARD, CUTS, WORDS, write_data, write_model, write_study

SMALL = {
    "space": CUTS,
    "device": "board.yaml",  # this machine would be profiled anew in a cache of the test's own
    "objectives": {"quality": "maximize", "size_mb": "minimize", "macs": "minimize"},
    "budget": {"trials": 3},
    "elastic": {"steps": 0},
    "teacher": {"epochs": 2, "batch_size": 16, "learning_rate": 3.0e-3, "accept_poor": True},
    "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
}


def weights(folder: Path, storage: str) -> tuple[str, bytes, bytes]:
    """Run it; which model is offered, its weights and what it was made from."""
    with autocompress.run(write_study(folder, **SMALL), storage=storage, workers=0) as study:
        (member,) = [one for one in study.pareto().to_json()["members"] if one["verified"]]
        kept = study.store.folder("mine")
        tensors = (kept / member["digest"] / "weights.safetensors").read_bytes()
        return member["digest"], tensors, (kept / "baseline" / "model.onnx").read_bytes()


def with_other_labels(path: Path) -> None:
    """The same texts, but every class is called by the next one's name: a model of the old ones answers none right."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted(WORDS)
    turned = {name: names[(place + 1) % len(names)] for place, name in enumerate(names)}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row["text"], turned[row["label"]]) for row in rows)


@pytest.mark.long
def test_a_study_made_anew_under_an_old_name_is_what_a_fresh_folder_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    write_model(tmp_path / "model", head=False)
    write_data(tmp_path / "texts.csv", rows=120)
    (tmp_path / "board.yaml").write_text(BOARD)
    storage = str(tmp_path / "autocompress.db")
    before = weights(tmp_path, storage)
    with autocompress.open_study("mine", storage=storage) as study:
        folder = study.store.folder("mine")
        study.store.delete_study("mine")
    assert folder.is_dir(), "the files of the removed one still lie there: that is what must not be taken up"
    with_other_labels(tmp_path / "texts.csv")
    again = weights(tmp_path, storage)
    shutil.copytree(tmp_path / "model", tmp_path / "fresh" / "model")
    for name in ("texts.csv", "board.yaml"):
        shutil.copy(tmp_path / name, tmp_path / "fresh")
    assert again == weights(tmp_path / "fresh", str(tmp_path / "autocompress-2.db"))
    assert again[1] != before[1]
    assert again[2] != before[2]
    kept = list((tmp_path / "cache" / "baselines").glob("*.onnx"))
    assert sorted(file.read_bytes() for file in kept) == sorted([before[2], again[2]]), "the third was not made anew"
