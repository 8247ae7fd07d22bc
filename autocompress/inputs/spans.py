"""Spans of words: what tags say of them, and the rule by which tags make spans.

The rule is that of conlleval, the script of the CoNLL tasks (Tjong Kim Sang and Buchholz 2000), which seqeval (Nakayama
2018) has as its default: a span begins at B and S, at I and E where no span of their type is open, and at another type;
it ends after E and S, before B, S and O, and before another type. So tags that no scheme would write mean something,
too: a model that says I-person after O has found a person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

OUTSIDE: Final = "O"
_PREFIXED: Final = re.compile(r"([BIESLUMW])(?:[-_](.+))?")
_SAME: Final = {"L": "E", "U": "S", "M": "I", "W": "S"}
"""Letters of BILOU and of BMEW by those of BIOES."""
_LETTERS: Final = "OBIES"
_O, _B, _I, _E, _S = range(len(_LETTERS))

Meaning = tuple[str, str]
"""Of a tag: its letter in BIOES, and the type of the span; ("O", "") belongs to none."""

Spans = NDArray[np.int64]
"""[spans, 4]: the row, the type's number, and the places of the first and of the last word among all words."""


def meanings(tags: Sequence[str]) -> tuple[Meaning, ...]:
    """What each of a model's tags means: in BIO, IOB1, BIOES, BILOU, BMEW or IO. Types without letters are IO where one
    of the tags is O. Of tags that are none of this each stands for itself, as those of parts of speech do: every word
    is a span."""
    if not strange_tags(tags):
        return tuple(_meaning(tag) for tag in tags)
    letter = "I" if _is_bare(tags) else "S"
    return tuple((OUTSIDE, "") if tag == OUTSIDE and letter == "I" else (letter, tag) for tag in tags)


def has_spans(tags: Sequence[str]) -> bool:
    """Whether these are tags of spans, and not each for itself."""
    return not strange_tags(tags) or _is_bare(tags)


def strange_tags(tags: Sequence[str]) -> list[str]:
    """Those that are neither O nor have a letter."""
    return [tag for tag in tags if tag != OUTSIDE and not _PREFIXED.fullmatch(tag)]


def _is_bare(tags: Sequence[str]) -> bool:
    return OUTSIDE in tags and len(strange_tags(tags)) == len(tags) - 1


def _meaning(tag: str) -> Meaning:
    found = _PREFIXED.fullmatch(tag)
    if found is None:
        return OUTSIDE, ""
    return _SAME.get(found[1], found[1]), found[2] or "_"


def types_of(meant: Sequence[Meaning]) -> tuple[str, ...]:
    """The types of spans, in their order: what the numbers of `spans` stand for."""
    return tuple(dict.fromkeys(kind for letter, kind in meant if letter != OUTSIDE))


def spans(tags: NDArray[np.int64], rows: NDArray[np.int64], meant: Sequence[Meaning]) -> Spans:
    """Of the tags of words, by their numbers in `meant`; `rows`, ascending, say which row each word belongs to: no span
    goes from one into the next."""
    if not len(tags):
        return np.zeros((0, 4), dtype=np.int64)
    numbers = {kind: number for number, kind in enumerate(types_of(meant))}
    letters = np.array([_LETTERS.index(letter) for letter, _ in meant])
    kinds = np.array([numbers.get(kind, -1) if letter != OUTSIDE else -1 for letter, kind in meant])
    # an O before every row, and one at the end
    apart = np.cumsum(np.r_[True, rows[1:] != rows[:-1]])
    places = np.arange(len(tags)) + apart
    length = places[-1] + 2
    letter, kind = np.full(length, _O), np.full(length, -1)
    letter[places], kind[places] = letters[tags], kinds[tags]
    before, now = letter[:-1], letter[1:]
    other = kind[:-1] != kind[1:]
    begins = np.isin(now, (_B, _S)) | (np.isin(now, (_I, _E)) & np.isin(before, (_O, _E, _S))) | ((now != _O) & other)
    ends = np.isin(before, (_E, _S)) | (np.isin(before, (_B, _I)) & np.isin(now, (_B, _S, _O)))
    ends |= (before != _O) & other
    word = np.full(length, -1)
    word[places] = np.arange(len(tags))
    first, last = word[np.flatnonzero(begins) + 1], word[np.flatnonzero(ends)]
    return np.stack([rows[first], kinds[tags[first]], first, last], axis=1)
