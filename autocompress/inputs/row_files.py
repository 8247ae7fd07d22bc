"""What an exported folder holds so that it reads rows as its model was trained to: a tokenizer for texts, how images
are resized and normalised, what is made of recordings. One class for each modality, written by a task and known again
by a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol

from autocompress.core.task_kinds import Modality
from autocompress.inputs import audio_reading
from autocompress.inputs.image_reading import SETTINGS, Preprocessing, preprocessing_of
from autocompress.inputs.tokenizer import TOKENIZER, TokenizerFiles

IMAGE_READING: Final = "image_reading.py"
"""The program that reads images, copied into every folder of a model that does."""

AUDIO_READING: Final = "audio_reading.py"
"""The same for recordings."""

READ_WITH: Final[Mapping[Modality, tuple[str, ...]]] = {
    "text": (TOKENIZER,),
    "image": (SETTINGS,),
    "audio": (audio_reading.SETTINGS,),
}
"""The files that a folder reads rows with."""


class RowFiles(Protocol):
    """How rows are read, as a folder keeps it."""

    def write(self, folder: Path) -> None:
        """Its files."""

    def about(self) -> dict[str, Any]:
        """What the manifest says of it."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """`settings` are those of an image processor of transformers, which opens the folder's file as it is; the model
    walks through so many `positions` an image."""

    settings: Mapping[str, Any]
    positions: int

    def opened(self) -> Preprocessing:
        return preprocessing_of(dict(self.settings))

    def write(self, folder: Path) -> None:
        _write(folder, self.settings, IMAGE_READING)

    def about(self) -> dict[str, Any]:
        return {"modality": "image", "positions": self.positions}


@dataclass(frozen=True, slots=True)
class AudioFiles:
    """The same of recordings: `settings` are those of a feature extractor of transformers, `name` is what the model
    calls its input, of so many frames or samples in `length`."""

    settings: Mapping[str, Any]
    positions: int
    name: str
    length: int

    def opened(self) -> audio_reading.Preprocessing:
        return audio_reading.preprocessing_of(self.settings)

    def write(self, folder: Path) -> None:
        _write(folder, self.settings, AUDIO_READING)

    def about(self) -> dict[str, Any]:
        return {"modality": "audio", "positions": self.positions, "input": self.name, "length": self.length}


def _write(folder: Path, settings: Mapping[str, Any], program: str) -> None:
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / program).write_bytes(resources.files("autocompress.inputs").joinpath(program).read_bytes())


def row_files_of(about: Mapping[str, Any]) -> RowFiles:
    """What a manifest says of how rows are read: enough to say it again, and to know how texts were cut."""
    if about.get("modality") == "image":
        return ImageFiles({}, int(about["positions"]))
    if about.get("modality") == "audio":
        return AudioFiles({}, int(about["positions"]), str(about["input"]), int(about["length"]))
    return TokenizerFiles("", {}, longest=int(about["max_length"]), pad=int(about.get("pad", 0)))
