"""How recordings become what a model reads: one file of settings, read the same way while a study runs and out of an
exported folder. Needs only: pip install numpy

It imports nothing of autocompress: a copy of it travels in every folder of a model that reads recordings. What it
computes is what transformers' feature extractors do: a recording is brought to one channel and to the checkpoint's
sampling rate, cut or filled up to one length, and becomes a normalised wave (wav2vec 2.0, HuBERT), a log-mel
spectrogram (Whisper) or the log of a bank of filters (AST), as `preprocessor_config.json` says.

WAV is read here; what else the package `soundfile` reads (flac, ogg, mp3) is read where that is installed.
"""

from __future__ import annotations

import functools
import io
import json
import math
import pathlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SETTINGS = "preprocessor_config.json"
SAMPLES = "audio_samples"
"""The setting that says how many samples of a recording are read."""
MOST_SECONDS = 3600.0
"""Of a recording; more is held for a slip, or for an attack on the memory."""

_LOUDEST = 100.0
"""Values lie between -1 and 1, a little more in some files; these are whole numbers that nobody divided."""
_FORMS = {"WhisperFeatureExtractor": "log-mel", "Wav2Vec2FeatureExtractor": "wave", "ASTFeatureExtractor": "filters"}
_ZEROS, _ROLL_OFF = 6, 0.99  # of the filter that resamples: zeros on either side, and where it begins to cut
_AT_A_TIME = 65_536


class Unreadable(ValueError):
    """What was given is no recording that can be read: why, in words."""


@dataclass(frozen=True)
class Preprocessing:
    """A recording is brought to `rate` samples a second and cut at `samples`; what is made of them is one of three
    `form`s: a `wave` filled up with `padding`, a `log-mel` spectrogram [bands, frames] of so many `bands`, or the log
    of `filters` [frames, bands], `frames` in number. A wave is `normalised` to mean 0 and deviation 1, over what was
    given alone where it is `masked`; filters by `mean` and twice the `std`."""

    form: str
    rate: int
    samples: int
    bands: int = 0
    frames: int = 0
    window: int = 400
    hop: int = 160
    padding: float = 0.0
    normalised: bool = True
    masked: bool = False
    mean: float = 0.0
    std: float = 0.5

    @property
    def seconds(self) -> float:
        """Of a recording, as far as it is read."""
        return self.samples / self.rate


@dataclass(frozen=True)
class Sound:
    """One channel, the mean of all that there were: float32 [samples], `rate` of them a second."""

    samples: np.ndarray
    rate: int
    channels: int = 1


def preprocessing_in(folder: pathlib.Path) -> Preprocessing:
    """That of an exported folder. Raises Unreadable."""
    try:
        return preprocessing_of(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{folder / SETTINGS}: how recordings are read cannot be told from it: {error}") from error


def preprocessing_of(told: Mapping[str, Any]) -> Preprocessing:
    """Of what a feature extractor of transformers writes. Raises KeyError, TypeError or ValueError."""
    kind = str(told.get("feature_extractor_type"))
    if kind not in _FORMS:
        raise ValueError(f"`feature_extractor_type` must be one of {', '.join(_FORMS)}, got {kind}")
    if told.get("dither"):
        raise ValueError("`dither` adds noise to every answer; it must be 0")
    form, rate, samples = _FORMS[kind], int(told.get("sampling_rate", 16_000)), told.get(SAMPLES)
    if form == "wave":
        if samples is None:
            raise ValueError(f"`{SAMPLES}` says how many samples are read, and is missing")
        normalised, masked = bool(told.get("do_normalize", True)), bool(told.get("return_attention_mask", False))
        padding = float(told.get("padding_value", 0.0))
        found = Preprocessing(form, rate, int(samples), padding=padding, normalised=normalised, masked=masked)
    elif form == "log-mel":
        window, hop = int(told.get("n_fft", 400)), int(told.get("hop_length", 160))
        whole = int(samples or float(told.get("chunk_length", 30)) * rate)
        bands = int(told.get("feature_size", 80))
        found = Preprocessing(
            form, rate, whole, bands, whole // hop, window, hop, float(told.get("padding_value", 0.0))
        )
    else:
        frames, bands = int(told.get("max_length", 1024)), int(told.get("num_mel_bins", 128))
        mean, std = float(told.get("mean", -4.2677393)), float(told.get("std", 4.5689974))
        normalised = bool(told.get("do_normalize", True))
        found = Preprocessing(
            form, rate, 400 + 160 * (frames - 1), bands, frames, normalised=normalised, mean=mean, std=std
        )
    if min(found.rate, found.samples, found.window, found.hop) < 1 or (form != "wave" and found.bands < 1):
        raise ValueError("its numbers of samples, of bands and of frames must be 1 or more")
    return found


def read(recordings: Sequence[Any], how: Preprocessing) -> np.ndarray:
    """What a model is given for some recordings: float32 [recordings, ...]. Raises Unreadable."""
    return np.stack([features(at_rate(sound(one, how.rate), how.rate), how) for one in recordings])


# Recordings


def sound(given: Any, rate: int) -> Sound:
    """A recording: of a path, the bytes of a file, a mapping with `array` and `sampling_rate` as the `datasets` library
    has it, or an array [samples] of the `rate` that the model reads. Raises Unreadable."""
    if isinstance(given, np.ndarray):
        return _checked(Sound(_of_array(given), rate), "an array")
    if isinstance(given, Mapping):
        if given.get("array") is not None and given.get("sampling_rate"):
            return _checked(Sound(_of_array(np.asarray(given["array"])), int(given["sampling_rate"])), "an array")
        return sound(given.get("bytes") or given.get("path"), rate)
    if isinstance(given, (bytes, bytearray)):
        return _checked(_of_file(bytes(given), "a recording"), "a recording")
    if not isinstance(given, (str, pathlib.Path)):
        raise Unreadable(
            "must be a path, bytes, an array, or `array` with `sampling_rate`, got "
            f"{type(given).__name__} {str(given)[:40]!r}"
        )
    try:
        content = pathlib.Path(given).read_bytes()
    except FileNotFoundError as error:
        raise Unreadable(f"{given}: no such file") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"{given}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return _checked(_of_file(content, str(given)), str(given))


def _checked(found: Sound, named: str) -> Sound:
    if not 1 <= found.rate <= 1_000_000:
        raise Unreadable(f"{named}: has {found.rate} samples a second")
    if not len(found.samples):
        raise Unreadable(f"{named}: holds no samples")
    if len(found.samples) > MOST_SECONDS * found.rate:
        raise Unreadable(f"{named}: is longer than {MOST_SECONDS:.0f} seconds; cut it")
    largest = float(np.abs(found.samples).max())
    if not math.isfinite(largest):
        raise Unreadable(f"{named}: holds NaN or infinite values")
    if largest > _LOUDEST:
        raise Unreadable(f"{named}: its values reach {largest:.6g}; they must lie between -1 and 1: divide them")
    return found


def _of_array(found: np.ndarray) -> np.ndarray:
    if found.ndim != 1:
        raise Unreadable(f"an array must have one channel, [samples], got {list(found.shape)}")
    if found.dtype.kind in "iu":
        return _of_whole(found)
    if found.dtype.kind != "f":
        raise Unreadable(f"an array must hold numbers, got {found.dtype}")
    return found.astype(np.float32)


def _of_whole(found: np.ndarray) -> np.ndarray:
    """Whole numbers of the size that they are stored in, between -1 and 1."""
    half = 2.0 ** (8 * found.dtype.itemsize - 1)
    middle = half if found.dtype.kind == "u" else 0.0
    return np.asarray((found.astype(np.float64) - middle) / half, np.float32)


def _of_file(content: bytes, named: str) -> Sound:
    if content[:4] not in (b"RIFF", b"RF64") or content[8:12] != b"WAVE":
        return _of_other(content, named)
    try:
        return _of_wav(content, named)
    except struct.error as error:
        raise Unreadable(f"{named}: no WAV file, or not whole: {error}") from error


def _of_wav(content: bytes, named: str) -> Sound:
    """Raises struct.error for what is cut off."""
    place, form = 12, None
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        place += 8
        if name == b"fmt ":
            form = struct.unpack_from("<HHIIHH", content, place)
            if form[0] == 0xFFFE:  # extensible: what it is stands behind
                form = (struct.unpack_from("<H", content, place + 24)[0], *form[1:])
        elif name == b"data" and form is not None:
            there = len(content) - place
            if size > there and size != 0xFFFFFFFF:
                raise Unreadable(f"{named}: is not whole: {there} of {size} bytes of sound are there")
            kind, channels, rate, _, _, bits = form
            return _decoded(content[place : place + min(size, there)], named, kind, channels, rate, bits)
        place += size + size % 2
    raise Unreadable(f"{named}: a WAV file without sound in it")


def _decoded(content: bytes, named: str, kind: int, channels: int, rate: int, bits: int) -> Sound:
    size = bits // 8
    known = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
    if (kind, bits) not in known or not channels:
        raise Unreadable(
            f"{named}: is stored as format {kind} with {bits} bits and {channels} channels, which is not read; convert "
            "it to PCM: ffmpeg -i IN -c:a pcm_s16le OUT.wav"
        )
    content = content[: len(content) // (size * channels) * size * channels]
    if bits == 24:  # as the upper three bytes of four
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        values = _of_whole(wide.view("<i4")[:, 0])
    else:
        found = np.frombuffer(content, known[kind, bits])
        values = found.astype(np.float32) if kind == 3 else _of_whole(found)
    return Sound(values.reshape(-1, channels).mean(axis=1, dtype=np.float32), rate, channels)


def _of_other(content: bytes, named: str) -> Sound:
    if not content:
        raise Unreadable(f"{named}: is empty")
    try:
        import soundfile
    except ImportError as error:
        raise Unreadable(
            f"{named}: is no WAV file; pip install soundfile to read flac, ogg and mp3 here, or convert it: ffmpeg -i "
            "IN OUT.wav"
        ) from error
    try:
        values, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise Unreadable(f"{named}: no recording that can be read, or not whole: {error}") from error
    return Sound(values.mean(axis=1, dtype=np.float32), int(rate), values.shape[1])


def at_rate(found: Sound, rate: int) -> np.ndarray:
    """The samples of a recording, `rate` of them a second: float32. As `torchaudio.functional.resample` does, which
    transformers' pipelines use: a sinc of six zeros on either side under a Hann window, cut off at 0.99 of the lower
    rate's half."""
    if found.rate == rate:
        return found.samples
    shared = math.gcd(found.rate, rate)
    old, new = found.rate // shared, rate // shared
    step = min(old, new) * _ROLL_OFF / old
    width = math.ceil(_ZEROS / step)
    count = math.ceil(new * len(found.samples) / old)
    padded = np.pad(found.samples, (width, width + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1)
    parts = []
    for start in range(0, count, _AT_A_TIME):
        places = np.arange(start, min(start + _AT_A_TIME, count), dtype=np.int64) * old
        phases, which = np.unique(places % new, return_inverse=True)
        at = np.clip((np.arange(-width, width + 1) - phases[:, None] / new) * step, -_ZEROS, _ZEROS)
        weights = np.sinc(at) * np.cos(at * np.pi / (2 * _ZEROS)) ** 2 * step
        parts.append(np.einsum("ij,ij->i", windows[places // new], weights.astype(np.float32)[which]))
    return np.concatenate(parts).astype(np.float32)


# Features


def features(samples: np.ndarray, how: Preprocessing) -> np.ndarray:
    """What a model reads of the samples of a recording, at its rate: float32."""
    whole = samples[: how.samples].astype(np.float32)
    if how.form == "filters":
        return _filtered(whole, how)
    filled = np.pad(whole, (0, how.samples - len(whole)), constant_values=how.padding)
    return _spectrum(filled, how) if how.form == "log-mel" else _wave(filled, len(whole), how)


def _wave(samples: np.ndarray, count: int, how: Preprocessing) -> np.ndarray:
    if not how.normalised:
        return samples
    given = samples[:count] if how.masked else samples
    found: np.ndarray = (samples - given.mean()) / np.sqrt(given.var() + 1e-7)
    if how.masked:
        found[count:] = how.padding
    return found


def _spectrum(samples: np.ndarray, how: Preprocessing) -> np.ndarray:
    """[bands, frames]"""
    around = how.window // 2
    frames = _frames(np.pad(samples.astype(np.float64), around, mode="reflect"), how)[: how.frames]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(how.window) / how.window)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    found = np.log10(np.maximum(power @ _mel_filters(how.bands, how.window, how.rate), 1e-10)).T
    return np.asarray((np.maximum(found, found.max() - 8.0) + 4.0) / 4.0, np.float32)


def _filtered(samples: np.ndarray, how: Preprocessing) -> np.ndarray:
    """[frames, bands]; where a recording ends, zeros before they are normalised."""
    filled = np.pad(samples.astype(np.float64), (0, max(0, how.window - len(samples))))
    frames = _frames(filled, how)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(how.window) / (how.window - 1))
    size = 1 << (how.window - 1).bit_length()
    power = np.abs(np.fft.rfft((frames - 0.97 * before) * hann, size)) ** 2
    logs = np.log(np.maximum(power @ _kaldi_filters(how.bands, size, how.rate), 1.192092955078125e-07))
    found = np.zeros((how.frames, how.bands), np.float32)
    found[: len(logs)] = logs
    return np.asarray((found - how.mean) / (how.std * 2), np.float32) if how.normalised else found


def _frames(samples: np.ndarray, how: Preprocessing) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(samples, how.window)[:: how.hop]


@functools.cache
def _mel_filters(bands: int, window: int, rate: int) -> np.ndarray:
    """[bins, bands]: triangles on the scale of Slaney (1998), of equal area, up to 8 kHz."""
    step = np.log(6.4) / 27
    mels = np.linspace(0.0, 15 + np.log(8000 / 1000) / step, bands + 2)
    edges = np.where(mels >= 15, 1000 * np.exp(step * (mels - 15)), 200 * mels / 3)
    found = _triangles(np.linspace(0, rate // 2, 1 + window // 2), edges)
    scaled: np.ndarray = found * (2.0 / (edges[2:] - edges[:-2]))
    return scaled


@functools.cache
def _kaldi_filters(bands: int, size: int, rate: int) -> np.ndarray:
    """[bins, bands]: triangles on Kaldi's mel scale, from 20 Hz to half of the rate."""

    def mel(hertz: Any) -> Any:
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20), mel(rate // 2), bands + 2)
    return _triangles(mel(rate / size * np.arange(1 + size // 2)), edges)


def _triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    slopes = edges[None] - bins[:, None]
    down, up = -slopes[:, :-2] / np.diff(edges)[:-1], slopes[:, 2:] / np.diff(edges)[1:]
    return np.asarray(np.maximum(0.0, np.minimum(down, up)))
