"""All columns of a file or folder, before anybody says which of them are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autocompress.core.data_spec import DataSpec, TextFormat
from autocompress.core.task_kinds import Modality
from autocompress.errors import NotFoundError, SpecError
from autocompress.reading.content import read_text, suffixes
from autocompress.reading.folders import find_files, is_picture, is_recording, is_table, known_format, read_file
from autocompress.reading.layout import Layout, Table
from autocompress.reading.media import find_media
from autocompress.reading.pictures import find_pictures
from autocompress.reading.recordings import RECORDINGS

_PART: Final = {"text": "text", "label": "label"}
"""What columns are called where a file has no names for them."""
_SAMPLE: Final = 200
_MOST_SPLIT: Final = ("train", "all")


@dataclass(frozen=True, slots=True)
class Overview:
    """`table` is the first one of the rows to learn from; `splits` those that the source holds (`all` where it says
    none), `files` the number of files. `format` is how they are written where their names do not say it. Of images and
    recordings in folders of their classes `media` says what they are."""

    table: Table
    splits: tuple[str, ...]
    files: int
    format: TextFormat | None = None
    media: Modality | None = None


def overview(path: Path, spec: DataSpec) -> Overview:
    """What lies at `path`, read by what is settled of `spec`: its format, encoding, delimiter, names of columns.

    Raises NotFoundError when nothing is there, SpecError for what cannot be read.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder")
    if path.is_dir() and (found := _of_classes(path, spec)):
        return found
    files = find_files(_layout(spec), path)
    split = next((name for name in _MOST_SPLIT if name in files.files), next(iter(files.files)))
    first = files.files[split][0]
    form = None if spec.format or is_table(first) else format_by_content(first, spec)
    layout = _layout(replace(spec, format=form) if form else spec)
    if layout.format == "conll" or (layout.format is None and _is_conll(first)) or layout.pattern:
        layout = replace(layout, wanted=_PART)
    return Overview(read_file(layout, first), tuple(files.files), sum(map(len, files.files.values())), form)


def _layout(spec: DataSpec) -> Layout:
    """Nothing is wanted yet, so that nothing is missed."""
    form: TextFormat | None = "lines" if spec.pattern is not None else spec.format
    return Layout(
        "task.data",
        {},
        form,
        spec.columns,
        spec.pattern,
        spec.encoding,
        spec.delimiter,
        spec.quoted,
        spec.ignore,
        tagged=True,
    )


def _is_conll(file: Path) -> bool:
    return suffixes(file)[0] in ("conll", "bio", "iob", "iob2")


def _of_classes(path: Path, spec: DataSpec) -> Overview | None:
    """Of a folder with files of images or recordings and no table."""
    inside = [one for one in path.rglob("*") if one.is_file()]
    if any(map(is_table, inside)):
        return None
    media: Modality
    if any(map(is_picture, inside)) or any("-ubyte" in one.name for one in inside):
        media = "image"
        layout = replace(_layout(spec), wanted={"image": spec.image, "label": spec.label}, tagged=False)
        found = find_pictures(layout, path)
    elif any(map(is_recording, inside)):
        media = "audio"
        layout = replace(_layout(spec), wanted={"audio": spec.audio, "label": spec.label}, tagged=False)
        found = find_media(RECORDINGS, layout, path)
    else:
        return None
    split = next((name for name in _MOST_SPLIT if name in found.tables), next(iter(found.tables)))
    return Overview(found.tables[split][0](), tuple(found.tables), len(inside), media=media)


def format_by_content(path: Path, spec: DataSpec) -> TextFormat:
    """How a file is written whose name does not say it. Raises SpecError where its content does not either."""
    lines = read_text(path, encoding=spec.encoding, key="task.data").split("\n")[:_SAMPLE]
    full = [line for line in lines if line.strip()]
    if full and full[0].lstrip().startswith("["):
        return "json"
    if full and all(line.lstrip().startswith("{") for line in full):
        return "jsonl"
    if _is_tagged(lines):
        return "conll"
    if len(full) > 1 and all("\t" in line for line in full):
        return "tsv"
    if len(full) > 1 and all(re.search("[,;|]", line) for line in full):
        return "csv"
    raise SpecError(
        f"{path}: neither its name nor its content says how it is written; name it by its format (csv, tsv, jsonl, "
        "json, parquet, conll), or say it with `--set task.data.format=FORMAT`"
    )


def _is_tagged(lines: Sequence[str]) -> bool:
    """A word and its tag on each line, with empty lines between sentences."""
    fields = [line.split() for line in lines]
    widths = {len(one) for one in fields if one and not one[0].startswith(("-DOCSTART-", "#"))}
    whole = len(widths) == 1 and min(widths) >= 2
    between = any(not one for one in fields[: len(fields) - 1])
    tags = [one[-1] for one in fields if one]
    return whole and between and any(re.fullmatch(r"O|[BIES]-\S+", tag) for tag in tags)


def format_of(path: Path, spec: DataSpec) -> TextFormat | None:
    """How a file is written, by its name or else its content; None of a folder, whose files say it."""
    if path.is_dir():
        return None
    return spec.format or known_format(path) or format_by_content(path, spec)


def cells_of(table: Table) -> Mapping[str, Sequence[object]]:
    """Those that were read, in the order of the file's columns."""
    return {name: table.cells[name] for name in table.columns if name and name in table.cells}
