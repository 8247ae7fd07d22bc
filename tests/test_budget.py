"""A study with minutes for all of it, before its run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autocompress.cli import main
from tests.given_study import BOARD, write_data, write_model, write_study

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


@pytest.mark.expectation(7)
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
