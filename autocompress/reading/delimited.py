"""csv and tsv, as pandas reads them: values are pandas' own, and lines are counted where something is to be said."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table, check_columns
from autocompress.reading.swallowed import check_swallowed

if TYPE_CHECKING:
    import pandas

_DELIMITERS: Final = ",\t;|"
_SAMPLE: Final = 20
_LONGEST_FIELD: Final = 2**31 - 1

# A field between two marks, and one that begins with a mark; {0} is the delimiter.
_ENCLOSED: Final = r'(?:^|(?<=[{0}\r\n]))"(?:[^"]|"")*"(?=[{0}\r\n]|$)'
_OPENED: Final = r'(?:^|(?<=[{0}\r\n]))"'


@dataclass(frozen=True, slots=True)
class Record:
    """A row as it stands in the file, on its first to its last line."""

    first: int
    last: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A file's characters, and how fields are told apart in them."""

    path: Path
    content: str
    delimiter: str
    quoted: bool

    @property
    def _quoting(self) -> Literal[0, 3]:
        return csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE

    def frame(self) -> pandas.DataFrame:
        """All records as texts, the line of names among them. Raises pandas' ParserError."""
        import pandas

        return pandas.read_csv(
            io.StringIO(self.content),
            sep=self.delimiter,
            quoting=self._quoting,
            header=None,
            dtype=str,
            keep_default_na=False,
        )

    @functools.cached_property
    def records(self) -> list[Record]:
        return list(self.read())

    def read(self) -> Iterator[Record]:
        """The records that pandas finds, with their lines, which it does not tell."""
        lines = io.StringIO(self.content, newline="")
        reader, last = (
            csv.reader(lines, delimiter=self.delimiter, quoting=self._quoting),
            0,
        )
        with _long_fields():
            for fields in reader:
                if len(fields) > 1 or any(field.strip() for field in fields):
                    yield Record(last + 1, reader.line_num, tuple(fields))
                last = reader.line_num


def read_delimited(layout: Layout, path: Path, content: str, *, usual: str) -> Table:
    """Raises SpecError when columns are missing, rows are longer than the line of names, or a quotation mark opens a
    field that is never closed, or closed only after what looks like other rows."""
    if not content.strip():
        raise SpecError(f"{path}: the file is empty")
    source = Source(path, content, layout.delimiter or _delimiter(layout, path, content, usual), quoted=True)
    if layout.quoted is not None:
        return _table(layout, replace(source, quoted=layout.quoted))
    return _tabs(layout, source) if source.delimiter == "\t" and '"' in content else _table(layout, source)


def _tabs(layout: Layout, source: Source) -> Table:
    """Many tab-separated files are written without quoting; a mark in them is a character like any other. They are told
    by a field that begins with a mark and does not end with one, which no writer that quotes leaves behind, or by
    fields that would swallow rows."""
    plain = replace(source, quoted=False)
    note = (
        f"{source.path}: quotation marks are read as characters of the texts, as not every field that begins with one "
        f"ends with one; say otherwise with `{layout.key}.quoted: true`"
    )
    if re.search(_OPENED.format("\t"), re.sub(_ENCLOSED.format("\t"), "", source.content)):
        return replace(_table(layout, plain), notes=(note,))
    try:
        return _table(layout, source)
    except SpecError:
        if len({len(record.fields) for record in plain.records}) > 1:
            raise
        return replace(_table(layout, plain), notes=(note,))


def _table(layout: Layout, source: Source) -> Table:
    import pandas

    head = next(source.read())
    names = [name.strip() for name in layout.columns or head.fields]
    # where the file has the line of names that the study gives, it is no row
    is_named = not layout.columns or [field.strip() for field in head.fields] == names
    hint = (
        ""
        if layout.columns
        else f"; if line {head.first} is a row already, name all columns with `{layout.key}.columns`"
    )
    check_columns(layout, str(source.path), names, hint="" if layout.columns else hint)
    if len(names) != len(head.fields):
        raise SpecError(
            f"{source.path}:{head.first}: {len(head.fields)} fields, and `{layout.key}.columns` names {len(names)}; "
            "name them all"
        )
    try:
        frame = source.frame()
    except pandas.errors.ParserError as error:
        frame = _mended(layout, source, len(names), str(error))
    skipped = 1 if is_named else 0
    table = Table(
        str(source.path),
        tuple(names),
        {name: frame[place].tolist()[skipped:] for place, name in enumerate(names) if name},
        lambda: [record.last for record in source.records[skipped:]],
    )
    if source.quoted and '"' in source.content:
        check_swallowed(layout, table, [record.first for record in source.records[skipped:]], source.delimiter)
    return table


def _mended(layout: Layout, source: Source, width: int, problem: str) -> pandas.DataFrame:
    """Rows that end with more delimiters than the line of names and nothing between them are as good as others."""
    import pandas

    records = source.records
    if "EOF inside string" in problem:
        raise SpecError(
            f"{source.path}:{records[-1].first}: a quotation mark opens a field that is never closed; double a mark "
            f'that belongs to the text and enclose the field ("a ""word"" of it"), or set `{layout.key}.quoted: false`'
        )
    longer = [record for record in records if any(field.strip() for field in record.fields[width:])]
    if longer:
        lines = ", ".join(str(record.first) for record in longer[:5]) + (", ..." if len(longer) > 5 else "")
        raise SpecError(
            f"{source.path}: {len(longer)} rows have more fields than the {width} columns (lines {lines}): enclose a "
            f"field that holds {source.delimiter!r} in quotation marks, or write the file as jsonl"
        )
    return pandas.DataFrame([[*record.fields, *[""] * width][:width] for record in records])


def _delimiter(layout: Layout, path: Path, content: str, usual: str) -> str:
    """The first delimiter with which the wanted columns are found, or the given ones fit the most of the first rows;
    where neither are known, the one that cuts the most of them into as many fields as the line of names."""

    def fit(delimiter: str) -> int:
        looked_at = 1 if layout.wanted and not layout.columns else _SAMPLE
        first = list(islice(Source(path, content, delimiter, quoted=True).read(), looked_at))
        if layout.columns:
            return sum(len(record.fields) == len(layout.columns) for record in first)
        if not layout.wanted:
            width = len(first[0].fields)
            return sum(len(record.fields) == width for record in first) if width > 1 else 0
        return len(set(layout.wanted.values()) & {field.strip() for record in first for field in record.fields})

    ordered = [usual, *(delimiter for delimiter in _DELIMITERS if delimiter != usual)]
    return max(ordered, key=fit)  # the first of equals


@contextmanager
def _long_fields() -> Iterator[None]:
    """A text may be longer than the 128 kB at which Python's own reader gives up; pandas does not."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
