"""`demo`: real data, a real model and the whole way, with nothing of the user's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import autocompress
from autocompress.assets import check_model_folder
from autocompress.config import spec_to_json
from autocompress.errors import SpecError
from autocompress.store import Store
from autocompress.study.beginning import begin
from autocompress.study.demo import SETTINGS, Alike, Demo
from autocompress.tasks.digits import digits_by_split
from autocompress.teacher.small_vit import answered
from tests.commands import command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Trained for a moment alone."""
    found = Demo(tmp_path_factory.mktemp("demo") / "demo")
    told: list[tuple[float, float]] = []
    found.make(lambda *at: told.append(at), epochs=6)
    assert told[-1] == (len(told), len(told))
    return found


@pytest.mark.expectation(2)
def test_its_data_are_all_digits_of_scikit_learn_each_in_one_split(made: Demo) -> None:
    files = sorted(made.digits.rglob("*.png"))
    assert len(files) == 1797
    assert Counter(path.parent.parent.name for path in files) == {"train": 898, "validation": 360, "test": 539}
    assert {path.parent.name for path in files} == set("0123456789")
    test = digits_by_split()["test"]
    first = made.digits / "test" / str(test.labels[0]) / "0000.png"
    assert np.array_equal(np.asarray(Image.open(first)), test.pixels[0])
    assert test.pixels.max() == 255


@pytest.mark.expectation(2)
def test_its_checkpoint_is_one_like_any_other_and_has_learned_something(made: Demo) -> None:
    check_model_folder(made.checkpoint)
    images = sorted((made.digits / "test").rglob("*.png"))[::9]
    right = sum(told == path.parent.name for told, path in zip(answered(made.checkpoint, images), images, strict=True))
    assert right > len(images) / 4, "a tenth is chance"
    assert made.is_made()


@pytest.mark.expectation(2)
def test_its_study_is_what_compress_would_guess_and_smaller(made: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder.parent)
    begun = begin(Demo(Path("demo")).asked("shown"), base=Path.cwd())
    assert (begun.spec.name, begun.spec.task.kind, begun.spec.budget.minutes) == ("shown", "image-classification", None)
    assert begun.spec.budget.trials == int(SETTINGS["budget.trials"])
    assert begun.tree["model"] == {"path": "demo/checkpoint"}, "written as from here: all may be moved together"
    told = {one.what: one for one in begun.reasons}
    assert told["model"].why == "it is fine-tuned already, and taken as it is"
    assert told["splits"].value == "train, validation, test"
    json.dumps(spec_to_json(begun.spec))


def test_a_folder_of_somebody_s_is_left_alone(made: Demo, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert not Demo(tmp_path / "mine").is_made(), "it is empty"
    (tmp_path / "mine" / "notes.txt").write_text("mine\n")
    with pytest.raises(SpecError, match=r"--out: .*mine is there and was not made by the demo; name a folder"):
        Demo(tmp_path / "mine").is_made()
    done = command(tmp_path, "demo", "--out", "mine")
    assert (done.returncode, sorted(path.name for path in (tmp_path / "mine").iterdir())) == (2, ["notes.txt"])


def test_what_is_alike_is_told_in_words() -> None:
    assert str(Alike(539, 530, 520, 515)) == (
        "530 of 539 test digits are answered as the checkpoint answers them; right are 515, and 520 of the "
        "checkpoint's answers"
    )


@pytest.mark.long
@pytest.mark.expectation(2)
def test_all_of_it_ends_in_a_folder_that_answers_and_the_same_command_finds_it(tmp_path: Path) -> None:
    done = command(tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    assert "its figures say nothing about your model" in done.stderr
    assert "your own:" in done.stderr
    assert "verified in demo/picked:" in done.stdout
    assert "test digits are answered as the checkpoint answers them" in done.stdout
    with Store.open(str(tmp_path / "autocompress.db")) as store:
        assert [(study.name, study.state) for study in store.studies()] == [("demo", "complete")]
    images = sorted((tmp_path / "demo" / "digits" / "test").rglob("*.png"))
    answers = autocompress.load(tmp_path / "demo" / "picked")(images)
    right = sum(one.label == path.parent.name for one, path in zip(answers, images, strict=True))
    assert right > 0.9 * len(images)
    again = command(tmp_path, "demo", "--out", "demo", "--name", "demo", "--workers", "0")
    assert again.returncode == 0, again.stderr
    assert "study 'demo' is complete already: nothing is run again" in again.stderr
