"""Rows that are files, images or recordings, and their labels out of folders: a folder for each class, or a table that
names files or holds them. A row is a path, or the bytes of its file; nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from autocompress.errors import SpecError
from autocompress.reading.folders import find_files, is_table, read_file, split_named
from autocompress.reading.layout import ABSENT, Layout, Table

_SHOWN: Final = 5


Read = Callable[[], Table]
"""Reads a file when it is asked to: a split that is not meant may be large."""


@dataclass(frozen=True, slots=True)
class FoundTables:
    """Tables by the split that they hold, `all` where nothing says it; `notes` tell what was left unread."""

    tables: Mapping[str, list[Read]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Medium:
    """What such rows are. `column` is the setting with the name of their column, `noun` what one is called, `file` the
    name of one in a message; `is_one` tells a file of them by its name, and `encoded` makes the bytes of a file of what
    a Python program holds: None for what is none, SpecError for what cannot become a file."""

    column: str
    noun: str
    file: str
    is_one: Callable[[Path], bool]
    encoded: Callable[[Any], bytes | None]


def find_media(medium: Medium, layout: Layout, path: Path) -> FoundTables:
    """Raises SpecError when a folder holds nothing that can be read as such rows with labels."""
    if not path.is_dir():
        return FoundTables({"all": [partial(_read_table, medium, layout, path, None)]})
    if layout.format is not None or (path / "dataset_dict.json").is_file() or any(map(is_table, path.rglob("*"))):
        found = find_files(layout, path)
        tables: dict[str, list[Read]] = {
            split: [partial(_read_table, medium, layout, file, file.parent) for file in files]
            for split, files in found.files.items()
        }
        return FoundTables(tables, found.notes)
    return _of_classes(medium, layout, path)


# Folders of classes


def _of_classes(medium: Medium, layout: Layout, path: Path) -> FoundTables:
    """`CLASS/image.png`, below a folder for each split or not."""
    noun = medium.noun
    files = sorted(
        inside
        for inside in path.rglob("*")
        if inside.is_file() and not any(part.startswith(".") for part in inside.relative_to(path).parts)
    )
    rows = [file for file in files if medium.is_one(file)]
    others = [file.relative_to(path).as_posix() for file in files if not medium.is_one(file)]
    if not rows:
        raise SpecError(
            f"{path}: a folder without {noun}s (it holds {', '.join(others[:_SHOWN]) or 'nothing'}); give a folder "
            f"with a folder of {noun}s for each class, or with a table that names them"
        )
    by_split: dict[str, list[Path]] = {}
    tops = {file.relative_to(path).parts[0] for file in rows}
    of_splits = all(split_named(top) for top in tops) and any(len(file.relative_to(path).parts) > 2 for file in rows)
    for file in rows:
        parts = file.relative_to(path).parts
        by_split.setdefault(str(split_named(parts[0])) if of_splits else "all", []).append(file)
        if len(parts) != 2 + of_splits:
            raise SpecError(
                f"{file}: lies in no folder of a class; {noun}s are read from CLASS/{medium.file}, or from SPLIT/CLASS/"
                f"{medium.file} with train, validation and test"
            )
    notes = [f"{path}: files that are no {noun}s and are not read: {', '.join(others[:_SHOWN])}"] if others else []
    named: dict[str, list[Read]] = {
        split: [partial(_folder_table, medium, layout, path, found)] for split, found in by_split.items()
    }
    return FoundTables(named, notes)


def _folder_table(medium: Medium, layout: Layout, path: Path, files: Sequence[Path]) -> Table:
    columns = (layout.wanted[medium.column], layout.wanted["label"])
    cells = {columns[0]: [str(file) for file in files], columns[1]: [file.parent.name for file in files]}
    names = [file.relative_to(path).as_posix() for file in files]
    return Table(str(path), columns, cells, lambda: names, "file")


# Tables


def _read_table(medium: Medium, layout: Layout, file: Path, folder: Path | None) -> Table:
    table = read_file(layout, file)
    column = layout.wanted[medium.column]
    cells = {**table.cells, column: media_of(medium, table, column, folder)}
    return Table(table.where, table.columns, cells, table.numbers, table.unit, table.notes)


def media_of(medium: Medium, table: Table, column: str, folder: Path | None, *, anywhere: bool = False) -> list[Any]:
    """The rows of a column: paths, relative to a `folder`, or bytes. Raises SpecError with the rows that hold none, and
    for paths where there is no folder that holds them, or that lead out of it, unless they may lie `anywhere`: whether
    they are what they were could not be told."""
    found: list[Any] = []
    wrong: dict[str, list[int]] = {}
    for row, cell in enumerate(table.cells[column]):
        try:
            found.append(_of_cell(medium, cell, folder, anywhere))
        except _NotOne as error:
            wrong.setdefault(str(error), []).append(row)
    if wrong:
        raise SpecError(*(f"{table.where}: {told} in {column!r} ({table.told(rows)})" for told, rows in wrong.items()))
    return found


class _NotOne(Exception):
    """What a cell holds in place of such a row."""


def _of_cell(medium: Medium, cell: Any, folder: Path | None, anywhere: bool) -> Any:
    if (content := medium.encoded(cell)) is not None:
        return content
    if isinstance(cell, Mapping):  # as the `datasets` library keeps images and recordings
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        if cell.get("base64"):
            try:
                return base64.b64decode(cell["base64"], validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise _NotOne("base64 that cannot be decoded") from None
        return _of_cell(medium, cell.get("path"), folder, anywhere)
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    noun = medium.noun
    if cell is None or cell is ABSENT or not isinstance(cell, str | Path) or not str(cell).strip():
        raise _NotOne(f"no {noun}")
    if "://" in str(cell):
        raise _NotOne(f"addresses of {noun}s, which are not fetched; put the files beside the table,")
    if folder is None:
        raise _NotOne(
            f"paths of {noun}s; name the folder that holds the table and its {noun}s as the source, not the table:"
        )
    named = Path(str(cell).strip())
    if not anywhere and (named.is_absolute() or ".." in named.parts):
        raise _NotOne(f"paths that lead out of the table's folder; put the {noun}s beside it,")
    path = folder / named
    if not path.is_file():
        raise _NotOne("files that are not there")
    return str(path)
