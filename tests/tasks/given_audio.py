"""A user's own small project of recordings: an encoder of two layers, a folder of WAV files for each class, a study."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml

from tests.given_study import BOARD, CUTS

TONES: Final = {"low": 300.0, "middle": 900.0, "high": 2500.0}
"""Hertz, by class."""


def tone(number: int, *, rate: int = 8000) -> tuple[str, np.ndarray]:
    """The name of a tone and its samples in 16 bits: it begins somewhere, in some noise."""
    name = list(TONES)[number % len(TONES)]
    generator = np.random.default_rng(number)
    times = np.arange(int(rate * generator.uniform(0.2, 0.35))) / rate
    values = 0.3 * np.sin(2 * np.pi * TONES[name] * times + generator.uniform(0, 6))
    return name, ((values + 0.01 * generator.standard_normal(len(times))) * 32767).astype(np.int16)


def wav(values: np.ndarray, rate: int, *, channels: int = 1, kind: int = 1) -> bytes:
    """A file of these values, those of several channels in turn: whole numbers (`kind` 1), or fractions (3)."""
    size = values.dtype.itemsize
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * size, channels * size, 8 * size)
    return riff(form, values.tobytes())


def riff(form: bytes, content: bytes) -> bytes:
    chunks = b"".join(
        name + struct.pack("<I", len(part)) + part for name, part in ((b"fmt ", form), (b"data", content))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def write_tones(folder: Path, *, rows: int = 120) -> None:
    for number in range(rows):
        name, values = tone(number)
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number:03}.wav").write_bytes(wav(values, 8000))


def write_whisper(folder: Path) -> None:
    """A whole Whisper with random weights, as its makers' checkpoints are: its decoder is nothing to a classifier."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4}
    more = {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 50}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = WhisperConfig(
        **sizes, **more, **special, num_mel_bins=16, max_source_positions=100, classifier_proj_size=16
    )
    WhisperForConditionalGeneration(config).save_pretrained(str(folder))
    WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(str(folder))


def write_audio_study(folder: Path, **task: Any) -> Path:
    steps = [*CUTS["steps"], {"operator": "quantize", "target": "layers.*", "per": "step", "settings": {"bits": 8}}]
    (folder / "board.yaml").write_text(BOARD, encoding="utf-8")
    tree = {
        "name": "mine",
        "version": 1,
        "model": {"path": "model"},
        "task": {"kind": "audio-classification", "data": {"source": {"path": "tones"}}, **task},
        "space": {**CUTS, "steps": steps},
        "device": "board.yaml",
        "workload": {"batch": 1, "threads": 1},
        "objectives": {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"},
        "budget": {"trials": 3},
        "teacher": {"epochs": 8, "batch_size": 8, "learning_rate": 3.0e-3},
        "elastic": {"steps": 4, "batch_size": 16, "learning_rate": 1.0e-3},
        "finalists": {"count": 1, "uncut": False, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}},
        "seed": 0,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path
