"""Cross-fitting after verification: what folds of the training rows tell of a finalist, stopped and gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autocompress
from autocompress import config
from autocompress.core.certified import CERTIFIED_FACT, Certified, certified_of
from autocompress.core.training_spec import CertifySpec
from autocompress.deploy.folder import CARD, read_manifest
from autocompress.errors import IntegrityError, Interrupted, NotFoundError, SpecError
from autocompress.exported.proof import prove
from autocompress.finalists.folds import Clock, TimeUpError
from autocompress.operators import OPERATORS
from autocompress.report import as_markdown, pick
from autocompress.report.bounds import PickBounds
from autocompress.report.notes import notes
from autocompress.study.study import SilentObserver
from autocompress.tasks import TextClassification
from autocompress.tasks.folding import folding_problem, folds, without_fold
from tests.given_study import BOARD, CLASSES, CUTS, write_data, write_model, write_study

BOUND = "4%"


class Listener(SilentObserver):
    """Hears notes, and is interrupted where a training has these words."""

    def __init__(self, stop: str = "") -> None:
        self.notes: list[str] = []
        self._stop = stop

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: float, total: float | None, text: str = "") -> None:
        if self._stop and self._stop in text:
            raise KeyboardInterrupt


def given(folder: Path, **certify: Any) -> Path:
    write_data(folder / "texts.csv", rows=120)
    write_model(folder / "model", head=False)
    (folder / "board.yaml").write_text(BOARD)
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}
    return write_study(
        folder,
        device="board.yaml",
        space=CUTS,
        objectives={"quality": "maximize", "size_mb": "minimize"},
        budget={"trials": 6},
        elastic={"steps": 4, "batch_size": 16},
        finalists={"count": 2, "from_teacher": 0.5, "training": training, "certify": certify},
    )


def certified(study: autocompress.Study) -> Certified:
    found = certified_of(study.row.facts)
    assert found is not None
    return found


def widen(study: autocompress.Study, minutes: float) -> None:
    """As if the study had asked for more minutes."""
    asked = study.spec.finalists
    assert asked.certify is not None
    longer = replace(study.spec, finalists=replace(asked, certify=replace(asked.certify, minutes=minutes)))
    with study.store.lease(study.name) as lease:
        study.store.respecify(lease, config.spec_to_json(longer), facts={})
        study.store.set_state(lease, "interrupted")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[autocompress.Study, list[str]]]:
    """Complete, but that there was no time to certify anything."""
    folder, listener = tmp_path_factory.mktemp("certified"), Listener()
    path = given(folder, folds=2, minutes=1e-6, drop=BOUND)
    with autocompress.run(path, storage=str(folder / "own.db"), workers=0, observer=listener) as study:
        yield study, listener.notes


@pytest.fixture(scope="module")
def study(begun: tuple[autocompress.Study, list[str]]) -> autocompress.Study:
    """Certified, until it was interrupted in a training of the second fold."""
    done, heard = begun
    assert done.row.state == "complete"
    assert "certification: no more fits into its 1e-06 minutes" in heard
    assert any("was certified on none of the folds" in note for note in heard)
    assert certified(done).steps == ()
    assert any(" a drop of 0.04 is undecided" in note for note in heard)
    with pytest.raises(NotFoundError, match="of the 96 training rows .*minutes or more"):
        pick(done.store, done.name, bounds=PickBounds(max_quality_drop=BOUND), minimize="size_mb")
    widen(done, 5.0)
    with pytest.raises(Interrupted, match="go on with `autocompress resume mine`"):
        done.resume(workers=0, observer=Listener(" on fold 2"))
    assert done.store.study(done.name).state == "interrupted"
    assert [step.fold for step in certified(done).steps].count(2) == 1, "the teacher's, which was in time"
    return done


def test_what_was_judged_is_kept_over_an_interruption_and_done_once(study: autocompress.Study) -> None:
    before = certified(study).steps
    listener = Listener()
    study.resume(workers=0, observer=listener)
    after = certified(study)
    assert study.row.state == "complete"
    assert after.steps[: len(before)] == before
    assert len({(step.fold, step.candidate) for step in after.steps}) == len(after.steps) > len(before)
    assert {step.fold for step in after.steps} == {1, 2}
    assert after.seconds >= sum(step.seconds for step in after.steps)
    assert any(": certified on 2 of 2 folds; expected to lose " in note for note in listener.notes)
    assert study.store.check(study.name) == []


def test_every_word_about_a_finalist_counts_the_folds(study: autocompress.Study) -> None:
    study.resume(workers=0)
    report = study.pareto()
    folded = [one for one in report.verified if one.expected and one.expected.folds == (2, 2)]
    assert folded
    for one in folded:
        assert one.expected is not None
        assert one.expected.by_rows is not None
        assert one.expected.uncertain < one.expected.by_rows
        assert one.to_json()["certified"] == {"folds": 2, "of": 2}
    shown = " and ".join(f"{one.digest[:8]} on 2 of 2" for one in folded)
    assert f"Certified by folds of the training rows too: {shown}." in notes(report)
    assert "Certified by folds" in as_markdown(report)
    picked = pick(study.store, study.name, candidate=folded[0].digest, bounds=PickBounds(max_quality_drop="90%"))
    assert "by 24 held-out rows and 2 of 2 folds of the training rows." in picked.why
    assert picked.to_json()["certified"] == {"folds": 2, "of": 2}


def test_folders_say_what_is_expected_now(study: autocompress.Study, tmp_path: Path) -> None:
    study.resume(workers=0)
    one = next(one for one in study.pareto().verified if one.certified)
    assert one.expected is not None
    folder = study.export(one.digest, tmp_path / "out")
    told = read_manifest(folder).metrics["expected_drop"]
    assert told["value"] == pytest.approx(one.expected.value)
    assert told["interval"] == pytest.approx(one.expected.interval)
    assert f"{told['value']:.4g}" in (folder / CARD).read_text("utf-8")
    assert prove(folder, study.store).proved


def test_a_fold_that_was_changed_is_an_error_and_never_a_silent_rule(study: autocompress.Study) -> None:
    step = certified(study).steps[-1]
    path = study.store.artifacts / step.path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    try:
        with pytest.raises(IntegrityError, match="not what the study's database keeps .* pick by --as-seen"):
            pick(study.store, study.name, bounds=PickBounds(max_quality_drop=BOUND), minimize="size_mb")
    finally:
        path.write_bytes(content)


def test_what_was_certified_is_read_as_it_was_stored(study: autocompress.Study) -> None:
    known = certified(study)
    assert known.step(1, "another") is None
    assert known.step(1, known.steps[0].candidate) == known.steps[0]
    assert certified_of({CERTIFIED_FACT: json.loads(json.dumps(known.to_json()))}) == known
    assert certified_of({}) is None


def test_a_teacher_that_is_taken_as_it_is_cannot_be_folded(tmp_path: Path) -> None:
    path = given(tmp_path, folds=2)
    write_model(tmp_path / "model", head=True)
    with pytest.raises(SpecError, match=r"finalists\.certify: .* nobody knows which rows it learned from"):
        autocompress.run(path, storage=str(tmp_path / "own.db"), workers=0)


def test_too_few_rows_for_so_many_folds_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    path = given(tmp_path, folds=12)
    with pytest.raises(SpecError, match=r"finalists\.certify\.folds: 12 folds of 96 .* have fewer than 10 each"):
        autocompress.run(path, storage=str(tmp_path / "own.db"), workers=0)


# Folds


def task(labels: list[int], texts: list[int]) -> TextClassification:
    from autocompress.tasks import Examples

    tokens = tuple(np.array([2, 5 + number, 3]) for number in texts)
    rows = Examples(tuple(f"text {number}" for number in texts), tokens, np.array(labels), pad=0)
    return replace(CLASSES, splits=dict.fromkeys(("train", "validation", "test"), rows))


def test_folds_hold_every_row_once_and_their_share_of_every_class_and_keep_alike_rows_together() -> None:
    labels, texts = [0] * 60 + [1] * 30 + [2] * 10, [*range(95), *range(5)]
    made = task(labels, texts)
    parts = folds(made, 5, seed=0)
    assert sorted(np.concatenate(parts)) == list(range(100))
    for number, part in enumerate(parts):
        assert set(np.array(labels)[part]) == {0, 1, 2}
        others = without_fold(made, part)
        learned = {ids.tobytes() for ids in others.examples("train").tokens}
        judged = {ids.tobytes() for ids in others.examples("test").tokens}
        assert not learned & judged, number
        assert len(others.examples("train")) + len(others.examples("test")) == 100
        assert others.examples("validation") is made.examples("validation")
    assert [part.tolist() for part in folds(made, 5, seed=0)] == [part.tolist() for part in parts]
    assert [part.tolist() for part in folds(made, 5, seed=1)] != [part.tolist() for part in parts]


def test_classes_that_folds_cannot_hold_are_named() -> None:
    rare = task([0] * 60 + [1] * 57 + [2] * 3, list(range(120)))
    assert folding_problem(rare, 3) == ""
    assert "of the training texts 'c' has 3; take fewer folds, or give more texts of these" in folding_problem(rare, 5)
    assert "20 folds of 120 different training texts have fewer than 10" in folding_problem(rare, 20)


# Time


def test_a_training_that_is_too_slow_for_the_time_left_ends_at_once() -> None:
    times, told = iter([0.0, 1.0, 30.0, 80.0]), list[tuple[float, str]]()
    hear = Clock(100.0, lambda share, text: told.append((share, text)), times.__next__).training("a student")
    hear(0.5)  # what an earlier run did took no time of this one
    hear(0.75)
    with pytest.raises(TimeUpError):
        hear(0.8)
    assert told[0] == (0.5, "a student")


def test_a_training_ends_when_the_time_is_up() -> None:
    times = iter([0.0, 99.0, 101.0, 102.0])
    clock = Clock(100.0, lambda *_: None, times.__next__)
    hear = clock.training("a student")
    hear(0.98)
    with pytest.raises(TimeUpError):
        hear(0.99)
    with pytest.raises(TimeUpError):
        clock.check()


# As it is asked for


def test_the_bound_is_a_point_unless_another_is_given() -> None:
    assert (CertifySpec().bound, CertifySpec(drop=0.02).bound) == (0.01, 0.02)


@pytest.mark.parametrize(
    ("certify", "message"),
    [
        ({"folds": 1}, r"finalists\.certify\.folds: `2 <= folds <= 20` must hold, got 1"),
        ({"folds": 21}, r"finalists\.certify\.folds: `2 <= folds <= 20` must hold, got 21"),
        ({"folds": 2.5}, r"finalists\.certify\.folds: must be a whole number"),
        ({"minutes": 0}, r"finalists\.certify\.minutes: must be > 0"),
        ({"minutes": 1e9}, r"finalists\.certify\.minutes: must lie between 0 and 1,000,000"),
        ({"drop": 1}, r"finalists\.certify\.drop: is 1 a share or hundredths\? write `1%`"),
        ({"drop": "-1%"}, r"finalists\.certify\.drop: must be >= 0"),
        ({"fold": 5}, r"finalists\.certify\.fold: unknown key; did you mean 'folds'\?"),
        (True, r"finalists\.certify: must be a mapping"),
    ],
)
def test_what_cannot_be_asked_for_is_told(certify: Any, message: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, finalists={"certify": certify})
    with pytest.raises(SpecError, match=message):
        config.load_study(path, operators=OPERATORS)


def test_a_metric_without_hundredths_needs_a_bound_of_its_own(tmp_path: Path) -> None:
    data = {"source": {"path": "texts.csv"}, "format": "csv"}
    task = {"kind": "regression", "metric": "rmse", "max_length": 16, "data": data}
    with pytest.raises(SpecError, match="`finalists.certify.drop` must be given, in the unit of -rmse"):
        config.load_study(write_study(tmp_path, task=task, finalists={"certify": {}}), operators=OPERATORS)
    path = write_study(tmp_path, task=task, finalists={"certify": {"drop": 2.5}})
    certify = config.load_study(path, operators=OPERATORS).finalists.certify
    assert certify is not None
    assert certify.bound == 2.5


def test_a_study_that_certifies_nothing_is_stored_as_before(tmp_path: Path) -> None:
    plain = config.load_study(write_study(tmp_path), operators=OPERATORS)
    assert "certify" not in config.spec_to_json(plain)["finalists"]
    asked = config.load_study(write_study(tmp_path, finalists={"certify": {"folds": 4}}), operators=OPERATORS)
    stored = config.spec_to_json(asked)
    assert stored["finalists"]["certify"] == {"folds": 4, "minutes": 20.0, "drop": None}
    assert config.study_from_json(stored, operators=OPERATORS) == asked
