"""Loggers: what a study finds is kept beside other runs, by libraries that nothing else needs; none stops a study."""

from __future__ import annotations

import importlib.util
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

import autocompress
from autocompress.cli import main
from autocompress.core.ports import Logger, Tally
from autocompress.errors import HostError, SpecError
from autocompress.loggers import Journal, TensorBoard, named
from autocompress.loggers.ml_flow import flat
from autocompress.report import front_report, pick
from autocompress.store import Store
from autocompress.study.plans import SilentObserver
from tests.given_search import OBJECTIVES, SPACE, Narrow, judged, network
from tests.report import given


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database with one finished study, `quickstart`."""
    given.write_finished(tmp_path / "studies.db")
    with Store.open(str(tmp_path / "studies.db")) as store:
        yield store


class Faulty:
    """A logger whose server goes away."""

    def __init__(self, *, at: int) -> None:
        self.at, self.ended = at, ""

    def begin(self, study: str, settings: Mapping[str, Any]) -> None:
        if self.at == 0:
            raise ConnectionError("nobody answers")

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        if step >= self.at:
            raise ConnectionError("nobody answers")

    def words(self, name: str, text: str, step: int | None = None) -> None: ...

    def end(self, state: str) -> None:
        self.ended = state


class Notes:
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, detail: str = "") -> None: ...

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Tally) -> None: ...

    def note(self, text: str) -> None:
        self.said.append(text)


def events(folder: Path) -> dict[str, dict[int, float | str]]:
    """What TensorBoard would read: by its tag, each value by its step."""
    found: dict[str, dict[int, float | str]] = defaultdict(dict)
    for path in sorted(folder.rglob("events.*")):
        rest = path.read_bytes()
        while rest:  # length and its checksum, an event and its checksum
            (length,) = struct.unpack("<Q", rest[:8])
            event, rest = Event.FromString(rest[12 : 12 + length]), rest[16 + length :]
            for value in event.summary.value:
                text = value.tensor.string_val
                found[value.tag][event.step] = text[0].decode() if text else value.simple_value
    return found


def test_event_files_hold_candidates_the_front_as_it_grows_stages_finalists_and_the_pick(
    store: Store, tmp_path: Path
) -> None:
    with Journal([TensorBoard(tmp_path / "runs")], SilentObserver(), store, "quickstart", {"budget": {"trials": 9}}):
        pass
    found, front = events(tmp_path / "runs" / "quickstart"), front_report(store, "quickstart")
    judged = [record for record in store.records("quickstart") if record.outcome is not None]
    assert list(found["candidate/number"].values()) == [record.candidate.number for record in judged]
    assert len(found["candidate/size_mb"]) == len(judged) - 1, "one failed, and nothing is known of it"
    grown = list(found["front/hypervolume"].values())
    assert grown == sorted(grown)
    assert grown[-1] == pytest.approx(front.hypervolume.searched)
    assert found["seconds/search"] == {len(judged): pytest.approx(71.5)}
    assert found["finalist/latency_ms"] == {
        member.number: pytest.approx(member.metrics["latency_ms"].value) for member in front.verified
    }
    chosen = pick(store, "quickstart")
    assert chosen.why in str(found["pick/text_summary"][0])
    assert list(found["pick/quality"].values()) == [pytest.approx(chosen.member.metrics["quality"].value)]
    words = [str(text) for text in found["candidate/text_summary"].values()]
    assert any(judged[3].candidate.digest[:8] in text and "heads 9" in text for text in words)
    assert any("failed (score): RuntimeError" in text for text in words)
    assert '"trials": 9' in str(found["settings/text_summary"][0])
    assert any(tag.startswith("knob/prune_heads/") for tag in found)


def test_a_search_tells_its_loggers_and_goes_on_without_one_that_fails(tmp_path: Path) -> None:
    notes, faulty = Notes(), Faulty(at=3)
    loggers: list[Logger] = [faulty, TensorBoard(tmp_path / "runs")]
    asked: dict[str, Any] = {"model": network, "operators": [Narrow], "objectives": OBJECTIVES, "name": "logged"}
    storage = str(tmp_path / "own.db")
    study = autocompress.optimize(
        SPACE, judged, **asked, trials=6, workers=0, storage=storage, loggers=loggers, observer=notes
    )
    assert notes.said == ["Faulty is told nothing more, the study goes on: ConnectionError: nobody answers"]
    found = events(tmp_path / "runs" / "logged")
    assert list(found["candidate/loss"]) == list(range(6))
    assert len(found["pick/loss"]) == 1
    study.resume(loggers=[TensorBoard(tmp_path / "again")])
    study.close()
    assert list(events(tmp_path / "again")["candidate/loss"]) == list(range(6)), "one that is complete is kept whole"
    with pytest.raises(HostError, match="Faulty cannot begin a run: ConnectionError: nobody answers"):
        autocompress.resume("logged", storage=storage, loggers=[kept := Faulty(at=9), Faulty(at=0)])
    assert kept.ended == "failed"


@pytest.mark.parametrize(("name", "module"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_library_that_is_missing_is_refused_with_what_brings_it(
    name: str, module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed here")
    with pytest.raises(HostError, match=f"needs {module}, which is not installed; `pip install {module}` brings it"):
        named(f"{name}:somewhere")
    code = main(["run", "quickstart", "--log", f"{name}:somewhere", "--storage", str(tmp_path / "none.db")])
    assert (code, f"pip install {module}" in capsys.readouterr().err) == (HostError.exit_code, True)
    assert not (tmp_path / "none.db").exists()


def test_a_logger_is_named_with_where_it_logs_to() -> None:
    assert isinstance(named("tensorboard"), TensorBoard)
    with pytest.raises(SpecError, match=r"--log tensorbord:runs: no logger is called 'tensorbord'; did you mean"):
        named("tensorbord:runs")


def test_a_study_is_told_to_mlflow_as_flat_parameters() -> None:
    assert dict(flat({"budget": {"trials": 9, "minutes": None}, "steps": [1, 2]})) == {
        "budget.trials": "9",
        "steps": "[1, 2]",
    }
