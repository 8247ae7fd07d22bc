"""A study of what a Python program holds: a model in memory, rows, a function that scores, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import autocompress
from autocompress import config
from autocompress.core.functions import GIVEN, kept_as
from autocompress.core.outcome import Evaluated
from autocompress.core.scores import MetricSpec
from autocompress.errors import NotFoundError, SpecError
from autocompress.operators import OPERATORS
from autocompress.store import Store
from autocompress.study.given import Given, settled
from autocompress.tasks import Examples, with_score
from tests.given_study import BOARD, CLASSES, CUTS, write_data, write_telling_model

SPEC: dict[str, Any] = {
    "name": "memory",
    "version": 1,
    "task": {"max_length": 16},
    "space": CUTS,
    "objectives": {"quality": "maximize", "size_mb": "minimize"},
    "workload": {"length": 16},
    "budget": {"trials": 3},
    "elastic": {"steps": 4, "batch_size": 16},
    "finalists": {"count": 1, "uncut": False, "training": {"epochs": 1, "batch_size": 16}},
    "export": {"form": "written"},
}


def mean_recall(outputs: Any, targets: Any) -> float:
    """What a user would write, of whole rows."""
    answers = outputs.argmax(axis=1)
    return float(np.mean([(answers[targets == label] == label).mean() for label in np.unique(targets)]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("memory")
    write_telling_model(place / "model")
    write_data(place / "texts.csv", rows=120)
    (place / "board.yaml").write_text(BOARD, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def objects(folder: Path) -> dict[str, Any]:
    return {
        "model": AutoModelForSequenceClassification.from_pretrained(str(folder / "model")),
        "tokenizer": AutoTokenizer.from_pretrained(str(folder / "model")),
        "data": pandas.read_csv(folder / "texts.csv"),
    }


@pytest.mark.expectation(33)
def test_a_model_rows_a_score_and_callbacks_make_a_study_that_ends_in_a_verified_folder(
    folder: Path, objects: dict[str, Any]
) -> None:
    heard: list[int] = []
    storage = str(folder / "memory.db")

    def stopping(study: autocompress.Study, record: Any) -> None:
        assert study.records()[record.candidate.number] == record, "it was stored before it is told"
        heard.append(record.candidate.number)
        raise KeyboardInterrupt

    here: Callable[..., float] = lambda outputs, targets: mean_recall(outputs, targets)  # noqa: E731 - of a notebook
    device = {"device": str(folder / "board.yaml")}
    with pytest.raises(autocompress.AutocompressError, match="go on with `autocompress resume memory`"):
        autocompress.run(SPEC | device, **objects, score=here, callbacks=[stopping], storage=storage, workers=0)
    with pytest.raises(SpecError, match=r"was given its score from Python.*resume\('memory', score=\.\.\.\)"):
        autocompress.resume("memory", storage=storage, workers=0)
    with autocompress.resume("memory", storage=storage, workers=0, score=here, callbacks=[lambda _, __: None]) as study:
        assert heard == [0]
        (verified,) = study.pareto().verified
        assert verified.metrics["quality"].unit == "scored"
        assert isinstance(study.records()[0].outcome, Evaluated)
        picked = study.pick(max_quality_drop=0.5, out=folder / "picked")
        assert picked.digest == verified.digest
    report = autocompress.verify_folder(folder / "picked", rounds=2, seconds=0.1)
    assert report.ok
    assert "scored is a function of yours, and is not asked here" in report.lines


def test_what_a_mapping_leaves_out_is_guessed_from_model_and_rows(folder: Path, objects: dict[str, Any]) -> None:
    said: list[str] = []
    frame = objects["data"].rename(columns={"text": "Review body", "label": "About?"})
    with Store.open(str(folder / "guessed.db")) as store:
        given = Given(objects["model"], objects["tokenizer"], frame)
        asked = {"budget": {"trials": 5}, "objectives": {"quality": "maximize", "macs": "minimize"}}
        spec, _ = settled(asked, given, store, name=None, note=said.append)
        again, _ = settled(asked, given, store, name="other", note=said.append)
        (kept,) = (store.artifacts / ".models").iterdir()
    assert (spec.model.kept, again.name) == (kept.name, "other"), "what is the same is kept once"
    assert (spec.task.kind, spec.budget.trials, list(spec.objectives)) == (
        "text-classification",
        5,
        ["quality", "macs"],
    )
    assert (spec.task.data.text, str(spec.task.data)[:22]) == ("text", "rows given from Python")
    assert "label: 'About?'" in "\n".join(said)


def test_objects_may_stand_in_the_mapping_and_a_function_is_kept_by_its_name(
    folder: Path, objects: dict[str, Any]
) -> None:
    task = {"data": {"train": objects["data"], "test": objects["data"][:9]}, "metric": mean_recall, "max_length": 16}
    asked = SPEC | {"device": "host", "model": objects["model"], "tokenizer": objects["tokenizer"], "task": task}
    with Store.open(str(folder / "mapping.db")) as store:
        spec, given = settled(asked, Given(), store, name=None, note=print)
    assert given.score is mean_recall
    assert spec.task.scored == MetricSpec("mean_recall", function="tests.test_given_objects:mean_recall")
    assert config.study_from_json(config.spec_to_json(spec), operators=OPERATORS) == spec
    assert list(spec.task.data.parts) == ["train", "test"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "bert"}, "model: must be an object of transformers, with `save_pretrained`, got str"),
        ({"tokenizer": 3}, "tokenizer: belongs to a model in memory; give `model=` too"),
        ({"score": 3}, "score: must be a function, or `module:name` of one, got int 3"),
        ({"score": "nowhere"}, "score: must read `module:name`"),
        ({"score": "tests.nowhere:f"}, r"score: tests.nowhere:f cannot be imported \(ModuleNotFoundError.*PYTHONPATH"),
        ({"score": "tests.test_given_objects:SPEC"}, "is dict, and no function"),
    ],
)
def test_what_is_not_what_it_is_given_as_is_refused(given: dict[str, Any], message: str, folder: Path) -> None:
    study = SPEC | {
        "device": "host",
        "model": {"path": str(folder / "model")},
        "task": {"data": {"source": "texts.csv"}},
    }
    with (
        Store.open(str(folder / "wrong.db")) as store,
        pytest.raises((SpecError, NotFoundError), match=message),
    ):
        settled(study, Given(**given), store, name=None, note=print)


def test_objects_where_a_study_wants_plain_values_and_no_study_at_all_are_refused(folder: Path) -> None:
    with Store.open(str(folder / "wrong.db")) as store:
        with pytest.raises(SpecError, match="the study: budget: holds what a file cannot"):
            settled({"budget": {"trials": {3}}}, Given(), store, name=None, note=print)
        with pytest.raises(SpecError, match="without one give both `model=` and `data=`"):
            settled(None, Given(), store, name=None, note=print)


def test_only_what_another_process_finds_is_kept_by_a_name() -> None:
    assert kept_as(mean_recall, "score") == "tests.test_given_objects:mean_recall"
    assert kept_as(lambda outputs, targets: 0.0, "score") == GIVEN


def test_a_score_that_is_no_number_is_named_with_what_it_was_given() -> None:
    rows = Examples(("a", "b"), (np.array([1]), np.array([1])), np.array([0, 1]), 0)
    outputs = np.eye(2, dtype=np.float32)
    with pytest.raises(SpecError, match=r"f must return a number for outputs \[2, 2\] and targets \[2\]; .*TypeError"):
        with_score(CLASSES, "f", lambda outputs, targets: None).score(outputs, rows)
    with pytest.raises(SpecError, match="f must return a finite number, got nan"):
        with_score(CLASSES, "f", lambda outputs, targets: float("nan")).score(outputs, rows)
    found = with_score(CLASSES, "f", mean_recall)
    assert found.score(outputs, rows).value == 1
    assert found.drop(outputs[::-1], outputs, rows).value == 1
