"""Using an exported folder from Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.policy import CompressionPolicy
from autocompress.core.task_kinds import NOUNS
from autocompress.core.workload import Workload
from autocompress.deploy.answers import FORMS, Form
from autocompress.deploy.folder import MANIFEST, MODEL, POLICY, Manifest, answering, read_manifest, verify_used
from autocompress.deploy.readers import READERS, TextReader
from autocompress.deploy.session import Session, runtime
from autocompress.errors import HostError, IntegrityError, SpecError


@final
class ExportedModel:
    """An exported model, ready to answer. `policy` says what was done to it, `session` is the model itself."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFoundError when a file that it uses is not there, IntegrityError when one was changed, HostError
        when its runtime is not installed."""
        manifest = verify_used(folder, answering(folder, read_manifest(folder)))
        self.labels = tuple(manifest.task["labels"])
        self.policy = CompressionPolicy.from_json(json.loads((folder / POLICY).read_text("utf-8"))["steps"])
        self._about = manifest.task
        self._form = _form(folder, str(manifest.task.get("answer", "share")))
        self.reader = READERS[manifest.modality](folder, manifest.task)
        self._workload = Workload.of(manifest.workload)
        _check_runtime(folder, manifest)
        self.session = Session(
            folder / MODEL,
            threads=self._workload.threads,
            runtime=manifest.runtime_name,
            switches=manifest.switches,
        )

    def tokens(self, texts: Iterable[Any]) -> list[NDArray[np.int64]]:
        """The token ids of each text, or pair of texts. Raises SpecError for what is neither, and for a model that
        reads no texts."""
        if not isinstance(self.reader, TextReader):
            raise SpecError(f"this model reads {NOUNS[self._about['modality']]}, which have no tokens")
        return self.reader.tokens(texts)

    def logits(self, given: Any) -> NDArray[np.float32]:
        """[rows, outputs], computed in the batches that the model was measured with; one row for one text, image or
        recording."""
        rows = [given] if self.reader.is_row(given) else list(given)
        if not rows:
            return np.zeros((0, len(self.labels)), np.float32)
        return self.reader.outputs(self.session, rows, self._workload)

    def __call__(self, given: Any) -> Any:
        """The answer to one text, image or recording, or one for each of several (`deploy.answers`). Where the model
        reads pairs, a tuple of two texts is one of them; where it reads words, a tuple of words is a text that was
        split already.
        Images are paths, bytes, arrays or Pillow's own; recordings are paths or bytes of files, mappings with `array`
        and `sampling_rate`, or arrays of the model's own rate."""
        rows = [given] if self.reader.is_row(given) else list(given)
        answers = self._form(self.logits(rows), self._about, self.reader.words(rows))
        return answers[0] if self.reader.is_row(given) else list(answers)


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
