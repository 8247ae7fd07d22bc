"""The same texts give the same study, whatever form they come in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas
import pytest

import autocompress
from autocompress.errors import IntegrityError, Interrupted, NotFoundError
from autocompress.study import ROWS, SilentObserver
from autocompress.tasks import load_text_classification
from tests.given_study import write_data, write_model, write_study

QUICK = {
    "objectives": {"quality": "maximize", "size_mb": "minimize"},
    "budget": {"trials": 3},
    "teacher": {"epochs": 3, "batch_size": 32, "learning_rate": 3.0e-3},
    "elastic": {"steps": 0},
    "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 32, "learning_rate": 5.0e-3}},
}
Front = list[tuple[str, float, float]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    write_data(folder / "texts.csv")
    write_model(folder / "model", head=False)
    return folder


def front(study: autocompress.Study, out: Path) -> Front:
    """The verified front, without what a clock said; one of it is picked."""
    with study:
        assert study.pick(knee=True, out=out).digest
        assert autocompress.load(out)(["we saw the goal"])[0].label in ("food", "sports", "travel")
        return [
            (one.digest, one.metrics["quality"].value, one.metrics["size_mb"].value) for one in study.pareto().verified
        ]


def written(project: Path, name: str, data: Mapping[str, Any]) -> Path:
    return write_study(project, name=name, **QUICK, task={"max_length": 16, "data": {**data}})


def run(project: Path, spec: Path, **settings: Any) -> Front:
    study = autocompress.run(spec, storage=str(project / "forms.db"), workers=0, **settings)
    return front(study, project / f"picked-{spec.stem}")


@pytest.fixture(scope="module")
def reference(project: Path) -> Front:
    """What one csv gives."""
    return run(project, written(project, "csv", {"source": "texts.csv"}))


def test_files_of_ones_own_for_each_split(project: Path, reference: Front) -> None:
    with autocompress.open_study("csv", storage=str(project / "forms.db")) as study:
        task = load_text_classification(study.spec.task, {"all": project / "texts.csv"}, project / "model")
    parts = {}
    for name, examples in task.splits.items():
        frame = pandas.DataFrame({"text": examples.texts, "label": [task.labels[i] for i in examples.labels]})
        parts[name] = f"{name}.tsv.gz"
        frame.to_csv(project / parts[name], sep="\t", index=False)
    assert run(project, written(project, "files", parts)) == reference


def test_parquet(project: Path, reference: Front) -> None:
    pandas.read_csv(project / "texts.csv").to_parquet(project / "texts.parquet")
    assert run(project, written(project, "parquet", {"source": "texts.parquet"})) == reference


class Stopping(SilentObserver):
    """Somebody who presses Ctrl-C as soon as the teacher is trained."""

    def stage(self, name: str, detail: str = "") -> None:
        if name == "importance":
            raise KeyboardInterrupt


def test_a_frame_from_python_also_after_an_interruption_and_a_move(project: Path, reference: Front) -> None:
    frame, folder = pandas.read_csv(project / "texts.csv").rename(columns={"text": "body"}), project / "before"
    folder.mkdir()
    spec = written(project, "frame", {"text": "body"})
    with pytest.raises(Interrupted):
        autocompress.run(spec, storage=str(folder / "forms.db"), workers=0, data=frame, observer=Stopping())
    moved = folder.rename(project / "after")
    study = autocompress.resume("frame", storage=str(moved / "forms.db"), workers=0)
    assert front(study, project / "picked-frame") == reference


def test_rows_that_a_study_kept_are_missed_and_their_change_is_noticed(project: Path, reference: Front) -> None:
    spec, storage, frame = (
        written(project, "lost", {}),
        str(project / "lost.db"),
        pandas.read_csv(project / "texts.csv"),
    )
    with pytest.raises(Interrupted):
        autocompress.run(spec, storage=storage, workers=0, data=frame, observer=Stopping())
    (kept,) = (project / "lost-artifacts" / ROWS).iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content + b"\n")
    with pytest.raises(IntegrityError, match="so these are not the rows that the study was given"):
        autocompress.resume("lost", storage=storage, workers=0)
    kept.unlink()
    with pytest.raises(NotFoundError, match="the rows that the study was given from Python are gone"):
        autocompress.resume("lost", storage=storage, workers=0)
