"""Using an exported folder from Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from autocompress.core.policy import CompressionPolicy
from autocompress.core.workload import Workload
from autocompress.deploy.folder import MODEL, verify_files
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session


@dataclass(frozen=True, slots=True)
class Answer:
    """The likeliest label of a text, and the share of every label."""

    label: str
    shares: dict[str, float]


@final
class Classifier:
    """An exported model, ready to answer. `policy` says what was done to it."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFoundError or IntegrityError when the folder is not a whole export, HostError when its runtime is
        not installed."""
        manifest = verify_files(folder)
        self.labels = tuple(manifest.task["labels"])
        self.policy = CompressionPolicy.from_json(json.loads((folder / "policy.json").read_text("utf-8"))["steps"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(manifest.task["max_length"]))
        self._workload, self._pad = Workload.of(manifest.workload), int(manifest.task.get("pad", 0))
        self._session = Session(
            folder / MODEL,
            threads=self._workload.threads,
            runtime=manifest.runtime_name,
            switches=manifest.switches,
        )

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[texts, labels], computed in the batches that the model was measured with."""
        encoded = self._tokenizer.encode_batch(list(texts))
        tokens = [np.asarray(text.ids, dtype=np.int64) for text in encoded]
        return predict_as_served(self._session, tokens, self._workload, pad=self._pad)

    def __call__(self, texts: Sequence[str]) -> list[Answer]:
        raw = self.logits(texts).astype(np.float64)
        shares = np.exp(raw - raw.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [
            Answer(self.labels[int(row.argmax())], dict(zip(self.labels, map(float, row), strict=True)))
            for row in shares
        ]


def load(folder: str | Path) -> Classifier:
    """Loads an exported folder after checking every file in it."""
    return Classifier(Path(folder))
