"""Audio classification: the class of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from autocompress.anatomy.heads import AUDIO
from autocompress.tasks.classes import OfClasses


@final
@dataclass(frozen=True, slots=True)
class AudioClassification(OfClasses):
    """Labelled recordings; an output a class. The answer is the largest."""

    kind: ClassVar[str] = "audio-classification"
    head: ClassVar[str] = AUDIO
