"""How recordings become what a model reads: as transformers' extractors do it, whatever they are stored as; or a
refusal."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from autocompress.anatomy.heads import at_length, config_in
from autocompress.anatomy.inputs import audio_length, audio_positions
from autocompress.core.data_spec import Asset, DataSpec, TaskSpec
from autocompress.core.workload import Workload
from autocompress.errors import SpecError
from autocompress.inputs.audio_reading import Sound, Unreadable, at_rate, features, preprocessing_of, read, sound
from autocompress.inputs.recordings import Recordings
from autocompress.tasks import task_named
from autocompress.tasks.audio_loading import audio_files
from tests.families.given import answers, inputs, live
from tests.tasks.given_audio import riff, tone, wav, write_tones, write_whisper

FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "WhisperFeatureExtractor": ({"feature_size": 20}, {"max_length": 8000}),
    "ASTFeatureExtractor": ({"max_length": 48, "num_mel_bins": 16}, {}),
    "Wav2Vec2FeatureExtractor": ({}, {"padding": "max_length", "truncation": True, "max_length": 8000}),
    "Wav2Vec2FeatureExtractor, masked": (
        {"return_attention_mask": True},
        {"padding": "max_length", "truncation": True, "max_length": 8000},
    ),
}
"""How each is made, and called to cut at half a second."""


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [3000, 8000, 12_345])
def test_features_are_those_of_transformers_extractors(form: str, length: int) -> None:
    import transformers

    settings, asked = FORMS[form]
    extractor = getattr(transformers, form.partition(",")[0])(**settings)
    generator, times = np.random.default_rng(length), np.arange(length) / 16_000
    wave = (0.3 * np.sin(2 * np.pi * 440 * times) + 0.05 * generator.standard_normal(length)).astype(np.float32)
    (expected,) = extractor(wave, sampling_rate=16_000, return_tensors="np", **asked)[extractor.model_input_names[0]]
    found = features(wave, preprocessing_of({**extractor.to_dict(), "audio_samples": 8000}))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
def test_a_tone_of_another_rate_is_the_same_tone(rate: int) -> None:
    given = np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate).astype(np.float32)
    found = at_rate(Sound(given, rate), 16_000)
    assert len(found) == -(-(rate // 2) * 16_000 // rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16_000)
    assert np.abs(found - expected)[100:-100].max() < 1e-3
    above = np.sin(2 * np.pi * 11_000 * np.arange(22_050) / 44_100).astype(np.float32)
    assert np.abs(at_rate(Sound(above, 44_100), 16_000))[100:-100].max() < 0.01, "what cannot be told is left out"


def test_values_are_read_from_every_plain_form_of_wav() -> None:
    _, values = tone(1)
    expected = values / 32768
    high = values.astype(np.int32) << 16
    bytes_24 = high.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    stereo = np.stack([values, np.zeros_like(values)], axis=1).reshape(-1)
    extensible = struct.pack("<HHIIHHHHIH14x", 0xFFFE, 1, 8000, 16_000, 2, 16, 22, 16, 0, 1)
    forms = {
        "16 bits": (wav(values, 8000), 1e-7),
        "32 bits": (wav(high, 8000), 1e-7),
        "fractions": (wav(expected.astype(np.float32), 8000, kind=3), 1e-7),
        "8 bits": (wav((values // 256 + 128).astype(np.uint8), 8000), 1 / 127),
        "24 bits": (riff(struct.pack("<HHIIHH", 1, 1, 8000, 24_000, 3, 24), bytes_24), 1e-7),
        "extensible": (riff(extensible, values.tobytes()), 1e-7),
    }
    for name, (content, most) in forms.items():
        found = sound(content, 16_000)
        assert (found.rate, found.channels) == (8000, 1), name
        assert np.abs(found.samples - expected).max() <= most, name
    both = sound(wav(stereo, 8000, channels=2), 16_000)
    assert both.channels == 2
    assert np.abs(both.samples - expected / 2).max() < 1e-7, "the mean of both"
    given = {"array": expected, "sampling_rate": 8000}
    how = preprocessing_of({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "audio_samples": 4000})
    assert np.array_equal(read([given], how), read([wav(expected.astype(np.float32), 8000, kind=3)], how))


def test_what_is_no_whole_recording_is_refused() -> None:
    _, values = tone(2)
    whole = wav(values, 8000)
    not_finite = np.full(9, np.nan, np.float32)
    cases: dict[str, Any] = {
        "a recording: is empty": b"",
        r"is no WAV file; pip install soundfile to read flac, ogg and mp3 here, or convert it": b"ID3 and more",
        r"a recording: is not whole: \d+ of \d+ bytes of sound are there": whole[:-100],
        "a recording: a WAV file without sound in it": whole[:36],
        "a recording: holds no samples": wav(values[:0], 8000),
        "is stored as format 7 with 8 bits and 1 channels, which is not read; convert it to PCM": wav(
            values.astype(np.uint8), 8000, kind=7
        ),
        "a recording: holds NaN or infinite values": wav(not_finite, 8000, kind=3),
        "a recording: has 0 samples a second": wav(values, 0),
        "an array: its values reach .*; they must lie between -1 and 1: divide them": values.astype(np.float32),
        r"an array must have one channel, \[samples\], got \[2, 3\]": np.zeros((2, 3), np.float32),
        "must be a path, bytes, an array, or `array` with `sampling_rate`, got int '7'": 7,
        "nothing.wav: no such file": "nothing.wav",
    }
    for told, given in cases.items():
        with pytest.raises(Unreadable, match=told):
            sound(given, 16_000)


def loaded(folder: Path, **settings: Any) -> Any:
    spec = TaskSpec(DataSpec(Asset(path="tones")), kind="audio-classification", **settings)
    config = AutoConfig.from_pretrained(str(folder / "model"))
    return task_named(spec.kind).load(spec, {"all": folder / "tones"}, folder / "model", config=config)


def test_what_is_done_to_recordings_is_told_once(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones", rows=60)
    write_whisper(tmp_path / "model")
    (tmp_path / "tones" / "low" / "more.wav").write_bytes(
        wav(np.repeat(tone(3, rate=16_000)[1], 2), 16_000, channels=2)
    )
    task = loaded(tmp_path, audio_seconds=0.3)
    told = "\n".join(task.notes)
    assert "60 of 61 recordings have 8,000 samples a second, the model reads 16,000: they are resampled" in told
    assert "1 of 61 recordings have several channels, of which the mean is read" in told
    cut = sum(len(tone(number)[1]) > 2400 for number in range(60)) + (len(tone(3, rate=16_000)[1]) > 4800)
    assert f"{cut} of 61 recordings ({cut / 61:.0%}) are longer than 0.3 seconds (task.audio_seconds) and are" in told
    whole = "\n".join(loaded(tmp_path).notes)
    assert re.search(r"the longest of 61 recordings has 0\.3\d* seconds, and 2 are computed for each; less in", whole)
    batch = task.examples("train").batch(np.arange(3))
    assert batch.inputs["input_features"].shape == (3, 16, 30)
    assert batch.mask.shape == (3, 15)
    assert task.examples("train").served(Workload(4)) == Workload(4, 15)
    with pytest.raises(SpecError, match=r"workload\.length: a recording takes 15 positions of this model, got 64"):
        task.examples("train").served(Workload(1, 64))
    (tmp_path / "tones" / "low" / "more.wav").write_bytes(b"RIFF")
    with pytest.raises(
        SpecError, match=r"1 of 61 recordings cannot be read; remove or mend them: .*low/more\.wav: is no"
    ):
        loaded(tmp_path, audio_seconds=0.3)


def test_lengths_and_settings_that_do_not_fit_a_checkpoint_are_refused(tmp_path: Path) -> None:
    write_whisper(tmp_path)
    config = config_in(tmp_path)
    files, notes = audio_files(tmp_path, config, None)
    assert (files.length, files.positions, notes) == (200, 100, ())
    with pytest.raises(SpecError, match=r"task\.audio_seconds: must be <= 2, which .* was made for, got 2\.5"):
        audio_files(tmp_path, config, 2.5)
    with pytest.raises(SpecError, match=r"task\.audio_seconds: must be a multiple of 0\.02, got 0\.33"):
        audio_files(tmp_path, config, 0.33)
    config.use_weighted_layer_sum = True
    with pytest.raises(SpecError, match="`use_weighted_layer_sum` lets the head read every layer"):
        audio_files(tmp_path, config, 1.0)
    config.use_weighted_layer_sum, config.num_mel_bins = False, 8
    with pytest.raises(SpecError, match=r"makes 16 bands of a recording, and config\.json reads 8 \(`num_mel_bins`\)"):
        audio_files(tmp_path, config, 1.0)
    wave = live("Wav2Vec2ForSequenceClassification").config
    with pytest.raises(SpecError, match=r"makes log-mel of recordings, and a wav2vec2 reads wave; take the one that"):
        audio_files(tmp_path, wave, 1.0)
    (tmp_path / "preprocessor_config.json").unlink()
    files, notes = audio_files(tmp_path, wave, 0.5)
    assert (files.name, files.length, files.opened().form) == ("input_values", 8000, "wave")
    assert "recordings are read as Wav2Vec2FeatureExtractor of transformers does by itself" in notes[0]
    with pytest.raises(SpecError, match=r"task\.audio_seconds: 0\.0001\d* seconds are too few for a wav2vec2"):
        audio_files(tmp_path, wave, 0.0001)
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": {"dither": 0.1}}))
    with pytest.raises(SpecError, match="`feature_extractor_type` must be one of WhisperFeatureExtractor"):
        audio_files(tmp_path, wave, 0.5)


def test_a_model_of_waves_must_be_told_how_long_they_are(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones", rows=12)
    live("Wav2Vec2ForSequenceClassification").config.save_pretrained(str(tmp_path / "model"))
    with pytest.raises(
        SpecError, match=r"must be given for a wav2vec2, .* any length; the longest of these has 0\.3\d* seconds"
    ):
        loaded(tmp_path)


def test_the_first_positions_of_a_model_stay() -> None:
    whisper = live("WhisperForAudioClassification", num_labels=3)
    shorter = at_length(whisper, 12)
    assert at_length(whisper, 20) is whisper
    assert audio_length(shorter.config) == 12
    assert audio_positions(shorter.config, 12) == 6
    assert torch.equal(shorter.encoder.embed_positions.weight, whisper.encoder.embed_positions.weight[:6])
    assert answers(shorter, inputs(shorter)).shape == (2, 3)

    ast = live("ASTForAudioClassification", num_labels=3, max_length=20)
    whole, given = at_length(ast, 20), inputs(live("ASTForAudioClassification", max_length=12))
    cut = at_length(ast, 12)
    assert whole is ast
    before, after = (
        model.audio_spectrogram_transformer.embeddings(torch.nn.functional.pad(given["input_values"], (0, 0, 0, more)))
        for model, more in ((ast, 8), (cut, 0))
    )
    grid = before[:, 2:].unflatten(1, (2, 5))[:, :, :3].flatten(1, 2)  # of bands and time, the first patches in time
    assert torch.allclose(after, torch.cat([before[:, :2], grid], dim=1), atol=1e-6)

    wave = at_length(live("HubertForSequenceClassification"), 400)
    assert (audio_length(wave.config), audio_positions(wave.config, 400)) == (400, 39)
    assert wave.hubert(inputs(wave, length=10)["input_values"])[0].shape[1] == 39


def test_variations_are_moved_in_time_and_the_same_every_time() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 24)).astype(np.float32)
    own = Recordings(("a", "b", "c"), values, np.array([2, 0, 1]), "input_features", 2, 12)
    made = own.varied(4, seed=0)
    assert (len(made), made.given[:4]) == (12, ("a", "b", "c", "a"))
    assert np.array_equal(made.labels, np.tile(own.labels, 4))
    assert np.array_equal(made.features, own.varied(4, seed=0).features)
    for place, one in enumerate(made.features):
        whole = values[place % 3]
        assert any(np.array_equal(one[:, 3:-3], np.roll(whole, moved, 1)[:, 3:-3]) for moved in range(-3, 4))
    assert len(own.joined(made)) == 15


def test_settings_of_recordings_are_refused_of_others_and_the_other_way_round() -> None:
    with pytest.raises(
        ValueError, match=r"task\.max_length: counts tokens of texts, and audio-classification reads rec"
    ):
        TaskSpec(kind="audio-classification", max_length=64)
    with pytest.raises(ValueError, match=r"task\.image_size: is that of images, and audio-classification reads record"):
        TaskSpec(kind="audio-classification", image_size=64)
    with pytest.raises(ValueError, match=r"task\.audio_seconds: is that of recordings, and text-classification reads"):
        TaskSpec(audio_seconds=1.0)
    with pytest.raises(ValueError, match=r"task\.audio_seconds: must lie above 0 and be <= 600, got -1"):
        TaskSpec(kind="audio-classification", audio_seconds=-1.0)


def test_models_of_texts_and_of_recordings_are_told_apart_before_anything_is_read(tmp_path: Path) -> None:
    from autocompress import config
    from autocompress.operators import OPERATORS
    from autocompress.study.preflight import problems_of
    from tests.given_study import write_data, write_model, write_study
    from tests.tasks.given_audio import write_audio_study

    write_tones(tmp_path / "tones", rows=12)
    write_data(tmp_path / "texts.csv", rows=20)
    write_model(tmp_path / "model", head=True)
    ours = config.load_study(write_audio_study(tmp_path, audio_seconds=0.3), operators=OPERATORS)
    told = "a bert reads texts, and task.kind audio-classification gives it recordings; take a model of recordings"
    assert any(told in line for line in problems_of(ours))
    with pytest.raises(ValueError, match=r"workload\.lengths: of texts, and audio-classification reads none; leave"):
        replace(ours, workload=Workload(lengths="real"))
    write_whisper(tmp_path / "model")
    assert problems_of(ours) == []
    live("HubertForSequenceClassification").save_pretrained(str(tmp_path / "model"))
    endless = config.load_study(write_audio_study(tmp_path), operators=OPERATORS)
    told = "task.audio_seconds: must be given for a hubert, which reads recordings of any length"
    assert any(told in line for line in problems_of(endless))
    write_whisper(tmp_path / "model")
    texts = config.load_study(write_study(tmp_path, name="texts"), operators=OPERATORS)
    told = "a whisper reads recordings, and task.kind text-classification gives it texts"
    assert any(told in line for line in problems_of(texts))


def test_a_classifier_of_sounds_is_taken_whatever_its_family_calls_it(tmp_path: Path) -> None:
    from autocompress.anatomy.heads import AUDIO
    from autocompress.teacher.checkpoints import load_model, read_checkpoint

    live("Wav2Vec2ForSequenceClassification", num_labels=3).save_pretrained(str(tmp_path / "own"))
    checkpoint = read_checkpoint(tmp_path / "own", AUDIO)
    assert checkpoint.has_head
    checkpoint.check_head("classes")
    model = load_model(checkpoint, AUDIO, ("a", "b", "c"), new_head=False, audio_length=400)
    assert (model.config.audio_samples, model.config.apply_spec_augment, model.config.layerdrop) == (400, False, 0.0)
    settings = json.loads((tmp_path / "own" / "config.json").read_text())
    settings["architectures"] = ["Wav2Vec2ForAudioFrameClassification"]
    (tmp_path / "own" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(SpecError, match="its config says Wav2Vec2ForAudioFrameClassification, and a study takes a For"):
        read_checkpoint(tmp_path / "own", AUDIO).check_head("classes")
