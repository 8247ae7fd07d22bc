"""Using an exported folder from Python."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.policy import CompressionPolicy
from autocompress.core.workload import Workload
from autocompress.deploy.answers import FORMS, Form
from autocompress.deploy.folder import ANSWERING, MANIFEST, MODEL, POLICY, Manifest, verify_used
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session, runtime
from autocompress.errors import HostError, IntegrityError, SpecError
from autocompress.inputs.tokenizer import TextTokenizer


@final
class ExportedModel:
    """An exported model, ready to answer. `policy` says what was done to it, `session` is the model itself."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFoundError when a file that it uses is not there, IntegrityError when one was changed, HostError
        when its runtime is not installed."""
        manifest = verify_used(folder, ANSWERING)
        self.labels = tuple(manifest.task["labels"])
        self.policy = CompressionPolicy.from_json(json.loads((folder / POLICY).read_text("utf-8"))["steps"])
        self._about, self._pairs = manifest.task, bool(manifest.task.get("pairs", False))
        self._form = _form(folder, str(manifest.task.get("answer", "share")))
        self._pad = int(manifest.task.get("pad", 0))
        self._tokenizer = TextTokenizer.read(folder, longest=int(manifest.task["max_length"]), pad=self._pad)
        self._workload = Workload.of(manifest.workload)
        _check_runtime(folder, manifest)
        self.session = Session(
            folder / MODEL,
            threads=self._workload.threads,
            runtime=manifest.runtime_name,
            switches=manifest.switches,
        )

    def read(self, texts: Sequence[Any]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]] | None]:
        """The token ids of each text; of pairs of texts their types, too. Raises SpecError for what is neither."""
        if not texts or isinstance(texts[0], str):
            return self._tokenizer(texts), None
        return self._tokenizer.pairs(texts)

    def tokens(self, texts: Iterable[Any]) -> list[NDArray[np.int64]]:
        """The token ids of each text, or pair of texts. Raises SpecError for what is neither."""
        rows = list(texts)
        if len({isinstance(row, str) for row in rows}) > 1:
            return [self.read([row])[0][0] for row in rows]
        return self.read(rows)[0]

    def logits(self, texts: Any) -> NDArray[np.float32]:
        """[texts, outputs], computed in the batches that the model was measured with; one row for one text."""
        rows = [texts] if self._is_row(texts) else list(texts)
        if self._pairs and (single := [row for row in rows if isinstance(row, str)]):
            raise SpecError(f"this model reads pairs of texts, (first, second); got the single text {single[0][:40]!r}")
        if not rows:
            return np.zeros((0, len(self.labels)), np.float32)
        tokens, types = self.read(rows)
        return predict_as_served(self.session, tokens, self._workload, pad=self._pad, types=types)

    def __call__(self, texts: Any) -> Any:
        """The answer to one text, or one for each of several (`deploy.answers`). Where the model reads pairs, a tuple
        of two texts is one of them."""
        answers = self._form(self.logits(texts), self._about)
        return answers[0] if self._is_row(texts) else list(answers)

    def _is_row(self, texts: Any) -> bool:
        """Whether it is one and not several. Two texts in a tuple are a pair; in a list they are two texts."""
        return isinstance(texts, str) or (self._pairs and isinstance(texts, tuple) and isinstance(texts[0], str))


def _form(folder: Path, name: str) -> Form:
    """Raises IntegrityError for a form of answers that this version does not know."""
    if name not in FORMS:
        raise IntegrityError(
            f"{folder / MANIFEST}: its answers are of the form {name!r}, which this version of autocompress does not "
            f"know (known: {', '.join(FORMS)}); upgrade it"
        )
    return FORMS[name]


def _check_runtime(folder: Path, manifest: Manifest) -> None:
    """Raises HostError when the runtime here is older than the first one that can read the model."""
    requires = str(manifest.runtime.get("requires", ""))
    oldest, here = requires.partition(">=")[2], runtime(manifest.runtime_name).version
    if oldest and _numbers(here) < _numbers(oldest):
        raise HostError(f"{folder / MODEL}: needs {requires}, here is {here}; pip install --upgrade '{requires}'")


def _numbers(version: str) -> list[int]:
    """The first two: those after them bring no new operators."""
    return [int(part) for part in version.split(".")[:2] if part.isdigit()]


def load(folder: str | Path) -> ExportedModel:
    """Loads an exported folder after checking the files that it uses."""
    return ExportedModel(Path(folder))
