"""A study's name and budget over its life: begun anew where it judged nothing, gone on with where it was finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.errors import SpecError
from autocompress.operators import only_rounded
from autocompress.study.study import SilentObserver
from tests.given_study import BOARD, write_data, write_model, write_study


class Notes(SilentObserver):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_study_is_begun_anew_after_a_failure_and_extended_after_its_end(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv", rows=120)
    write_model(tmp_path / "model", head=False)
    (tmp_path / "board.yaml").write_text(BOARD)
    given: dict[str, Any] = {
        "device": "board.yaml",
        "objectives": {"quality": "maximize", "size_mb": "minimize"},
        "elastic": {"steps": 0},
        "finalists": {"count": 1, "uncut": True, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    }
    storage, listener = str(tmp_path / "own.db"), Notes()
    impossible = write_study(
        tmp_path, budget={"trials": 5, "minutes": 60}, constraints={"size_mb": {"max": 1e-6}}, **given
    )
    with pytest.raises(SpecError, match=r"constraints\.size_mb: .* cannot be met"):
        autocompress.run(impossible, storage=storage, workers=0)
    mended = write_study(tmp_path, budget={"trials": 5, "minutes": 60}, **given)
    with autocompress.run(mended, storage=storage, workers=0, observer=listener) as study:
        assert "study 'mine' had judged nothing yet (failed): it is begun anew" in listener.notes
        assert (study.row.state, study.store.counts("mine").evaluated) == ("complete", 5)
        before = [record.candidate.digest for record in study.records()]
        first = finalists(study)
        assert len(first) == 2, "one that was trained, and one from which nothing was cut"
        policies = [record.candidate.policy for record in study.records()]
        assert sorted(only_rounded(policies[number]) for number in first) == [False, True]
        with pytest.raises(SpecError, match=r"--trials 3: 5 were judged already; give all that there shall be"):
            study.resume(workers=0, trials=3)
        with pytest.raises(SpecError, match=r"--finalists 0: there are 1 already"):
            study.resume(workers=0, finalists=0)
        with pytest.raises(SpecError, match=r"--minutes 1e-06: .* were spent already; give all that the study shall"):
            study.resume(workers=0, minutes=1e-6)
        assert any(note.startswith("plan of the study:\nstage ") for note in listener.notes)
        assert listener.notes[-1].startswith("plan: the study took ")
        decided = study.row.facts["plan"]["decided"]
        assert [decided[key] for key in ("teacher.steps", "elastic.steps", "finalists.count")] == [None] * 3
        assert 0 < decided["search.minutes"] < 60
        study.resume(workers=0, trials=8, finalists=3, minutes=120)
        assert (study.row.state, study.store.counts("mine").evaluated) == ("complete", 8)
        assert [record.candidate.digest for record in study.records()][: len(before)] == before
        assert (study.spec.budget.trials, study.spec.budget.minutes) == (8, 120)
        assert study.row.facts["plan"]["decided"]["search.minutes"] > decided["search.minutes"]
        assert finalists(study)[:2] == first, "who was trained stays"
        assert len(finalists(study)) >= 4
        assert all(one.state != "nominated" for one in study.store.finalists("mine"))
        assert study.store.check("mine") == []
        with pytest.raises(SpecError, match="exists already"):
            autocompress.run(mended, storage=storage, workers=0)


def finalists(study: autocompress.Study) -> list[int]:
    return [one.candidate.number for one in study.store.finalists(study.name) if one.candidate.number]
