"""Rows of recordings, as a study's files hold them: read, brought to the form and the length that a model reads, and
split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.anatomy.inputs import audio_length, audio_positions, reads_wave
from autocompress.core.audio_inputs import SOUND, SPECTRUM
from autocompress.core.data_spec import TaskSpec
from autocompress.errors import SpecError
from autocompress.inputs.audio_reading import (
    SAMPLES,
    SETTINGS,
    Preprocessing,
    Unreadable,
    at_rate,
    features,
    preprocessing_of,
    sound,
)
from autocompress.inputs.recordings import Recordings
from autocompress.inputs.row_files import AudioFiles
from autocompress.reading import Labelled, Rows
from autocompress.tasks.loading import Loaded, Numbers
from autocompress.tasks.splitting import Pool, split

_SHOWN: Final = 5
_PROCESSOR: Final = "processor_config.json"
"""Where newer checkpoints keep the settings of their feature extractor, beside those of a tokenizer."""


def loaded_recordings(
    spec: TaskSpec, data: Labelled, folder: Path, numbers: Numbers, *, classes: Sequence[str], config: Any
) -> Loaded:
    """Reads and splits, class by class; of recordings that come out the same no two stand in different splits. `config`
    is the model's. Raises SpecError as `Task.load`."""
    if spec.audio_seconds is None and reads_wave(config):
        longest = max((_seconds(one) for part in data.parts.values() for one in part.texts), default=0.0)
        raise SpecError(
            f"task.audio_seconds: must be given for a {config.model_type}, which reads recordings of any length; the "
            f"longest of these has {longest:.3g} seconds"
        )
    files, notes = audio_files(folder, config, spec.audio_seconds)
    how, seen = files.opened(), _Seen()
    pools, read = {}, {}
    for name, part in data.parts.items():
        read[name] = _recordings(part, numbers(part.labels), how, files, seen)
        keys = tuple(hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in read[name].features)
        pools[name] = Pool(part, read[name].labels, keys)
    splits = split(spec.data, pools, classes)
    examples = {name: read[part].take(places) for name, (part, places) in splits.places.items()}
    return Loaded(examples, files, (*data.notes, *notes, *seen.told(how), *splits.notes))


@dataclass(slots=True)
class _Seen:
    """What recordings were like before they were brought to one form."""

    count: int = 0
    rates: Counter[int] = field(default_factory=Counter)
    several: int = 0
    cut: int = 0
    longest: float = 0.0

    def told(self, how: Preprocessing) -> list[str]:
        """What a user should know."""
        found, of = [], f"of {self.count} recordings"
        if other := {rate: count for rate, count in self.rates.items() if rate != how.rate}:
            rates = ", ".join(f"{rate:,}" for rate in sorted(other))
            found.append(
                f"{sum(other.values())} {of} have {rates} samples a second, the model reads {how.rate:,}: they are "
                "resampled, here and in exported folders"
            )
        if self.several:
            found.append(f"{self.several} {of} have several channels, of which the mean is read")
        if self.cut:
            found.append(
                f"{self.cut} {of} ({self.cut / self.count:.0%}) are longer than {how.seconds:.3g} seconds "
                "(task.audio_seconds) and are cut there"
            )
        if self.longest < how.seconds / 2:
            found.append(
                f"the longest {of} has {self.longest:.3g} seconds, and {how.seconds:.3g} are computed for each; less "
                "in `task.audio_seconds` takes less time"
            )
        return found


def _recordings(part: Rows, labels: NDArray[Any], how: Preprocessing, files: AudioFiles, seen: _Seen) -> Recordings:
    """Raises SpecError naming the recordings that cannot be read."""
    found, problems = [], []
    for one in part.texts:
        try:
            heard = sound(one, how.rate)
            samples = at_rate(heard, how.rate)
            found.append(features(samples, how))
        except Unreadable as error:
            problems.append(str(error))
            continue
        seen.count += 1
        seen.rates[heard.rate] += 1
        seen.several += heard.channels > 1
        seen.cut += len(samples) > how.samples
        seen.longest = max(seen.longest, len(samples) / how.rate)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise SpecError(
            f"{part.where}: {len(problems)} of {len(part)} recordings cannot be read; remove or mend them: "
            f"{'; '.join(problems[:_SHOWN])}{more}"
        )
    time = 2 if how.form == "log-mel" else 1
    return Recordings(part.texts, np.stack(found), labels, files.name, time, files.positions)


def _seconds(given: Any) -> float:
    try:
        heard = sound(given, 1)
    except Unreadable:  # which is told where all are read
        return 0.0
    return len(heard.samples) / heard.rate


def audio_files(folder: Path, config: Any, asked: float | None) -> tuple[AudioFiles, tuple[str, ...]]:
    """How a checkpoint's recordings are read, at the length that is `asked` for in seconds, and what there is to say of
    that. Raises SpecError where its files do not agree, or the length is none that the model can read."""
    if getattr(config, "use_weighted_layer_sum", False):
        raise SpecError(
            f"{folder / 'config.json'}: `use_weighted_layer_sum` lets the head read every layer, so none can be left "
            "out; write false there, and `teacher: {head: new}` in the study"
        )
    settings, notes = _settings(folder, config)
    try:
        if asked is not None and reads_wave(config):
            settings = {**settings, SAMPLES: round(asked * float(settings.get("sampling_rate", 16_000)))}
        how = preprocessing_of(settings)
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{folder / SETTINGS}: cannot be read as how recordings are prepared: {error}") from error
    _check_form(folder, config, how)
    if asked is not None and how.form != "wave":
        settings = _of_length(settings, how, asked, folder, config)
        how = preprocessing_of(settings)
    length = how.samples if how.form == "wave" else how.frames
    if how.form == "log-mel" and length % 2:
        raise SpecError(f"task.audio_seconds: must be a multiple of {2 * how.hop / how.rate:g}, got {asked}")
    if asked is None and how.form != "wave" and length != audio_length(config):
        raise SpecError(
            f"{folder}: {SETTINGS} makes {length} frames of a recording, and config.json reads {audio_length(config)}; "
            "say how long recordings are with `task.audio_seconds`"
        )
    positions = audio_positions(config, length)
    if positions < 1:
        raise SpecError(f"task.audio_seconds: {how.seconds:.3g} seconds are too few for a {config.model_type}")
    name = SPECTRUM if how.form == "log-mel" else SOUND
    return AudioFiles(settings, positions, name, length), notes


def _check_form(folder: Path, config: Any, how: Preprocessing) -> None:
    wanted = "wave" if reads_wave(config) else "log-mel" if hasattr(config, "max_source_positions") else "filters"
    if how.form != wanted:
        raise SpecError(
            f"{folder}: {SETTINGS} makes {how.form} of recordings, and a {config.model_type} reads {wanted}; take the "
            "one that came with the checkpoint"
        )
    if wanted != "wave" and how.bands != int(config.num_mel_bins):
        raise SpecError(
            f"{folder}: {SETTINGS} makes {how.bands} bands of a recording, and config.json reads {config.num_mel_bins} "
            "(`num_mel_bins`)"
        )


def _of_length(
    settings: Mapping[str, Any], how: Preprocessing, asked: float, folder: Path, config: Any
) -> dict[str, Any]:
    """The settings for spectrograms of so many seconds."""
    samples, most = round(asked * how.rate), audio_length(config)
    frames = max(1, round(samples / how.hop))
    if frames > most:
        raise SpecError(
            f"task.audio_seconds: must be <= {most * how.hop / how.rate:g}, which {folder} was made for, got {asked}"
        )
    if how.form == "filters":
        return {**settings, "max_length": frames}
    return {**settings, "chunk_length": -(-samples // how.rate), SAMPLES: frames * how.hop}


def _settings(folder: Path, config: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Those of the folder, without what follows from them; where it has none, those that transformers takes."""
    for path in (folder / SETTINGS, folder / _PROCESSOR):
        if not path.is_file():
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from error
        if isinstance(found, dict) and path.name == _PROCESSOR:
            found = found.get("feature_extractor")
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if name not in _FOLLOWS} | _told(config), ()
        if path.name == SETTINGS:
            raise SpecError(f"{path}: must be one object of settings, got {type(found).__name__}")
    usual: dict[str, Any] = {"sampling_rate": 16_000}
    if reads_wave(config):
        usual |= {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
        usual["return_attention_mask"] = str(getattr(config, "feat_extract_norm", "group")) == "layer"
    elif hasattr(config, "max_source_positions"):
        seconds = audio_length(config) / 100
        usual |= {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": int(config.num_mel_bins)}
        usual |= {"chunk_length": -(-audio_length(config) // 100), SAMPLES: round(seconds * 16_000)}
    else:
        usual |= {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": int(config.num_mel_bins)}
        usual |= {"max_length": audio_length(config)}
    note = (
        f"{folder}: no {SETTINGS}; recordings are read as {usual['feature_extractor_type']} of transformers does by "
        "itself, at 16,000 samples a second"
    )
    return {**usual, **_told(config)}, (note,)


_FOLLOWS: Final = ("n_samples", "nb_max_frames", "processor_class")
"""What extractors of transformers write, and make again of the others."""


def _told(config: Any) -> dict[str, Any]:
    """What a config of ours says of a wave's length."""
    samples = audio_length(config) if reads_wave(config) else 0
    return {SAMPLES: samples} if samples else {}
