"""Rows of words with a tag each."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from autocompress.errors import SpecError
from autocompress.reading.cells import alike, is_broken, is_missing, is_nested, plain, refuse
from autocompress.reading.layout import Layout, Table

_PRINTED: Final = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s'"]+)""")
"""An item of a list as numpy prints it: without commas."""
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")

Words = tuple[str, ...]


def words_of(table: Table, column: str) -> list[Words]:
    """The words of each row of a column of lists: JSON's, or those of csv as Python, JSON or numpy write them, or words
    with spaces between. Raises SpecError with the rows that hold something else, or no word, or an empty one."""
    found = _lists(table, column, "words", '["a", "b"]')
    refuse(table, found, lambda words: not words, "have no words; remove them", one="has no words; remove it")
    refuse(table, found, _has_empty, "hold an empty word; remove it with its tag")
    return found


def tags_of(table: Table, words: Sequence[Words], column: str) -> list[Words]:
    """The tag of each of these words. Raises SpecError with the rows that have more or fewer tags than words, or hold
    something else."""
    found = _lists(table, column, "tags", '["O", "B-name"]')
    refuse(table, found, _has_empty, "hold an empty tag; write O where a word belongs to nothing")
    unequal = [row for row, (one, tags) in enumerate(zip(words, found, strict=True)) if len(one) != len(tags)]
    if unequal:
        row = unequal[0]
        count = "1 row has" if len(unequal) == 1 else f"{len(unequal)} rows have"
        raise SpecError(
            f"{table.where}: {count} another number of tags than of words ({table.told(unequal)}): there "
            f"{len(words[row])} words and {len(found[row])} tags; each word has one"
        )
    return found


def check_tags(where: str, layout: Layout, rows: Sequence[Words]) -> None:
    """Raises SpecError for tags that differ in case alone, and for words that all have the same."""
    counted = [tag for tags in rows for tag in tags]
    if groups := alike(counted):
        first, *others = groups[0]
        raise SpecError(f"{where}: tag {others[0]!r} is {first!r} but for case or spaces; write both alike")
    distinct = set(counted)
    if len(distinct) < 2:
        raise SpecError(f"{where}: all words have the tag {min(distinct, default='')!r}; there is nothing to learn")
    if len(distinct) > max(10, len(counted) // 2):
        some = sorted(distinct)
        raise SpecError(
            f"{where}: {len(distinct)} different tags for {len(counted)} words, such as {some[0][:40]!r} and "
            f"{some[1][:40]!r}: is {layout.wanted['label']!r} the column of tags? Name it with `{layout.key}.label`"
        )


def _lists(table: Table, column: str, what: str, example: str) -> list[Words]:
    cells = [_list_in(cell) for cell in table.cells[column]]
    refuse(
        table,
        cells,
        lambda cell: cell is None,
        f"hold no list of {what} in {column!r}; write each as a list, such as {example}",
    )
    found = [tuple(str(plain(one)).strip() for one in cell or ()) for cell in cells]
    refuse(table, found, lambda row: any(map(is_broken, row)), "hold half of a surrogate pair, which is no character")
    return found


def _list_in(cell: Any) -> list[Any] | None:
    """None where there is no flat list."""
    if isinstance(cell, str):
        text = cell.strip()
        return _written(text) if text.startswith("[") and text.endswith("]") else (text.split() or None)
    if isinstance(cell, Mapping) or not is_nested(cell):
        return None
    items = cell.tolist() if hasattr(cell, "tolist") else list(cell)
    return None if any(is_nested(one) or is_missing(one) for one in items) else items


def _written(text: str) -> list[Any] | None:
    """A list in a cell of csv; of one without commas, as numpy prints it, Python would make a single text."""
    if len(text) > 2 and "," not in _QUOTED.sub("", text):
        return [next(filter(None, one), "") for one in _PRINTED.findall(text[1:-1])]
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return None if any(is_nested(one) or one is None for one in found) else found


def _has_empty(row: Sequence[str]) -> bool:
    return "" in row
