"""Using an exported folder from Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final, overload

import numpy as np
from numpy.typing import NDArray

from autocompress.core.policy import CompressionPolicy
from autocompress.core.workload import Workload
from autocompress.deploy.answers import FORMS, Form
from autocompress.deploy.folder import ANSWERING, MANIFEST, MODEL, POLICY, Manifest, verify_used
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session, runtime
from autocompress.deploy.tokenizer import TextTokenizer
from autocompress.errors import HostError, IntegrityError


@final
class ExportedModel:
    """An exported model, ready to answer. `policy` says what was done to it, `session` is the model itself."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFoundError when a file that it uses is not there, IntegrityError when one was changed, HostError
        when its runtime is not installed."""
        manifest = verify_used(folder, ANSWERING)
        self.labels = tuple(manifest.task["labels"])
        self.policy = CompressionPolicy.from_json(json.loads((folder / POLICY).read_text("utf-8"))["steps"])
        self._about = manifest.task
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

    def tokens(self, texts: Iterable[str]) -> list[NDArray[np.int64]]:
        """The token ids of each text. Raises SpecError for what is no text."""
        return self._tokenizer(list(texts))

    def logits(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """[texts, labels], computed in the batches that the model was measured with; one row for one text."""
        tokens = self.tokens([texts] if isinstance(texts, str) else texts)
        if not tokens:
            return np.zeros((0, len(self.labels)), np.float32)
        return predict_as_served(self.session, tokens, self._workload, pad=self._pad)

    @overload
    def __call__(self, texts: str) -> Any: ...

    @overload
    def __call__(self, texts: Iterable[str]) -> list[Any]: ...

    def __call__(self, texts: str | Iterable[str]) -> Any:
        """The answer to one text, or one for each of several (`deploy.answers`)."""
        answers = self._form(self.logits(texts), self._about)
        return answers[0] if isinstance(texts, str) else list(answers)


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
