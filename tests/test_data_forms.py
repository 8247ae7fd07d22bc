"""The same texts give the same study, whatever form they come in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

import autocompress
from autocompress import config
from autocompress.core.outcome import Evaluated
from autocompress.errors import IntegrityError, Interrupted, NotFoundError
from autocompress.operators import OPERATORS
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import TextClassification
from tests.given_study import write_data, write_model, write_study

QUICK = {"budget": {"trials": 2}, "elastic": {"steps": 0}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    write_data(folder / "texts.csv")
    write_model(folder / "model", head=False)
    return folder


def written(folder: Path, name: str, data: dict[str, Any], **changes: Any) -> Path:
    return write_study(folder, name=name, task={"max_length": 16, "data": data}, **QUICK, **changes)


class Stopping(SilentObserver):
    """Somebody who presses Ctrl-C when a stage begins."""

    def __init__(self, at: str) -> None:
        self._at = at

    def stage(self, name: str, detail: str = "") -> None:
        if name == self._at:
            raise KeyboardInterrupt


def interrupted(spec: Path, storage: Path, data: Any) -> None:
    """A new study that is stopped before anything is trained."""
    with pytest.raises(Interrupted):
        autocompress.run(spec, storage=str(storage), workers=0, data=data, observer=Stopping("teacher"))


def task_of(spec: Path) -> TextClassification:
    """What a study file's training, search and judgement are given."""
    study = config.load_study(spec, operators=OPERATORS)
    inputs = gather(study, SilentObserver())
    return TextClassification.load(study.task, inputs.data, inputs.model)


def seen(task: TextClassification) -> Iterator[tuple[Any, ...]]:
    yield task.labels
    for name, part in task.splits.items():
        yield name, part.texts, part.labels.tolist(), [ids.tolist() for ids in part.tokens]


def test_own_files_and_parquet_give_what_one_csv_gives(project: Path) -> None:
    """Text by text and in the same order, so that whatever is made of them is the same too."""
    whole = task_of(written(project, "one", {"source": "texts.csv"}))
    files = {}
    for name, examples in whole.splits.items():
        labels = [whole.labels[number] for number in examples.labels]
        files[name] = f"{name}.tsv.gz"
        pandas.DataFrame({"label": labels, "text": examples.texts}).to_csv(project / files[name], sep="\t", index=False)
    pandas.read_csv(project / "texts.csv").to_parquet(project / "texts.parquet")
    for name, data in (("files", files), ("parquet", {"source": "texts.parquet"})):
        assert list(seen(task_of(written(project, name, data)))) == list(seen(whole))


def test_frames_from_python_are_searched_on_after_an_interruption_and_a_move(project: Path) -> None:
    whole, folder = task_of(written(project, "one", {"source": "texts.csv"})), project / "before"
    frames = {
        name: pandas.DataFrame({"body": part.texts, "label": [whole.labels[number] for number in part.labels]})
        for name, part in whole.splits.items()
    }
    folder.mkdir()
    interrupted(written(project, "frames", {"text": "body"}), folder / "forms.db", frames)
    storage = str(folder.rename(project / "after") / "forms.db")
    with pytest.raises(Interrupted):
        autocompress.resume("frames", storage=storage, workers=0, observer=Stopping("finalists"))
    with autocompress.open_study("frames", storage=storage) as study:
        assert sum(isinstance(record.outcome, Evaluated) for record in study.records()) == 2
        assert str(study.spec.task.data).startswith("rows given from Python (")
        inputs = gather(study.spec, SilentObserver(), kept=study.store.artifacts)
        found = TextClassification.load(study.spec.task, inputs.data, inputs.model)
    assert list(seen(found)) == list(seen(whole))


def test_rows_that_a_study_kept_are_missed_and_their_change_is_noticed(project: Path) -> None:
    spec, storage = written(project, "lost", {}), project / "lost.db"
    interrupted(spec, storage, pandas.read_csv(project / "texts.csv"))
    (kept,) = (project / "lost-artifacts" / ".rows").iterdir()
    kept.write_bytes(kept.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="so these are not the rows that the study was given"):
        autocompress.resume("lost", storage=str(storage), workers=0)
    kept.unlink()
    with pytest.raises(NotFoundError, match="the rows that the study was given from Python are gone"):
        autocompress.resume("lost", storage=str(storage), workers=0)


def test_a_study_without_texts_needs_them_from_python(project: Path) -> None:
    with pytest.raises(autocompress.AutocompressError, match=r"task.data: names no texts.*run\(..., data=...\)"):
        autocompress.run(written(project, "none", {"text": "body"}), storage=str(project / "none.db"), workers=0)
