"""Texts that swallowed the rows after them, because of a quotation mark that was never meant to open a field."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table

_SUSPECT: Final = 0.5
"""Of a text's line ends, the share that must look like ends of rows before it is taken for more than one row."""


def check_swallowed(layout: Layout, table: Table, first_lines: Sequence[int], delimiter: str) -> None:
    """Texts may well have lines. One is refused whose lines look like rows: broken at its line ends, it would give the
    columns beside the text, and labels that other rows have. `first_lines` are those on which rows begin.

    Raises SpecError with both ends of the first that was swallowed.
    """
    label = layout.wanted.get("label")
    if label is None:
        return
    texts, labels = table.cells[layout.wanted["text"]], table.cells[label]
    long = [row for row, text in enumerate(texts) if "\n" in text or "\r" in text]
    if not long:
        return
    known = {cell.strip() for row, cell in enumerate(labels) if row not in set(long)} - {""}
    place, aim = table.columns.index(layout.wanted["text"]), table.columns.index(label)
    numbers, found = table.numbers(), []
    for row in long:
        lines = texts[row].splitlines()
        fits = sum(
            _is_row_end(before, after, place, aim, len(table.columns), known, delimiter)
            for before, after in pairwise(lines)
        )
        if fits and fits >= _SUSPECT * (len(lines) - 1):
            found.append((first_lines[row], numbers[row], len(lines) - 1))
    if found:
        opened, closed, swallowed = found[0]
        others = f", and {len(found) - 1} more like it" if len(found) > 1 else ""
        raise SpecError(
            f"{table.where}:{opened}: a quotation mark opens a text here that is closed on line {closed}, and the "
            f"{swallowed} line ends between look like ends of rows{others}; double a mark that belongs to the text and "
            f'enclose the text ("a ""word"" of it"), or set `{layout.key}.quoted: false`'
        )


def _is_row_end(before: str, after: str, place: int, aim: int, width: int, known: set[str], delimiter: str) -> bool:
    """Whether one row may end with the line `before`, and another one begin with `after`."""
    ending, beginning = _fields(before, delimiter), _fields(after, delimiter)
    if len(ending) < width - place or len(beginning) < place + 1:
        return False
    cell = ending[aim - width] if aim > place else beginning[aim]
    return cell.strip() in known


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])
