"""Texts from files, with labels or without. Every mistake in them is named by file and line."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autocompress.core.data_spec import DataSpec, TextFormat, TextSpec
from autocompress.errors import SpecError, did_you_mean

Row = tuple[int, tuple[str, ...]]
"""Line number, and the cell of each column that is wanted."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file is laid out. `wanted` are the names of the columns that are read, by the settings that say them; `key`
    is where a study holds these settings."""

    key: str
    wanted: Mapping[str, str]
    columns: tuple[str, ...]
    pattern: str


def read_rows(spec: DataSpec, path: Path) -> list[tuple[str, str]]:
    """(text, label) in file order; repeated texts dropped if `distinct`.

    Raises SpecError naming the lines that have no text or no label, or that do not fit the format.
    """
    wanted = {"text": spec.text, "label": spec.label}
    layout = _Layout("task.data", wanted, spec.columns, spec.pattern or "")
    rows = _rows(layout, path, spec.format, spec.encoding)
    empty = [line for line, (text, _) in rows if not text.strip()]
    if empty:
        raise SpecError(f"{path}: {len(empty)} rows have no text (lines {_first(empty)}); remove or fill them")
    unlabelled = [line for line, (_, label) in rows if not label.strip()]
    if unlabelled:
        raise SpecError(f"{path}: {len(unlabelled)} rows have no label (lines {_first(unlabelled)})")
    pairs = [(text.strip(), _label(spec, path, line, label.strip())) for line, (text, label) in rows]
    if spec.distinct:
        first: dict[str, str] = {}
        for text, label in pairs:
            first.setdefault(text, label)
        pairs = list(first.items())
    classes = {label for _, label in pairs}
    if len(classes) < 2:
        raise SpecError(f"{path}: classification needs at least two classes, found {sorted(classes) or 'no rows'}")
    return pairs


def read_texts(spec: TextSpec, path: Path, *, seed: int) -> list[str]:
    """Texts in file order without the empty and the repeated ones; `spec.most` of them, drawn by the seed.

    Raises SpecError when there is none, or when lines do not fit the format.
    """
    layout = _Layout("finalists.transfer.texts", {"text": spec.text}, spec.columns, spec.pattern or "(?P<text>.*)")
    found = (text.strip() for _, (text,) in _rows(layout, path, spec.format, spec.encoding))
    texts = list(dict.fromkeys(text for text in found if text))
    if not texts:
        raise SpecError(f"{path}: no row has a text; give a file with at least one, or remove `{layout.key}`")
    if len(texts) <= spec.most:
        return texts
    return [texts[place] for place in sorted(random.Random(seed).sample(range(len(texts)), spec.most))]


def _rows(layout: _Layout, path: Path, kind: TextFormat, encoding: str) -> list[Row]:
    if path.is_dir():
        raise SpecError(f"{path}: a folder, where a file is wanted; name the file with `{layout.key}.source.member`")
    try:
        content = path.read_text(encoding=encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise SpecError(f"{path}: not readable as {encoding}: {error}; set `{layout.key}.encoding`") from error
    return list(_READERS[kind](layout, path, content))


def _label(spec: DataSpec, path: Path, line: int, label: str) -> str:
    if spec.threshold is None:
        return label
    try:
        value = float(label)
    except ValueError:
        raise SpecError(f"{path}:{line}: `threshold` needs a number in {spec.label!r}, got {label!r}") from None
    return "above" if value > spec.threshold else "at or below"


def _first(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:_SHOWN])) + (", ..." if len(lines) > _SHOWN else "")


def _lines(layout: _Layout, path: Path, content: str) -> Iterator[Row]:
    pattern = re.compile(layout.pattern)
    unfit = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line)
        if match:
            yield number, tuple(match[group] or "" for group in layout.wanted)
        else:
            unfit.append(number)
    if unfit:
        raise SpecError(f"{path}: {len(unfit)} lines do not fit `pattern` (lines {_first(unfit)})")


class _Tabs(csv.excel_tab):
    """Tab-separated files seldom quote: a lone quotation mark must not swallow the lines after it."""

    quoting = csv.QUOTE_NONE


def _table(delimiter: str, layout: _Layout, path: Path, content: str) -> Iterator[Row]:
    dialect = csv.excel if delimiter == "," else _Tabs
    reader = csv.reader(io.StringIO(content, newline=""), dialect)
    try:
        columns = list(layout.columns) or next(reader, [])
        _check_columns(layout, str(path), columns)
        places = [columns.index(name) for name in layout.wanted.values()]
        for row in reader:
            if row:
                yield reader.line_num, tuple(row[place] if place < len(row) else "" for place in places)
    except csv.Error as error:
        raise SpecError(f"{path}:{reader.line_num}: not a row of a table: {error}; write it as jsonl") from error


def _jsonl(layout: _Layout, path: Path, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), 1):  # JSON may hold what `splitlines` takes for ends of lines
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpecError(f"{path}:{number}: not a JSON object: {error.msg}") from error
        if not isinstance(row, Mapping):
            raise SpecError(f"{path}:{number}: not a JSON object: {line[:40]!r}")
        _check_columns(layout, f"{path}:{number}", row)
        cells = (row[name] for name in layout.wanted.values())
        yield number, tuple("" if cell is None else str(cell) for cell in cells)


def _check_columns(layout: _Layout, where: str, columns: Iterable[str]) -> None:
    names = [str(name) for name in columns]
    problems = [
        f"{where}: no {what} column {name!r}; {did_you_mean(name, names)}; set `{layout.key}.{what}`"
        for what, name in layout.wanted.items()
        if name not in names
    ]
    if problems:
        raise SpecError(*problems)


_READERS: dict[TextFormat, Callable[[_Layout, Path, str], Iterator[Row]]] = {
    "lines": _lines,
    "jsonl": _jsonl,
    "csv": lambda layout, path, content: _table(",", layout, path, content),
    "tsv": lambda layout, path, content: _table("\t", layout, path, content),
}
