"""Image classification: the class of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from autocompress.anatomy.heads import IMAGE
from autocompress.tasks.classes import OfClasses


@final
@dataclass(frozen=True, slots=True)
class ImageClassification(OfClasses):
    """Labelled images; an output a class. The answer is the largest."""

    kind: ClassVar[str] = "image-classification"
    head: ClassVar[str] = IMAGE
