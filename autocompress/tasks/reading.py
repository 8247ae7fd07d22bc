"""Labelled texts from files. Every mistake in the data is named by file and line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from autocompress.core.spec import DataSpec
from autocompress.errors import SpecError, did_you_mean

Row = tuple[int, str, str]
"""Line number, text, label."""

_SHOWN = 5


def read_rows(spec: DataSpec, path: Path) -> list[tuple[str, str]]:
    """(text, label) in file order; repeated texts dropped if `distinct`.

    Raises SpecError naming the lines that have no text or no label, or that do not fit the format.
    """
    try:
        content = path.read_text(encoding=spec.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise SpecError(f"{path}: not readable as {spec.encoding}: {error}; set `task.data.encoding`") from error
    rows = list(_READERS[spec.format](spec, path, content))
    empty = [line for line, text, _ in rows if not text.strip()]
    if empty:
        raise SpecError(f"{path}: {len(empty)} rows have no text (lines {_first(empty)}); remove or fill them")
    unlabelled = [line for line, _, label in rows if not label.strip()]
    if unlabelled:
        raise SpecError(f"{path}: {len(unlabelled)} rows have no label (lines {_first(unlabelled)})")
    pairs = [(text.strip(), _label(spec, path, line, label.strip())) for line, text, label in rows]
    if spec.distinct:
        first: dict[str, str] = {}
        for text, label in pairs:
            first.setdefault(text, label)
        pairs = list(first.items())
    classes = {label for _, label in pairs}
    if len(classes) < 2:
        raise SpecError(f"{path}: classification needs at least two classes, found {sorted(classes) or 'no rows'}")
    return pairs


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


def _lines(spec: DataSpec, path: Path, content: str) -> Iterator[Row]:
    pattern = re.compile(spec.pattern or "")
    unfit = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line)
        if match:
            yield number, match["text"], match["label"]
        else:
            unfit.append(number)
    if unfit:
        raise SpecError(f"{path}: {len(unfit)} lines do not fit `pattern` (lines {_first(unfit)})")


class _Tabs(csv.excel_tab):
    """Tab-separated files seldom quote: a lone quotation mark must not swallow the lines after it."""

    quoting = csv.QUOTE_NONE


def _table(delimiter: str, spec: DataSpec, path: Path, content: str) -> Iterator[Row]:
    dialect = csv.excel if delimiter == "," else _Tabs
    reader = csv.reader(io.StringIO(content, newline=""), dialect)
    columns = list(spec.columns) or next(reader, [])
    _check_columns(spec, path, columns)
    places = columns.index(spec.text), columns.index(spec.label)
    for row in reader:
        if row:
            text, label = (row[place] if place < len(row) else "" for place in places)
            yield reader.line_num, text, label


def _jsonl(spec: DataSpec, path: Path, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpecError(f"{path}:{number}: not a JSON object: {error.msg}") from error
        if not isinstance(row, Mapping):
            raise SpecError(f"{path}:{number}: not a JSON object: {line[:40]!r}")
        _check_columns(spec, path, row)
        yield number, str(row[spec.text]), str(row[spec.label])


def _check_columns(spec: DataSpec, path: Path, columns: Iterable[str]) -> None:
    names = [str(name) for name in columns]
    problems = [
        f"{path}: no {what} column {name!r}; {did_you_mean(name, names)}; set `task.data.{what}`"
        for what, name in (("text", spec.text), ("label", spec.label))
        if name not in names
    ]
    if problems:
        raise SpecError(*problems)


_READERS: dict[str, Callable[[DataSpec, Path, str], Iterator[Row]]] = {
    "lines": _lines,
    "jsonl": _jsonl,
    "csv": lambda spec, path, content: _table(",", spec, path, content),
    "tsv": lambda spec, path, content: _table("\t", spec, path, content),
}
