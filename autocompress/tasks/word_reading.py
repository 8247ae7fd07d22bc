"""Rows of words as a model of tokens reads them: which token a word is told by, and what becomes of those without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import SpecError
from autocompress.inputs.examples import Examples, filled
from autocompress.inputs.outputs import IGNORED
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.inputs.words import ReadWords
from autocompress.tasks.tokenization import Tokenization

_MOSTLY: Final = 0.5
"""More words than this share must be something to the tokenizer."""


@dataclass(frozen=True, slots=True)
class WordRows:
    """`examples` are the rows of which a word is left, `kept` their places among what was given. Of all `words` so many
    are `cut` off, in so many `long` rows, and of so many the tokenizer makes `nothing`, such as the first of those."""

    examples: Examples
    kept: list[int]
    words: int
    cut: int
    long: int
    nothing: int
    first: str = ""


def of_words(
    tokenization: Tokenization, texts: Sequence[Any], numbers: Sequence[NDArray[np.int64]] | None, *, where: str
) -> WordRows:
    """Tokenizes rows of words, or texts whose words nobody told apart, with the numbers of their tags; 0 where nobody
    gave any.

    Raises SpecError where transformers reads a row otherwise, and where the tokenizer makes nothing of most words."""
    tokenization([text if isinstance(text, str) else " ".join(text) for text in texts])  # compares the two
    reads = tokenization.reader.by_word(texts)
    words, cut = sum(len(read.places) for read in reads), sum(read.cut for read in reads)
    lost = [(row, word) for row, read in enumerate(reads) for word in read.nothing]
    if len(lost) > _MOSTLY * words:
        raise SpecError(
            f"{where}: of {len(lost)} of {words} words the tokenizer of {tokenization.folder} makes nothing, "
            f"{_word(texts, lost[0])!r} among them; is it a model of this language and script?"
        )
    kept = [row for row, read in enumerate(reads) if max(read.places, default=-1) >= 0]
    labels = [_labels(reads[row], None if numbers is None else numbers[row]) for row in kept]
    tokens = tuple(reads[row].ids for row in kept)
    pad, given = tokenization.files.pad, tuple(texts[row] for row in kept)
    whole = filled(labels, IGNORED) if labels else np.zeros((0, 0), dtype=np.int64)
    examples, long = Examples(given, tokens, whole, pad), sum(read.cut > 0 for read in reads)
    return WordRows(examples, kept, words, cut, long, len(lost), _word(texts, lost[0]) if lost else "")


def about_words(found: Sequence[WordRows], tokenizer: TokenizerFiles) -> list[str]:
    """What there is to say of words that no model sees."""
    words, notes = sum(one.words for one in found), []
    if cut := sum(one.cut for one in found):
        long, rows = sum(one.long for one in found), sum(len(one.kept) for one in found)
        notes.append(
            f"{long} of {rows} rows ({long / rows:.0%}) are longer than {tokenizer.longest} tokens (task.max_length) "
            f"and are cut there: {cut} of {words} words are neither learned nor judged"
        )
    if nothing := sum(one.nothing for one in found):
        first = next(one.first for one in found if one.nothing)
        notes.append(
            f"{nothing} of {words} words are nothing to the tokenizer, such as {first!r}, and are left away with their "
            "tags"
        )
    return notes


def _labels(read: ReadWords, numbers: NDArray[np.int64] | None) -> NDArray[np.int64]:
    labels = np.full(len(read.ids), IGNORED, dtype=np.int64)
    for word, place in enumerate(read.places):
        if place >= 0:
            labels[place] = 0 if numbers is None else numbers[word]
    return labels


def _word(texts: Sequence[Any], place: tuple[int, int]) -> str:
    row, word = place
    return str(texts[row][word])
