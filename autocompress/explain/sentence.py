"""A text as a model reads it, word by word."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import SpecError
from autocompress.teacher.teacher import Teacher


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text as the model reads it: `words` are the tokens as people write them, `left_out` how many were cut off."""

    text: str
    tokens: NDArray[np.int64]
    words: tuple[str, ...]
    left_out: int


def tokenized(teacher: Teacher, text: str, *, longest: int) -> Sentence:
    """At most so many tokens of a text; the closing one stays. Raises SpecError when there is nothing to read."""
    reader = teacher.task.tokenizer.opened()
    whole = reader.whole(text)
    if len(whole) <= len(reader.whole("")):
        raise SpecError(f"--text: {text!r} holds no word that the model can read; give a sentence")
    (ids,) = replace(teacher.task.tokenizer, longest=longest).opened()([text])
    return Sentence(text, ids, reader.words(ids), len(whole) - len(ids))
