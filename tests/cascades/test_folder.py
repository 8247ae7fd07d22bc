"""Two models in one folder: picked from the command line, answering by either, and checked at any time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autocompress
from autocompress.cli import main
from autocompress.deploy.cascade import ExportedCascade
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.exported.cascade_check import verify_cascade
from autocompress.exported.fresh_data import measure_fresh
from autocompress.store import Store
from tests.cascades.given import LARGE, SMALL, STUDY
from tests.given_study import WORDS

TEXTS = ["we saw the oven and some soup", "the team", "", "goal " * 40, "a hotel 7", "more spice and bread"]


@pytest.fixture(scope="module")
def picked(pair: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("picked") / "cascade"
    assert command(pair, "pick", STUDY, "--cascade", "--max-quality-drop", "40%", "--out", str(out)) == 0
    return out


@pytest.fixture
def folder(picked: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(picked, tmp_path / "cascade"))


def command(store: Store, *arguments: str) -> int:
    return main([*arguments, "--storage", store.url])


def texts_of(store: Store) -> list[str]:
    """The lines of the study's own file."""
    return (store.artifacts.parent / "texts.csv").read_text(encoding="utf-8").splitlines()


def hard_texts(picked: Path, store: Store, folder: Path) -> Path:
    """A file of those that the small model is unsure of."""
    head, *known = texts_of(store)
    cascade = autocompress.load(picked)
    assert isinstance(cascade, ExportedCascade)
    unsure = [one for one in known if cascade.handed_on(one.rpartition(",")[0])]
    assert len(unsure) > 5
    (folder / "hard.csv").write_text("\n".join([head, *unsure]))
    return folder / "hard.csv"


def flipped(path: Path) -> None:
    """One bit of a byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def example(folder: Path, texts: Sequence[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(folder / "example.py"), *texts], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_folder_holds_both_models_and_says_what_makes_them_one(picked: Path) -> None:
    about = json.loads((picked / "manifest.json").read_text())
    assert (about["kind"], about["study"]) == ("cascade", STUDY)
    assert (about["small"]["digest"], about["large"]["digest"]) == (SMALL.digest, LARGE.digest)
    assert {"small/model.onnx", "small/manifest.json", "large/manifest.json", "example.py"} <= about["files"].keys()
    share, metrics = about["share"], about["metrics"]
    assert share["rows"] == 280
    assert share["interval"][0] < share["value"] < share["interval"][1]
    assert metrics["latency_ms"]["value"] == pytest.approx(1 + 4 * share["value"])
    assert metrics["latency_p99_ms"]["value"] == metrics["latency_worst_ms"]["value"] == 5
    sizes = [(picked / place / "model.onnx").stat().st_size / 1e6 for place in ("small", "large")]
    assert metrics["size_mb"]["value"] == pytest.approx(sum(sizes))
    assert about["data"] == {"format": "csv", "text": "text", "label": "label", "encoding": "utf-8"}
    card = (picked / "README.md").read_text()
    assert f"{100 * share['value']:.1f} % of texts" in card
    assert "latency, worst case | 5 ms" in card
    assert "## When it fails" in card


def test_its_card_tells_the_hub_what_both_together_reach(picked: Path) -> None:
    from huggingface_hub import ModelCard

    about, card = json.loads((picked / "manifest.json").read_text()), (picked / "README.md").read_text()
    told = ModelCard(card).data
    assert (told.pipeline_tag, told.library_name, told.base_model) == ("text-classification", "onnx", None)
    assert (told.license, told.model_name) == ("apache-2.0", f"{STUDY}-{about['digest'][:8]}")
    assert told.tags == ["onnx", "onnxruntime", "cascade", "model-compression", "autocompress"]
    quality, drop = about["metrics"]["quality"], about["metrics"]["quality_drop"]
    ends = "{:.4g} to {:.4g}".format(*drop["interval"])
    (found,) = (one for one in told.eval_results if one.dataset_split == "validation")
    assert (found.dataset_name, found.metric_value) == ("texts.csv", quality["value"])
    assert found.metric_name == f"accuracy ({drop['value']:.4g} below the uncompressed model, 95 % interval {ends})"
    assert re.search(r"base model: \S+; licence apache-2\.0, as its card says", card)


def test_python_picks_the_same(picked: Path, pair: Store) -> None:
    study = autocompress.Study(pair, STUDY)
    found = study.pick_cascade(max_quality_drop="40%")
    assert found.cascade.digest == json.loads((picked / "manifest.json").read_text())["digest"]
    with pytest.raises(NotFoundError, match="latency"):
        study.pick_cascade(max_quality_drop="40%", max_latency_ms=0.5)
    with pytest.raises(SpecError, match="say what it may lose"):
        study.pick_cascade()


def test_either_model_answers_as_it_does_alone(picked: Path) -> None:
    cascade = autocompress.load(picked)
    assert isinstance(cascade, ExportedCascade)
    handed = cascade.handed_on(TEXTS)
    rows = ["we saw " + word for words in WORDS.values() for word in words]
    every = cascade.handed_on(rows)
    assert 0 < every.sum() < len(every)
    for texts, unsure in ((TEXTS, handed), (rows, every)):
        small, large = cascade.small.logits(texts), cascade.large.logits(texts)
        about = cascade.manifest
        alone = np.where(unsure[:, None], large / about.large.temperature, small / about.small.temperature)
        assert np.abs(cascade.logits(texts) - alone).max() < 1e-5
    assert cascade(TEXTS[0]) == cascade(TEXTS)[0]
    assert cascade([]) == []
    assert cascade.logits(TEXTS[0]).shape == (1, 3)
    nothing: Any = [TEXTS[0], 3.5]
    with pytest.raises(SpecError, match="text 1: must be a str"):
        cascade(nothing)


def test_the_example_answers_by_either_and_says_no_more_than_a_single_models(picked: Path) -> None:
    texts = [*TEXTS, *("we saw " + word for words in WORDS.values() for word in words)]
    cascade = autocompress.load(picked)
    assert isinstance(cascade, ExportedCascade)
    handed = cascade.handed_on(texts)
    assert 0 < handed.sum() < len(texts)
    for text, answer, line in zip(texts, cascade(texts), example(picked, texts), strict=True):
        assert line == f"{answer.label}  {answer.shares[answer.label]:.3f}  {text}"


def test_both_models_are_verified_and_what_they_do_as_one_is_measured_again(picked: Path) -> None:
    found = verify_cascade(picked, rounds=3, seconds=1)
    assert found.ok
    assert found.small.ok
    assert found.large.ok
    assert found.texts == 100
    assert found.handed_on == found.promised_handed_on
    assert found.quality == found.promised_quality
    assert found.walked is not None
    assert 0 < found.walked.mean_ms <= found.walked.worst_ms
    assert found.latency_ms == pytest.approx(found.small.latency_ms + found.share * found.large.latency_ms)
    said = "\n".join(found.lines)
    assert re.search(r"small: \d+ files match", said)
    assert "is promised for texts of their kind" in said
    assert json.dumps(found.to_json())


def test_texts_of_another_kind_are_warned_of(picked: Path, pair: Store, tmp_path: Path) -> None:
    hard = hard_texts(picked, pair, tmp_path)
    found = measure_fresh(picked, hard)
    assert found.share == 1.0
    assert "more texts are handed on than promised (100.0%" in found.warnings[0]
    assert "Warning: more texts" in "\n".join(found.lines)


@pytest.mark.long
def test_verify_tells_all_of_that(
    picked: Path, pair: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(pair, "verify", str(picked), "--data", str(hard_texts(picked, pair, tmp_path)), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["proved"]
    assert found["data"]["share"] == 1.0


@pytest.mark.parametrize("name", ["small/model.onnx", "large/model.onnx", "large/manifest.json", "example.py"])
def test_one_flipped_byte_is_found(name: str, folder: Path, pair: Store, capsys: pytest.CaptureFixture[str]) -> None:
    flipped(folder / name)
    assert command(pair, "verify", str(folder)) == 7
    assert f"{folder / name}" in capsys.readouterr().err
    if name != "example.py":
        with pytest.raises(IntegrityError, match="changed since it was exported"):
            autocompress.load(folder)


def test_a_threshold_that_was_edited_is_found(folder: Path) -> None:
    about = json.loads((folder / "manifest.json").read_text())
    about["threshold"]["doubt"] /= 2
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(IntegrityError, match="its threshold, a temperature or a model is not the one it was exported"):
        verify_cascade(folder)
    about["threshold"]["doubt"] = "none"
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(IntegrityError, match=r"manifest\.json: damaged"):
        autocompress.load(folder)


def test_a_model_that_is_gone_is_missed(folder: Path) -> None:
    shutil.rmtree(folder / "large")
    with pytest.raises(NotFoundError, match=r"large/manifest\.json missing; export the cascade again"):
        autocompress.load(folder)


def test_what_wants_a_single_model_says_which_there_are(folder: Path, pair: Store) -> None:
    with pytest.raises(SpecError, match="holds a cascade of two models; give one of them"):
        autocompress.load_torch(folder)
    assert autocompress.load_torch(folder / "small") is not None
    assert autocompress.load(folder / "large")("the goal").label in WORDS
    assert command(pair, "measure", str(folder)) == 2


def test_an_earlier_export_is_replaced_and_what_was_added_to_it_stays(folder: Path, pair: Store) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "small" / "weights.safetensors").unlink()
    assert command(pair, "pick", STUDY, "--cascade", "--max-quality-drop", "40%", "--out", str(folder)) == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "small" / "weights.safetensors").exists()
    (folder / "large" / "model.onnx").unlink()
    assert command(pair, "pick", STUDY, "--cascade", "--max-quality-drop", "40%", "--out", str(folder)) == 2


def test_fresh_texts_of_the_same_kind_are_measured_and_give_no_cause_to_warn(
    picked: Path, tmp_path: Path, pair: Store
) -> None:
    (tmp_path / "same.csv").write_text("\n".join(texts_of(pair)[:300]))
    same = measure_fresh(picked, tmp_path / "same.csv")
    assert same.texts == 299
    assert not [one for one in same.warnings if "handed on than" in one or "accuracy" in one]
    assert same.share_interval[0] < same.promised_share < same.share_interval[1]
    assert same.quality_interval[0] <= same.quality <= same.quality_interval[1]
    assert f"{tmp_path / 'same.csv'}: 299 labelled texts" in same.lines


def test_fresh_texts_that_do_not_fit_are_refused(picked: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"--data: .*gone\.csv is not there"):
        measure_fresh(picked, tmp_path / "gone.csv")
    (tmp_path / "strange.csv").write_text("text,label\nthe goal,sports\nthe moon,stars\n")
    with pytest.raises(SpecError, match=r"labels \['stars'\] are unknown to the model, which knows \['food'"):
        measure_fresh(picked, tmp_path / "strange.csv")
