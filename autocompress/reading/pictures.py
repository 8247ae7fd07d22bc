"""Images and their labels out of folders (`media`), or out of the idx files of the MNIST family."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from autocompress.errors import HostError, SpecError
from autocompress.reading.folders import is_picture, split_named
from autocompress.reading.layout import Layout, Table
from autocompress.reading.media import FoundTables, Medium, Read, find_media

_IDX: Final = re.compile(r"(?P<part>.*?)-?(?P<what>images|labels)[-.]idx(?P<axes>[13])-ubyte(\.gz)?")


def find_pictures(layout: Layout, path: Path) -> FoundTables:
    """Raises SpecError when a folder holds nothing that can be read as images with labels."""
    names = path.iterdir() if path.is_dir() else ()
    if idx := {name: told for name in names if (told := _IDX.fullmatch(name.name))}:
        return _of_idx(layout, path, idx)
    return find_media(PICTURES, layout, path)


def _held(cell: Any) -> bytes | None:
    return encoded(cell) if isinstance(cell, Image.Image | np.ndarray) else None


def encoded(image: Any) -> bytes:
    """The bytes of a file that holds an image of Pillow, or an array of one. Raises SpecError for another array."""
    try:
        whole = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
        written = io.BytesIO()
        whole.save(written, "png")
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(f"an array cannot be read as an image: {error}; give uint8 [height, width, 3]") from error
    return written.getvalue()


PICTURES: Final = Medium("image", "image", "image.png", is_picture, _held)


# The MNIST family


@dataclass(frozen=True, slots=True)
class Unencoded:
    """A grey image as an idx file holds it: of sixty thousand a study may use a few, and no others become files."""

    pixels: bytes
    sides: tuple[int, int]

    @staticmethod
    def of(found: np.ndarray) -> Unencoded:
        return Unencoded(found.tobytes(), (found.shape[0], found.shape[1]))

    def encoded(self) -> bytes:
        return encoded(np.frombuffer(self.pixels, np.uint8).reshape(self.sides))


def _of_idx(layout: Layout, path: Path, names: Mapping[Path, re.Match[str]]) -> FoundTables:
    files: dict[str, dict[str, Path]] = {}
    for name, told in names.items():
        part = told["part"]
        split = split_named(part) or ("test" if part.startswith("t10k") else "all")
        files.setdefault(split, {})[told["what"]] = name
    for split, both in files.items():
        if lacking := {"images", "labels"} - both.keys():
            raise SpecError(f"{path}: idx files of {split} without {lacking.pop()}")
    if "all" in files and len(files) > 1:
        raise SpecError(f"{path}: idx files of several splits, one of which has no name: {files['all']['images'].name}")
    tables: dict[str, list[Read]] = {
        split: [partial(_idx_table, layout, both["images"], both["labels"])] for split, both in files.items()
    }
    return FoundTables(tables)


def _idx_table(layout: Layout, images: Path, labels: Path) -> Table:
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or classes.ndim != 1 or len(pixels) != len(classes):
        raise SpecError(
            f"{images}: {list(pixels.shape)} images beside {list(classes.shape)} labels in {labels.name}; they are no "
            "pair"
        )
    columns = (layout.wanted["image"], layout.wanted["label"])
    cells: dict[str, list[Any]] = {
        columns[0]: [Unencoded.of(one) for one in pixels],
        columns[1]: [str(one) for one in classes],
    }
    return Table(str(images), columns, cells, lambda: range(1, len(pixels) + 1), "row")


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, gzipped or not. Raises SpecError for what is none."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
        kind, axes = struct.unpack(">HBB", content[:4])[1:]
        sizes = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
        found = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
        if kind != 8:
            raise ValueError(f"its numbers are no bytes (type 0x{kind:02x})")
        return found.reshape(sizes)
    except (EOFError, ValueError, struct.error, zlib.error, gzip.BadGzipFile) as error:
        raise SpecError(f"{path}: no idx file, or not whole: {error}") from error
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror or error}") from error
