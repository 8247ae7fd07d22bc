"""A study of this machine that is opened on another one: told in one sentence, taken over when asked, never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import autocompress
from autocompress.core.outcome import Evaluated, Record, values
from autocompress.errors import SpecError
from autocompress.store import PROFILE_FACT
from autocompress.study.environment import ENVIRONMENT_FACT, check_environment, environment
from autocompress.study.study import SilentObserver
from tests.commands import command
from tests.given_study import CUTS, write_data, write_study, write_telling_model

SMALL: dict[str, Any] = {
    "space": CUTS,
    "budget": {"trials": 4},
    "elastic": {"steps": 0},
    "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
}


class Notes(SilentObserver):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


def slower(record: Record) -> Record:
    """The same candidate on a machine that takes five times as long."""
    if not isinstance(record.outcome, Evaluated):
        return record
    found = record.outcome.measurements
    return replace(
        record,
        outcome=Evaluated(tuple(replace(m, value=5 * m.value) if m.metric == "latency_ms" else m for m in found)),
    )


@pytest.fixture(scope="module")
def study(folder: Path) -> Iterator[autocompress.Study]:
    """Run here, and then made to look as if it had been on another machine, five times slower than this one."""
    write_telling_model(folder / "model")
    write_data(folder / "texts.csv", rows=120)
    with autocompress.run(write_study(folder, **SMALL), storage=str(folder / "autocompress.db"), workers=0) as done:
        known = dict(done.row.facts[ENVIRONMENT_FACT])
        facts = {ENVIRONMENT_FACT: {**known, "host": {**known["host"], "cpu": "Old Xeon"}}}
        moved = [slower(record) for record in done.records() if isinstance(record.outcome, Evaluated)]
        with done.store.lease("mine") as lease:
            done.store.reprice(lease, moved, resolved=done.row.resolved, facts=facts)
        yield done


def qualities(study: autocompress.Study) -> dict[str, float]:
    return {
        record.candidate.digest: values(record.outcome.measurements)["quality"]
        for record in study.records()
        if isinstance(record.outcome, Evaluated)
    }


def latencies(study: autocompress.Study) -> list[float]:
    found = [record.outcome for record in study.records()]
    return [values(one.measurements)["latency_ms"] for one in found if isinstance(one, Evaluated)]


def resumed(folder: Path, *arguments: str) -> CompletedProcess[str]:
    return command(folder, "resume", "mine", "--workers", "0", *arguments)


def test_another_machine_is_told_in_one_sentence_before_anything_is_done(
    study: autocompress.Study, folder: Path
) -> None:
    before = study.store.finalists("mine")
    done = resumed(folder)
    assert done.returncode == 2
    assert "was made on Old Xeon" in " ".join(done.stderr.split())
    assert "autocompress resume mine --here" in " ".join(done.stderr.split())
    assert study.store.finalists("mine") == before


def test_another_version_of_the_runtime_is_refused_and_other_libraries_are_told(study: autocompress.Study) -> None:
    row, spec, notes = study.row, study.spec, Notes()
    now = environment(spec)
    older = {**now, "runtimes": {"onnxruntime": "1.2.3"}}
    with pytest.raises(SpecError, match=r"was made with onnxruntime 1\.2\.3, and .* is installed"):
        check_environment(replace(row, facts={ENVIRONMENT_FACT: older}), spec, notes)
    other = {**now, "versions": {**now["versions"], "torch": "2.1.0"}}
    check_environment(replace(row, facts={ENVIRONMENT_FACT: other}), spec, notes)
    assert "libraries have changed, and what follows is made with these: torch 2.1.0 ->" in notes.told[0]
    check_environment(replace(row, facts={ENVIRONMENT_FACT: now}), spec, notes)
    assert len(notes.told) == 1


def test_of_a_study_of_before_the_machine_is_known_by_its_device(study: autocompress.Study) -> None:
    elsewhere = {"device": {"here": True, "fingerprint": {"cpu": "Old Xeon", "cores": "4"}}}
    with pytest.raises(SpecError, match=r"was made on Old Xeon \(4 cores\), and this machine is"):
        check_environment(replace(study.row, facts=elsewhere), study.spec, Notes())
    check_environment(replace(study.row, facts={}), study.spec, Notes())


def test_taken_over_it_keeps_every_quality_and_has_the_costs_of_this_machine_alone(
    study: autocompress.Study, folder: Path
) -> None:
    qualities_before, latencies_before = qualities(study), latencies(study)
    (waiting,) = [one for one in study.store.finalists("mine") if one.candidate.number]
    assert waiting.state == "nominated"
    done = resumed(folder, "--here")
    assert done.returncode == 0, done.stderr
    assert "taken over from Old Xeon" in " ".join(done.stderr.split())
    assert qualities(study) == qualities_before
    assert latencies(study) == pytest.approx([before / 5 for before in latencies_before])
    (again,) = [one for one in study.store.finalists("mine") if one.candidate.number]
    assert again.state == "verified"
    assert {one.metric: one for one in again.measurements}["latency_ms"].source == "measured"
    assert study.store.check("mine") == []
    assert study.row.state == "complete"
    assert "is complete" in resumed(folder).stderr


def test_a_study_goes_on_with_the_profile_that_it_began_with(study: autocompress.Study) -> None:
    profile = study.store.fact("mine", PROFILE_FACT)
    assert profile["tables"][0]["rows"]
    assert PROFILE_FACT not in study.row.facts
