"""A study with minutes for all of it, from its dry run to its end and beyond."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.cli import main
from autocompress.errors import SpecError
from tests.given_study import BOARD, write_data, write_model, write_study
from tests.test_pacing import Notes

AMPLE = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("budget")
    with pytest.MonkeyPatch.context() as patch:  # a teacher that an earlier run left would not be trained
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        yield written(folder)


def written(folder: Path) -> Path:
    write_data(folder / "texts.csv", rows=120)
    write_model(folder / "model", head=False)
    (folder / "board.yaml").write_text(BOARD)
    write_study(
        folder,
        budget={"trials": 4, "minutes": AMPLE},
        device="board.yaml",
        objectives={"quality": "maximize", "size_mb": "minimize"},
        teacher={"epochs": 4, "batch_size": 16, "learning_rate": 5.0e-3, "accept_poor": True},
        elastic={"steps": 4, "batch_size": 16},
        finalists={"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    )
    return folder


def test_a_dry_run_prints_the_plan_and_stores_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["run", str(project / "mine.yaml"), "--dry-run", "--workers", "0"]
    assert main(asked) == 0
    told = capsys.readouterr()
    table = told.out.split("plan of the study:\n")[1]
    assert "24 steps (4.0 epochs)" in table
    assert "1 x 6 (1.0 epochs)" in table
    assert "nothing was trained or stored" in told.err
    assert main([*asked, "--json", "--minutes", "50"]) == 0
    plan: Any = json.loads(capsys.readouterr().out)["plan"]
    assert plan["minutes"] == 50
    assert not any(stage["cut"] for stage in plan["stages"])
    assert main([*asked, "--minutes", "0.1"]) == 2
    told_why = capsys.readouterr().err
    assert "budget.minutes: 0.1 bounds the whole study, and the least that would do is" in told_why
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def ended(project: Path) -> tuple[str, list[str]]:
    """Where the study was run to its end, and what was said."""
    storage, watching = str(project / "own.db"), Notes()
    autocompress.run(project / "mine.yaml", storage=storage, workers=0, observer=watching).close()
    return storage, watching.notes


def test_a_study_tells_and_keeps_its_plan(ended: tuple[str, list[str]]) -> None:
    storage, notes = ended
    assert notes[0].startswith("plan of the study:\nstage ")
    assert notes[-1].startswith("plan: the study took ")
    with autocompress.open_study("mine", storage=storage) as study:
        facts = study.row.facts
        with pytest.raises(SpecError, match=r"--minutes 1e-06: .* were spent already; give all that the study shall"):
            study.resume(workers=0, minutes=1e-6)
    assert {"plan", "teacher", "search"} <= set(facts["timings"])
    decided = facts["plan"]["decided"]
    assert {decided[key] for key in ("teacher.steps", "elastic.steps", "finalists.count", "finalists.steps")} == {None}
    assert 0 < decided["search.minutes"] < AMPLE


@pytest.mark.long
def test_a_study_is_given_more_minutes_in_all(ended: tuple[str, list[str]]) -> None:
    storage, _ = ended
    with autocompress.open_study("mine", storage=storage) as study:
        before = study.row.facts["plan"]["decided"]["search.minutes"]
        study.resume(workers=0, minutes=2 * AMPLE, trials=6)
        assert study.store.counts("mine").evaluated == 6
        assert study.row.facts["plan"]["decided"]["search.minutes"] > before
    with closing(sqlite3.connect(storage)) as database, database:  # as if all of it were spent
        database.execute("UPDATE facts SET value = ? WHERE key = 'timings'", (json.dumps({"search": 7200.0}),))
    told = r"--trials: all 120 minutes of the study are spent; give `--minutes` too"
    with autocompress.open_study("mine", storage=storage) as study, pytest.raises(SpecError, match=told):
        study.resume(workers=0, trials=9)
