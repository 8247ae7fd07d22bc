"""Sentence pairs: the class of two texts together, such as whether the one follows from the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from autocompress.tasks.classes import OfClasses


@final
@dataclass(frozen=True, slots=True)
class SentencePairs(OfClasses):
    """Labelled pairs of texts (`task.data.text_pair` is the column of the second); an output a class."""

    kind: ClassVar[str] = "sentence-pairs"
