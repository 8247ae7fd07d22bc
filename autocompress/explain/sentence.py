"""A text as a model reads it, word by word; or two that it reads together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch, of_tokens
from autocompress.tasks import Task

Given = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text as the model reads it: `words` are the tokens as people write them, `left_out` how many were cut off. Of a
    pair of texts `types` tell tokens apart, for a model that does so."""

    text: str
    tokens: NDArray[np.int64]
    words: tuple[str, ...]
    left_out: int
    types: NDArray[np.int64] | None = None

    @property
    def batch(self) -> Batch:
        """By itself."""
        return of_tokens(self.tokens, self.types)


def tokenized(task: Task, given: Given, *, longest: int) -> Sentence:
    """At most so many tokens of a text or a pair; the closing one stays. Raises SpecError when there is nothing to
    read, and for one text where the task reads two."""
    if isinstance(given, str) is task.pairs:
        reads = "pairs of texts: give --text twice" if task.pairs else "one text: give --text once"
        raise SpecError(f"--text: {task.kind} reads {reads}, got {given!r}")
    reader, short = task.tokenizer.opened(), replace(task.tokenizer, longest=longest).opened()
    texts = (given,) if isinstance(given, str) else given
    if any(len(reader.whole(text)) <= len(reader.whole("")) for text in texts):
        raise SpecError(f"--text: {given!r} holds no word that the model can read; give a sentence")
    types: Any = None
    if isinstance(given, str):
        (ids,) = short([given])
    else:
        (ids,), (kinds,) = short.pairs([given])
        types = kinds if task.types else None
    return Sentence(" / ".join(texts), ids, reader.words(ids), len(reader.whole(*texts)) - len(ids), types)
