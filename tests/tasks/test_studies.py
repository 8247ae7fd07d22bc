"""A study of every task runs to a verified pick whose folder answers raw inputs, from Python and by itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autocompress
from autocompress.certainty import doubts_in, from_bytes
from autocompress.deploy.answers import Answer, GivenLabels
from autocompress.deploy.measure import measure
from autocompress.report.attention_section import AttentionSection
from tests.given_study import BOARD, write_study
from tests.tasks.given import row, write_pair_model, write_rows
from tests.test_longer_studies import Notes

KINDS = ("sentence-pairs", "regression", "multi-label", "sentence-embeddings", "token-classification")
LONG = ("regression", "multi-label")
QUICK = {
    "budget": {"trials": 2},
    "elastic": {"steps": 0},
    "finalists": {"count": 1, "training": {"epochs": 1}, "transfer": {"recombined": 1}},
    "teacher": {"epochs": 1, "accept_poor": True},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    write_pair_model(folder / "model")
    return folder / "model"


def said(folder: Path, given: list[str]) -> str:
    """What the folder's example prints."""
    command = [sys.executable, str(folder / "example.py"), *given]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_row_scores(done: autocompress.Study, digest: str) -> None:
    """The study keeps what each row adds to the scores of the picked model and of the baseline, for its owner alone,
    and does not export it."""
    for one in done.store.finalists(done.name):
        if one.candidate.number and one.candidate.digest != digest:
            continue
        assert one.row_scores is not None
        file = done.store.artifacts / one.row_scores.path
        assert hashlib.sha256(file.read_bytes()).hexdigest() == one.row_scores.sha256
        assert file.stat().st_mode & 0o777 == 0o600
        assert "row-scores" not in " ".join(artifact.path for artifact in one.exported)
        splits = from_bytes(file.read_bytes(), where=str(file))
        known = {measured.metric: measured.value for measured in one.measurements}
        assert splits["validation"].score() == pytest.approx(known["quality"], abs=1e-6)
        assert splits["test"].score() == pytest.approx(known["test_quality"], abs=1e-6)
        doubts = doubts_in(file.read_bytes(), where=str(file))
        assert (doubts is not None) == (done.row.resolved["task"]["kind"] == "sentence-pairs")
        assert doubts is None or list(map(len, doubts.splits.values())) == list(map(len, splits.values()))
    assert done.store.check(done.name) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind, marks=pytest.mark.long if kind in ("multi-label", "regression", "sentence-embeddings") else ()
        )
        for kind in KINDS
    ],
)
def test_a_study_of_a_task_ends_in_a_folder_that_answers(kind: str, model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", kind)
    task = {"kind": kind, "max_length": 24, "data": {"source": "rows.jsonl"}}
    (tmp_path / "board.yaml").write_text(BOARD)
    study = write_study(tmp_path, name="task", model={"path": str(model)}, task=task, device="board.yaml", **QUICK)
    with autocompress.run(study, storage=str(tmp_path / "task.db"), workers=0, observer=(told := Notes())) as done:
        picked = done.pick(out=str(tmp_path / "picked"))
        assert picked.member.relative.quality_drop_interval is not None
        facts = done.row.facts["task"]
        check_row_scores(done, picked.digest)
        adds_nothing = f"finalists.transfer.recombined adds nothing: {kind} has no single texts with one class each"
        assert told.notes.count(adds_nothing) == 1
        if kind in EXPLAINED:
            EXPLAINED[kind](done)
    folder = tmp_path / "picked"
    report = autocompress.verify_folder(folder, rounds=3)
    assert report.ok, report.problems
    assert report.metric == facts["metric"] == picked.member.metrics["quality"].unit
    assert report.agreement == 1.0
    asked = row(kind, ROW)
    texts = (asked["text"], asked["text_pair"]) if kind == "sentence-pairs" else asked["text"]
    texts = " ".join(texts) if kind == "token-classification" else texts
    exported = autocompress.load(folder)
    answer, several = exported(texts), exported([texts, texts])
    np.testing.assert_equal(several, [answer, answer])
    if kind == "sentence-pairs":
        alone = [sys.executable, str(folder / "example.py"), "a single text"]
        refused = subprocess.run(alone, capture_output=True, text=True, check=False)
        assert "this model reads pairs of texts: give the first and the second text of each" in refused.stderr
        assert (refused.returncode, refused.stdout) == (1, "")
    CHECKS[kind](answer, said(folder, [texts] if isinstance(texts, str) else list(texts)), exported, texts)
    about = json.loads((folder / "manifest.json").read_text())["task"]
    assert (about["kind"], about["metric"]) == (kind, facts["metric"])


ROW = 1000


def of_pairs(answer: Any, told: str, exported: Any, texts: Any) -> None:
    assert isinstance(answer, Answer)
    assert set(answer.shares) == {"other", "same"}
    assert told.startswith(f"{answer.label}  {answer.shares[answer.label]:.3f}  {texts[0]} / ")
    swapped = exported.logits((texts[1], texts[0]))
    assert np.abs(swapped - exported.logits(texts)).max() > 0, "which text comes first is told to the model"
    with pytest.raises(autocompress.AutocompressError, match="this model reads pairs of texts"):
        exported("a single text")


def of_amounts(answer: Any, told: str, exported: Any, texts: Any) -> None:
    assert isinstance(answer, float)
    assert told == f"{answer:.4g}  {texts}\n"


def of_labels(answer: Any, told: str, exported: Any, texts: Any) -> None:
    assert isinstance(answer, GivenLabels)
    assert all(answer.shares[label] > 0 for label in answer.labels)
    assert told.startswith(f"{answer.labels[0]} " if answer.labels else "no label")


def of_vectors(answer: Any, told: str, exported: Any, texts: Any) -> None:
    assert np.linalg.norm(answer) == pytest.approx(1, abs=1e-5)
    said = json.loads(told)
    assert said["text"] == texts
    np.testing.assert_allclose(said["vector"], answer, atol=2e-5)


def of_words(answer: Any, told: str, exported: Any, texts: Any) -> None:
    assert answer, "the tiny model finds something"
    lines = [f"{span.label}  {span.share:.3f}  {span.start}-{span.end}  {span.text}" for span in answer]
    assert told.splitlines() == lines
    assert all(texts[span.start : span.end] == span.text for span in answer)
    words = tuple(texts.split())
    by_word = exported(words)
    assert [(span.label, span.text) for span in by_word] == [(span.label, span.text) for span in answer]
    assert all(" ".join(words[span.start : span.end]) == span.text for span in by_word)
    np.testing.assert_equal(exported([list(words), texts]), [by_word, answer])
    with pytest.raises(autocompress.AutocompressError, match="must be a text, or a tuple or list of words"):
        exported([["a", 3]])


def explained_pairs(done: autocompress.Study) -> None:
    """As the model reads them: with what stands between the two."""
    told = {"text": ("the very first one", "another one"), "none": None}
    for given in told.values():
        (maps,) = [one for one in done.explain(text=given).sections if isinstance(one, AttentionSection)]
        assert maps.words.count("[SEP]") == 2
    assert maps.text.count(" / ") == 1, "a pair of the validation split, where none is given"
    with pytest.raises(autocompress.AutocompressError, match=r"--text: sentence-pairs reads pairs.*give --text twice"):
        done.explain(text="alone")


def explained_words(done: autocompress.Study) -> None:
    """And measured, alone and in a bundle."""
    (maps,) = [one for one in done.explain().sections if isinstance(one, AttentionSection)]
    assert len(maps.words) >= 2 + len(maps.text.split())
    with pytest.raises(autocompress.AutocompressError, match=r"--text: token-classification reads one text"):
        done.explain(text=("one", "two"))
    with tempfile.TemporaryDirectory() as place:
        bundle, digest = done.bundle(Path(place) / "bundle"), done.pick().digest
        assert digest in measure(bundle, rounds=5)["models"]
        assert digest in measure(done.export(digest, Path(place) / "picked"), rounds=5)["models"]


EXPLAINED = {"sentence-pairs": explained_pairs, "token-classification": explained_words}

CHECKS = {
    "sentence-pairs": of_pairs,
    "regression": of_amounts,
    "multi-label": of_labels,
    "sentence-embeddings": of_vectors,
    "token-classification": of_words,
}
