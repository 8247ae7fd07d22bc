"""Images and their labels out of folders: a folder for each class, a table that names files or holds them, or the idx
files of the MNIST family. An image is a path, or the bytes of its file; nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from autocompress.errors import HostError, SpecError
from autocompress.reading.folders import find_files, is_picture, is_table, read_file, split_named
from autocompress.reading.layout import ABSENT, Layout, Table

_IDX: Final = re.compile(r"(?P<part>.*?)-?(?P<what>images|labels)[-.]idx(?P<axes>[13])-ubyte(\.gz)?")
_SHOWN: Final = 5


Read = Callable[[], Table]
"""Reads a file when it is asked to: a split that is not meant may be large."""


@dataclass(frozen=True, slots=True)
class FoundTables:
    """Tables by the split that they hold, `all` where nothing says it; `notes` tell what was left unread."""

    tables: Mapping[str, list[Read]]
    notes: list[str] = field(default_factory=list)


def find_pictures(layout: Layout, path: Path) -> FoundTables:
    """Raises SpecError when a folder holds nothing that can be read as images with labels."""
    if not path.is_dir():
        return FoundTables({"all": [partial(_read_table, layout, path, None)]})
    if idx := {name: _IDX.fullmatch(name.name) for name in path.iterdir() if _IDX.fullmatch(name.name)}:
        return _of_idx(layout, path, idx)
    if layout.format is not None or (path / "dataset_dict.json").is_file() or any(map(is_table, path.rglob("*"))):
        found = find_files(layout, path)
        tables: dict[str, list[Read]] = {
            split: [partial(_read_table, layout, file, file.parent) for file in files]
            for split, files in found.files.items()
        }
        return FoundTables(tables, found.notes)
    return _of_classes(layout, path)


# Folders of classes


def _of_classes(layout: Layout, path: Path) -> FoundTables:
    """`CLASS/image.png`, below a folder for each split or not."""
    files = sorted(
        inside
        for inside in path.rglob("*")
        if inside.is_file() and not any(part.startswith(".") for part in inside.relative_to(path).parts)
    )
    images = [file for file in files if is_picture(file)]
    others = [file.relative_to(path).as_posix() for file in files if not is_picture(file)]
    if not images:
        raise SpecError(
            f"{path}: a folder without images (it holds {', '.join(others[:_SHOWN]) or 'nothing'}); give a folder "
            "with a folder of images for each class, or with a table that names them"
        )
    by_split: dict[str, list[Path]] = {}
    tops = {file.relative_to(path).parts[0] for file in images}
    of_splits = all(split_named(top) for top in tops) and any(len(file.relative_to(path).parts) > 2 for file in images)
    for file in images:
        parts = file.relative_to(path).parts
        by_split.setdefault(str(split_named(parts[0])) if of_splits else "all", []).append(file)
        if len(parts) != 2 + of_splits:
            raise SpecError(
                f"{file}: lies in no folder of a class; images are read from CLASS/image.png, or from SPLIT/CLASS/"
                "image.png with train, validation and test"
            )
    notes = [f"{path}: files that are no images and are not read: {', '.join(others[:_SHOWN])}"] if others else []
    named: dict[str, list[Read]] = {
        split: [partial(_folder_table, layout, path, found)] for split, found in by_split.items()
    }
    return FoundTables(named, notes)


def _folder_table(layout: Layout, path: Path, files: Sequence[Path]) -> Table:
    columns = (layout.wanted["image"], layout.wanted["label"])
    cells = {columns[0]: [str(file) for file in files], columns[1]: [file.parent.name for file in files]}
    names = [file.relative_to(path).as_posix() for file in files]
    return Table(str(path), columns, cells, lambda: names, "file")


# Tables


def _read_table(layout: Layout, file: Path, folder: Path | None) -> Table:
    table = read_file(layout, file)
    column = layout.wanted["image"]
    cells = {**table.cells, column: pictures_of(table, column, folder)}
    return Table(table.where, table.columns, cells, table.numbers, table.unit, table.notes)


def pictures_of(table: Table, column: str, folder: Path | None, *, anywhere: bool = False) -> list[Any]:
    """The images of a column: paths, relative to a `folder`, or bytes. Raises SpecError with the rows that hold none,
    and for paths where there is no folder that holds them, or that lead out of it, unless they may lie `anywhere`:
    whether they are what they were could not be told."""
    found: list[Any] = []
    wrong: dict[str, list[int]] = {}
    for row, cell in enumerate(table.cells[column]):
        try:
            found.append(_picture(cell, folder, anywhere))
        except _NoPicture as error:
            wrong.setdefault(str(error), []).append(row)
    if wrong:
        raise SpecError(*(f"{table.where}: {told} in {column!r} ({table.told(rows)})" for told, rows in wrong.items()))
    return found


class _NoPicture(Exception):
    """What a cell holds in place of an image."""


def _picture(cell: Any, folder: Path | None, anywhere: bool) -> Any:
    if isinstance(cell, Mapping):  # as the `datasets` library keeps images
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        if cell.get("base64"):
            try:
                return base64.b64decode(cell["base64"], validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise _NoPicture("base64 that cannot be decoded") from None
        return _picture(cell.get("path"), folder, anywhere)
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, Image.Image | np.ndarray):
        return encoded(cell)
    if cell is None or cell is ABSENT or not isinstance(cell, str | Path) or not str(cell).strip():
        raise _NoPicture("no image")
    if "://" in str(cell):
        raise _NoPicture("addresses of images, which are not fetched; put the files beside the table,")
    if folder is None:
        raise _NoPicture(
            "paths of images; name the folder that holds the table and its images as the source, not the table:"
        )
    named = Path(str(cell).strip())
    if not anywhere and (named.is_absolute() or ".." in named.parts):
        raise _NoPicture("paths that lead out of the table's folder; put the images beside it,")
    path = folder / named
    if not path.is_file():
        raise _NoPicture("files that are not there")
    return str(path)


def encoded(image: Any) -> bytes:
    """The bytes of a file that holds an image of Pillow, or an array of one. Raises SpecError for another array."""
    try:
        whole = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
        written = io.BytesIO()
        whole.save(written, "png")
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(f"an array cannot be read as an image: {error}; give uint8 [height, width, 3]") from error
    return written.getvalue()


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


def _of_idx(layout: Layout, path: Path, names: Mapping[Path, re.Match[str] | None]) -> FoundTables:
    files: dict[str, dict[str, Path]] = {}
    for name, told in names.items():
        assert told is not None, "only what matched is here"
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
