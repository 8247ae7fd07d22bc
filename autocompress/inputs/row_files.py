"""What an exported folder holds so that it reads rows as its model was trained to: a tokenizer for texts, how images
are resized and normalised for images. One class for each modality, written by a task and known again by a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Protocol

from autocompress.core.task_kinds import Modality
from autocompress.inputs.image_reading import SETTINGS, Preprocessing, preprocessing_of
from autocompress.inputs.tokenizer import TOKENIZER, TokenizerFiles

IMAGE_READING: Final = "image_reading.py"
"""The program that reads images, copied into every folder of a model that does."""

READ_WITH: Final[Mapping[Modality, tuple[str, ...]]] = {"text": (TOKENIZER,), "image": (SETTINGS,)}
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
        (folder / SETTINGS).write_text(json.dumps(self.settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (folder / IMAGE_READING).write_bytes(
            resources.files("autocompress.inputs").joinpath(IMAGE_READING).read_bytes()
        )

    def about(self) -> dict[str, Any]:
        return {"modality": "image", "positions": self.positions}


def row_files_of(about: Mapping[str, Any]) -> RowFiles:
    """What a manifest says of how rows are read: enough to say it again, and to know how texts were cut."""
    if about.get("modality") == "image":
        return ImageFiles({}, int(about["positions"]))
    return TokenizerFiles("", {}, longest=int(about["max_length"]), pad=int(about.get("pad", 0)))
