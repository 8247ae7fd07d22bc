"""Is an exported folder what it was, and as fast as promised beside the uncompressed model? Asked at any time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress.core.workload import Workload
from autocompress.deploy.export import export_stock
from autocompress.deploy.folder import CHECK, MODEL, verify_files
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session
from autocompress.rebuild import load_torch, uncompressed
from autocompress.verification import time_sessions

_LOGIT_TOLERANCE: Final = 0.05
"""int8 kernels of another CPU round differently; fp32 ones stay far below."""
_FORM_TOLERANCE: Final = 0.05
"""Of the largest logit. The file and the torch form add up in another order; a rounding to int8 that tips over then
goes through all layers."""


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was promised and what was found; `problems` is empty for a folder that keeps its word.

    Logits are compared with those of the export (`largest_difference`, `agreement`) and with those of the folder's own
    torch form (`parity`). `baseline_latency_ms` is the uncompressed model's stock export, timed beside the file.
    """

    folder: str
    digest: str
    files: int
    largest_difference: float
    agreement: float
    parity: float
    accuracy: float
    promised_accuracy: float
    latency_ms: float
    promised_latency_ms: float
    baseline_latency_ms: float
    promised_speedup: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def speedup(self) -> float:
        """Here and now."""
        return self.baseline_latency_ms / self.latency_ms

    @property
    def lines(self) -> list[str]:
        return [
            f"{self.files} files match their SHA-256",
            f"outputs: largest difference {self.largest_difference:.2g}, {self.agreement:.1%} of answers the same",
            f"parity: logits of the file and of the folder's torch form differ by at most {self.parity:.2g}",
            f"accuracy on the folder's check texts: {self.accuracy:.4f} (was {self.promised_accuracy:.4f})",
            f"latency: {self.latency_ms:.3g} ms here and now (was {self.promised_latency_ms:.3g} ms when exported)",
            f"beside it the uncompressed model's stock fp32 export: {self.baseline_latency_ms:.3g} ms, "
            f"{self.speedup:.1f}x (was {self.promised_speedup:.1f}x)",
            *self.problems,
        ]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"speedup": self.speedup, "ok": self.ok}


def verify_folder(folder: Path, *, rounds: int = 20) -> FolderReport:
    """Checks every file, runs the model on the texts that travel with it, and times it again, beside the uncompressed
    model: its stock export is made anew, with random weights, which take as long as any.

    A latency that differs is reported, not refused: it is this machine's, now. Raises IntegrityError when a file is not
    what it was.
    """
    manifest = verify_files(folder)
    check = json.loads((folder / CHECK).read_text(encoding="utf-8"))
    workload = Workload.of(manifest.workload)
    session = Session(
        folder / MODEL, threads=workload.threads, runtime=manifest.runtime_name, switches=manifest.switches
    )
    tokens = [np.asarray(ids, dtype=np.int64) for ids in check["tokens"]]
    logits = predict_as_served(session, tokens, workload, pad=int(manifest.task.get("pad", 0)))
    promised, labels = np.asarray(check["logits"], dtype=np.float32), np.asarray(check["labels"])
    answers, expected = logits.argmax(axis=1), promised.argmax(axis=1)
    rows = 1 + max(max(ids) for ids in check["tokens"])  # the vocabulary holds at least what the check texts hold
    with tempfile.TemporaryDirectory() as place:
        export_stock(uncompressed(folder), Path(place) / MODEL)
        stock = Session(Path(place) / MODEL, threads=workload.threads)
        whole, timed = time_sessions([stock, session], workload, rows, rounds=rounds, seconds=10)
    difference = float(np.abs(logits - promised).max())
    # one text after another: texts of one batch share the scale of its int8 activations
    alone = session.predict(tuple(tokens))
    apart = float(np.abs(alone - _torch_logits(folder, tokens)).max())
    promised_ms = float(manifest.metrics["latency_ms"]["value"])
    problems = []
    if difference > _LOGIT_TOLERANCE:
        problems.append(f"{folder / MODEL}: answers moved by {difference:.3g}, more than {_LOGIT_TOLERANCE}")
    most = _FORM_TOLERANCE * float(np.abs(alone).max())
    if apart > most:
        problems.append(f"{folder / MODEL}: logits differ from the torch form's by {apart:.3g}, more than {most:.3g}")
    return FolderReport(
        folder=str(folder),
        digest=manifest.digest,
        files=len(manifest.files),
        largest_difference=difference,
        agreement=float((answers == expected).mean()),
        parity=apart,
        accuracy=float((answers == labels).mean()),
        promised_accuracy=float((expected == labels).mean()),
        latency_ms=timed.median,
        promised_latency_ms=promised_ms,
        baseline_latency_ms=whole.median,
        promised_speedup=float(manifest.baseline["latency_ms"]["value"]) / promised_ms,
        problems=tuple(problems),
    )


def _torch_logits(folder: Path, tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Of the folder's torch form, text by text."""
    model, rows = load_torch(folder), []
    with torch.inference_mode():
        for text in tokens:
            ids = torch.from_numpy(text)[None]
            rows.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy())
    return np.stack(rows)
