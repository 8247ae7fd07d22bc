"""What a column holds, by its cells alone."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from autocompress.reading.cells import is_missing, is_nested, plain
from autocompress.reading.given import ARRAY

Holds = Literal["texts", "classes", "amounts", "lists", "files", "other"]
"""Texts to read; one of few classes; an amount; a list of words or of classes; images or recordings, or their names;
else nothing that a study could use."""

_LOOKED_AT: Final = 20_000
_MOST_CLASSES: Final = 200
_FEW: Final = 20
"""Different whole numbers that may still be classes."""
_LONGEST_CLASS: Final = 60
_WORDS: Final = 2.0
"""Mean number of words from which cells that are nearly all different are texts."""
_SURE_WORDS: Final = 4.0
_CHARACTERS_A_WORD: Final = 3.0
"""Of writing without spaces between words, such as Chinese."""
_NEARLY_ALL: Final = 0.9
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_STRANGE: Final = {
    "dates": re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?"),
    "times": re.compile(r"\d{1,2}:\d{2}(:\d{2}.*)?"),
    "addresses": re.compile(r"(https?|ftp|s3)://\S+|\S+@\S+\.\w+"),
    "identifiers": re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|[A-Z]{1,4}[-_]?\d{3,}", re.IGNORECASE),
}
_FILES: Final = re.compile(r"\S.*\.(png|jpe?g|gif|bmp|webp|tiff?|wav|flac|ogg|mp3)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """`rows` that are filled, `distinct` cells among them, `words` a row in the mean. `classes` are named where it
    holds some; `whole` says that all its numbers are; `why` tells in words what it holds."""

    name: str
    holds: Holds
    why: str
    rows: int = 0
    distinct: int = 0
    words: float = 0.0
    classes: tuple[str, ...] = ()
    whole: bool = False
    lengths: tuple[int, ...] = ()

    @property
    def is_plainly_text(self) -> bool:
        return self.holds == "texts" and self.words >= _SURE_WORDS


def column_of(name: str, cells: Sequence[Any]) -> Column:
    """By its first cells, where there are very many."""
    found = [plain(cell) for cell in cells[:_LOOKED_AT] if not is_missing(cell)]
    found = [cell for cell in found if not isinstance(cell, str) or cell.strip()]
    if not found:
        return Column(name, "other", "is empty")
    if all(_is_whole(cell) for cell in found):
        return Column(name, "files", "holds images or recordings", len(found))
    if all(isinstance(cell, Mapping) for cell in found) and isinstance(told := found[0].get(ARRAY), str):
        return Column(name, "other", f"holds arrays {told}; images are uint8 [height, width, 3]", len(found))
    if all(is_nested(cell) or _as_list(cell) is not None for cell in found):
        return _of_lists(name, found)
    written = ["true" if cell is True else "false" if cell is False else str(cell).strip() for cell in found]
    if (numbers := _numbers(written)) is not None:
        return _of_numbers(name, numbers)
    return _of_words(name, written)


def _is_whole(cell: Any) -> bool:
    """As a table holds a file: its bytes, or a mapping of them."""
    return isinstance(cell, bytes) or (isinstance(cell, Mapping) and bool(cell.get("bytes") or cell.get("base64")))


def _as_list(cell: Any) -> list[Any] | None:
    """What a csv holds of a list: as Python or JSON writes it."""
    if not isinstance(cell, str) or not cell.strip().startswith("["):
        return None
    try:
        found = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _of_lists(name: str, cells: Sequence[Any]) -> Column:
    lists = [list(cell) if is_nested(cell) else _as_list(cell) or [] for cell in cells]
    if any(is_nested(one) for entries in lists for one in entries):
        return Column(name, "other", "holds structures", len(lists))
    different = {str(one) for entries in lists for one in entries}
    return Column(
        name,
        "lists",
        f"holds lists of {len(different)} different entries",
        len(lists),
        len(different),
        lengths=tuple(map(len, lists)),
    )


def _numbers(written: Sequence[str]) -> list[float] | None:
    """None where any is no number."""
    try:
        found = [float(text) for text in written if "_" not in text]
    except ValueError:
        return None
    return found if len(found) == len(written) and all(map(math.isfinite, found)) else None


def _of_numbers(name: str, numbers: Sequence[float]) -> Column:
    different, rows = sorted(set(numbers)), len(numbers)
    count, whole = len(different), all(number.is_integer() for number in different)
    if count == 1:
        return Column(name, "other", "is the same in every row", rows, 1)
    steps = {second - first for first, second in pairwise(numbers)}
    if whole and count == rows > 2 and len(steps) == 1:
        return Column(name, "other", "counts the rows", rows, count)
    if whole and count <= min(_FEW, max(2, rows // 2)):
        classes = tuple(f"{number:.0f}" for number in different)
        return Column(name, "classes", f"holds {count} whole numbers", rows, count, classes=classes, whole=True)
    kind = "whole numbers" if whole else "numbers"
    why = f"holds {count} different {kind} from {different[0]:g} to {different[-1]:g}"
    return Column(name, "amounts", why, rows, count, whole=whole)


def _of_words(name: str, written: Sequence[str]) -> Column:
    rows, different = len(written), set(written)
    count, share = len(different), len(different) / rows
    if count == 1:
        return Column(name, "other", "is the same in every row", rows, 1)
    for noun, pattern in _STRANGE.items():
        if sum(bool(pattern.fullmatch(text)) for text in written) >= _NEARLY_ALL * rows:
            return Column(name, "other", f"holds {noun}", rows, count)
    if sum(bool(_FILES.fullmatch(text)) for text in written) >= _NEARLY_ALL * rows:
        return Column(name, "files", "holds names of files", rows, count)
    words = sum(map(_words, written)) / rows
    longest = max(map(len, different))
    if count <= _MOST_CLASSES and longest <= _LONGEST_CLASS and share <= 0.5:
        classes = tuple(sorted(different))
        return Column(name, "classes", f"holds {count} different values", rows, count, words, classes)
    often_repeated = share <= 0.5 and words < _SURE_WORDS
    if words >= _WORDS and not often_repeated:
        why = f"holds texts of {words:.0f} words in the mean"
        return Column(name, "texts", why, rows, count, words)
    return Column(name, "other", "holds a word or two, nearly all different", rows, count, words)


def _words(text: str) -> float:
    return max(float(len(text.split())), len(_UNSPACED.findall(text)) / _CHARACTERS_A_WORD)
