"""The main job on recordings: the encoder of a whole Whisper is searched, trained, traced, picked, verified, asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autocompress
from autocompress.deploy.measure import measure
from autocompress.errors import SpecError
from autocompress.exported.folder_check import verify_folder
from autocompress.study.study import Study
from tests.tasks.given_audio import TONES, tone, write_audio_study, write_tones, write_whisper

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A study of recordings of 0.3 seconds, of a model that was made for 2."""
    place = tmp_path_factory.mktemp("tones")
    write_tones(place / "tones")
    write_whisper(place / "model")
    spec = write_audio_study(place, audio_seconds=0.3)
    study = autocompress.run(spec, storage=str(place / "autocompress.db"), workers=0)
    study.pick(maximize="quality", out=place / "picked")
    return place, study


def test_a_picked_model_of_recordings_is_what_was_measured(studied: tuple[Path, Study]) -> None:
    place, study = studied
    (member,) = (one for one in study.pareto().to_json()["members"] if one["verified"])
    assert member["metrics"]["parity"]["value"] < 1e-4
    report = verify_folder(place / "picked", rounds=3)
    assert report.ok, report.problems
    assert report.agreement == 1
    assert "(12 recordings put in)" in "\n".join(report.lines)
    about = json.loads((place / "picked" / "manifest.json").read_text())
    assert about["baseline"]["quality"]["value"] > 0.9, "tones are told apart"
    assert about["workload"]["length"] == 15 == about["task"]["positions"], "30 frames, two to a position"
    (readings,) = measure(place / "picked", rounds=5)["models"].values()
    assert readings["median_ms"] > 0
    assert "A compressed classifier of recordings" in (place / "picked" / "README.md").read_text()


def test_it_answers_paths_bytes_arrays_and_mappings_alike(studied: tuple[Path, Study]) -> None:
    place, _ = studied
    model, path = autocompress.load(place / "picked"), place / "tones" / "low" / "000.wav"
    answer = model(path)
    assert set(answer.shares) == set(TONES)
    heard = {"array": tone(0)[1] / 32768, "sampling_rate": 8000}
    assert model([str(path), path.read_bytes(), heard]) == [answer] * 3
    alike = model(np.zeros(4800, np.float32))
    assert alike == model({"array": np.zeros(4800), "sampling_rate": 16_000})
    with pytest.raises(SpecError, match=r"recording 1: .*none\.wav: no such file"):
        model([path, place / "none.wav"])
    with pytest.raises(SpecError, match="this model reads recordings, which have no tokens"):
        model.tokens(["low"])


def test_its_example_needs_numpy_and_a_runtime_alone(studied: tuple[Path, Study]) -> None:
    place, _ = studied
    path = place / "tones" / "high" / "002.wav"
    code = "import runpy, sys; sys.modules.update(dict.fromkeys(('autocompress', 'torch', 'transformers', 'PIL'))); "
    code += "sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = [sys.executable, "-c", code, str(place / "picked" / "example.py")]
    done = subprocess.run([*asked, str(path)], capture_output=True, text=True, check=True, cwd="/")
    answer = autocompress.load(place / "picked")(path)
    assert done.stdout == f"{answer.label}  {answer.shares[answer.label]:.3f}  {path}\n"
    refused = subprocess.run([*asked, __file__], capture_output=True, text=True, cwd="/")
    assert refused.stderr.startswith(f"{__file__}: is no WAV file")
    assert not (place / "picked" / "__pycache__").exists()
