"""Which tokens the words of a text begin with.

Rows of words are read as the text that they are with spaces between, so that one tokenizer reads what is trained and
what is asked. For the tokenizers of BERT's kind that gives what transformers gives with `is_split_into_words`; those
that mark spaces read the first word as they read the beginning of any text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import SpecError

Bounds = Sequence[tuple[int, int]]
"""Of each word, the characters that it begins with and ends before."""


@dataclass(frozen=True, slots=True)
class ReadWords:
    """A row as a model reads it. `places` are those of each word's first token, -1 where it has none: of `cut` words
    that is so because the row was cut, of those in `nothing` because the tokenizer makes nothing of them. `bounds` are
    in characters of the `text`; `given_words` where somebody told them apart."""

    text: str
    ids: NDArray[np.int64]
    places: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    cut: int
    nothing: tuple[int, ...]
    given_words: bool


def joined_words(words: Sequence[str]) -> tuple[str, Bounds]:
    """A text of these words, and where they are in it."""
    bounds, begin = [], 0
    for word in words:
        bounds.append((begin, begin + len(word)))
        begin += len(word) + 1
    return " ".join(words), bounds


def check_words(row: Any, where: str) -> None:
    """Raises SpecError for what is neither a text nor words."""
    if isinstance(row, str):
        return
    is_words = isinstance(row, (tuple, list)) and all(isinstance(word, str) and word.strip() for word in row)
    if not row or not is_words:
        raise SpecError(
            f"{where}: must be a text, or a tuple or list of words that are not empty, got {type(row).__name__} "
            f"{str(row)[:40]!r}"
        )


def read_words(encoding: Any, text: str, bounds: Bounds | None, *, pad: int) -> ReadWords:
    """Of a text that the tokenizers library read; without `bounds` its words are those that the tokenizer tells apart
    before it looks for tokens."""
    ids = np.asarray(encoding.ids or [pad], dtype=np.int64)
    offsets = encoding.offsets
    given = bounds is not None
    bounds = bounds if bounds is not None else _told_apart(encoding, text)
    places, word = [-1] * len(bounds), 0
    for place, (begin, end) in enumerate(offsets):
        while word < len(bounds) and bounds[word][1] <= begin:
            word += 1
        if begin < end and word < len(bounds) and bounds[word][0] < end and places[word] < 0:
            places[word] = place
    read = [offset for offset in offsets if offset[0] < offset[1]]
    first, last = (read[0][0], read[-1][1]) if read else (0, 0)
    is_cut = bool(encoding.overflowing)
    cut = [
        is_cut and place < 0 and (end <= first or begin >= last)
        for place, (begin, end) in zip(places, bounds, strict=True)
    ]
    nothing = tuple(word for word, place in enumerate(places) if place < 0 and not cut[word])
    return ReadWords(text, ids, tuple(places), tuple(bounds), sum(cut), nothing, given)


def _told_apart(encoding: Any, text: str) -> Bounds:
    found: dict[int, tuple[int, int]] = {}
    for word, (begin, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if word is not None and begin < end:
            first, last = found.get(word, (begin, end))
            found[word] = min(first, begin), max(last, end)
    return [trimmed for begin, end in found.values() if (trimmed := _trimmed(text, begin, end))]


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int] | None:
    """Without spaces around it, which some tokenizers count to a word; None where nothing else is there."""
    word = text[begin:end]
    begin += len(word) - len(word.lstrip())
    return (begin, begin + len(word.strip())) if word.strip() else None
