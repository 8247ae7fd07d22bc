"""A word with its tag on each line, and an empty line after each sentence: as the CoNLL tasks had it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table, check_columns

_DOCUMENT: Final = "-DOCSTART-"
_SPACES: Final = re.compile(r"[ \t]+")

Line = tuple[int, list[str]]
"""Its number, and its fields."""


def read_conll(layout: Layout, path: Path, content: str) -> Table:
    """A row for each sentence, under the number of its first line: words and tags. Columns are those of `layout`; where
    it names none, words come first and tags last. Lines that begin with `#` and have another number of fields are
    comments, and those that begin a document are left away.

    Raises SpecError with the lines that have fewer or more fields than the others, and where columns are missing."""
    sentences = _sentences(content)
    lines = [line for sentence in sentences for line in sentence]
    if not lines:
        raise SpecError(f"{path}: no line has a word and a tag")
    width = Counter(len(fields) for _, fields in lines).most_common(1)[0][0]
    sentences = [[line for line in sentence if not _is_comment(line[1], width)] for sentence in sentences]
    sentences = [sentence for sentence in sentences if sentence]
    _check_width(layout, path, [line for sentence in sentences for line in sentence], width)
    word, tag = _places(layout, path, width)
    if not layout.columns and all(_is_numbered(sentence) for sentence in sentences):
        raise SpecError(
            f"{path}: its first column numbers the words; name all columns with `{layout.key}.columns`, and those of "
            f"words and tags with `{layout.key}.text` and `{layout.key}.label`"
        )
    cells = {
        layout.wanted["text"]: [[fields[word] for _, fields in sentence] for sentence in sentences],
        layout.wanted["label"]: [[fields[tag] for _, fields in sentence] for sentence in sentences],
    }
    return Table(str(path), tuple(cells), cells, lambda: [sentence[0][0] for sentence in sentences])


def _sentences(content: str) -> list[list[Line]]:
    """Fields are apart by tabs where most lines have some, else by spaces."""
    lines = content.split("\n")  # what else `splitlines` takes for ends of lines may be a word
    full = [line for line in lines if line.strip()]
    tabs = 2 * sum("\t" in line for line in full) > len(full)
    found: list[list[Line]] = [[]]
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip():
            found.append([])
        elif not line.startswith(_DOCUMENT):
            fields = [field.strip() for field in line.split("\t")] if tabs else _SPACES.split(line.strip(" \t"))
            found[-1].append((number, fields))
    return found


def _is_comment(fields: Sequence[str], width: int) -> bool:
    return fields[0].startswith("#") and len(fields) != width


def _is_numbered(sentence: Sequence[Line]) -> bool:
    return [fields[0] for _, fields in sentence] == [str(place) for place in range(1, len(sentence) + 1)]


def _check_width(layout: Layout, path: Path, lines: Sequence[Line], width: int) -> None:
    expected = len(layout.columns) or width
    if unfit := [number for number, fields in lines if len(fields) != expected or expected < 2]:
        told = Table(str(path), (), {}, lambda: unfit).told(range(len(unfit)))
        wanted = f"the {expected} that `{layout.key}.columns` names" if layout.columns else f"{max(expected, 2)} fields"
        raise SpecError(
            f"{path}: {len(unfit)} lines do not have {wanted} ({told}); a line has a word, what else is said of it, "
            "and its tag, with tabs or spaces between, and sentences end with an empty line"
        )


def _places(layout: Layout, path: Path, width: int) -> tuple[int, int]:
    if not layout.columns:
        return 0, width - 1
    check_columns(layout, str(path), layout.columns)
    return layout.columns.index(layout.wanted["text"]), layout.columns.index(layout.wanted["label"])
