"""Using an exported folder from Python: a single model, or two as one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty import doubts_of
from autocompress.deploy.answers import Answer, shares
from autocompress.deploy.cascade_folder import LARGE, PLACES, SMALL, is_cascade, read_cascade
from autocompress.deploy.folder import MANIFEST, compared
from autocompress.deploy.loader import ExportedModel
from autocompress.errors import IntegrityError, NotFoundError


@final
class ExportedCascade:
    """Two exported models, ready to answer as one: `small` first, and `large` where that is unsure. Texts are read
    once."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFoundError when a file that it uses is not there, IntegrityError when one was changed, HostError
        when their runtime is not installed."""
        self.manifest = read_cascade(folder)
        found = compared(folder, self.manifest, [f"{place}/{MANIFEST}" for place in PLACES])
        if found.missing:
            raise NotFoundError(f"{folder}: {', '.join(found.missing)} missing; export the cascade again")
        if problems := found.problems(folder):
            raise IntegrityError("\n".join(problems))
        self.small, self.large = ExportedModel(folder / SMALL), ExportedModel(folder / LARGE)
        self.labels = self.small.labels

    def tokens(self, texts: Iterable[Any]) -> list[NDArray[np.int64]]:
        """The token ids of each text. Raises SpecError for what is none."""
        return self.small.tokens(texts)

    def handed_on(self, given: Any) -> NDArray[np.bool_]:
        """Of each text, whether the large model answers it."""
        return self.judged(self._read(given))[1]

    def logits(self, given: Any) -> NDArray[np.float32]:
        """[rows, labels], of whichever answers, divided by its temperature: their softmax is calibrated. One row for
        one text."""
        return self.judged(self._read(given))[0]

    def _read(self, given: Any) -> list[NDArray[np.int64]]:
        tokens: list[NDArray[np.int64]] = self.small.reader.read([given] if isinstance(given, str) else list(given))[0]
        return tokens

    def judged(self, tokens: list[NDArray[np.int64]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Of texts by their token ids, one after another: outputs [rows, labels] as those of `logits`, and which were
        handed on [rows]."""
        if not tokens:
            return np.zeros((0, len(self.labels)), np.float32), np.zeros(0, np.bool_)
        about = self.manifest
        first = self.small.session.predict(tokens)
        unsure = doubts_of(first, about.small.temperature) > about.doubt
        found = first / np.float32(about.small.temperature)
        if unsure.any():
            some = [ids for ids, handed in zip(tokens, unsure, strict=True) if handed]
            found[unsure] = self.large.session.predict(some) / np.float32(about.large.temperature)
        return found, unsure

    def __call__(self, given: Any) -> Answer | list[Answer]:
        """The answer to one text, or one for each of several: as a single model's."""
        answers = shares(self.logits(given), self.manifest.task)
        return answers[0] if isinstance(given, str) else answers


def load(folder: str | Path) -> ExportedModel | ExportedCascade:
    """Loads an exported folder after checking the files that it uses."""
    place = Path(folder)
    return ExportedCascade(place) if is_cascade(place) else ExportedModel(place)
