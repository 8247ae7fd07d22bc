"""Text classification: the class of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from autocompress.tasks.classes import OfClasses


@final
@dataclass(frozen=True, slots=True)
class TextClassification(OfClasses):
    """Labelled texts; an output a class. The answer is the largest."""

    kind: ClassVar[str] = "text-classification"
