"""Is an exported folder what it was, and as fast as promised beside the uncompressed model? Asked at any time, and on a
device that has no torch too: what that is needed for is left out there, and said to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from autocompress.core.refusals import host_error, not_loaded
from autocompress.core.task_kinds import NOUNS
from autocompress.core.workload import Workload
from autocompress.deploy.folder import (
    CARD,
    CHECK,
    CONFIG,
    MANIFEST,
    MODEL,
    TORCH_FORM,
    WEIGHTS,
    Checked,
    Comparison,
    Manifest,
    compared,
    read_check,
    read_manifest,
)
from autocompress.deploy.loader import ExportedModel
from autocompress.deploy.serving import predict_as_served, serve
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_sessions
from autocompress.errors import IntegrityError
from autocompress.inputs.outputs import apart, stacked

if TYPE_CHECKING:
    from autocompress.tasks import Task

_LOGIT_TOLERANCE: Final = 0.05
"""int8 kernels of another CPU round differently; fp32 ones stay far below."""
_FORM_TOLERANCE: Final = 0.05
"""Of the largest logit. The file and the torch form add up in another order; a rounding to int8 that tips over then
goes through all layers."""
_VECTOR_TOLERANCE: Final = 0.1
"""Of a vector's length, which is 1: a cosine of 0.995. Roundings that tip over turn a vector as a whole, and none of
its hundreds of outputs is large, so that the largest says little (seen: 0.076 at most in 100 texts)."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was promised and what was found; `problems` is empty for a folder that keeps its word, and `remarks` say
    what was added to it or left behind, and could not be checked therefore.

    `texts` were put in as texts, and not as token ids, which is all that folders of old hold. Logits are compared with
    those of the export (`largest_difference`, `agreement`) and with those of the folder's own torch form (`parity`).
    `baseline_latency_ms` is the uncompressed model's stock export, timed beside the file.
    """

    folder: str
    digest: str
    files: int
    texts: int
    largest_difference: float | None
    agreement: float | None
    parity: float | None
    metric: str
    quality: float | None
    promised_quality: float | None
    latency_ms: float
    promised_latency_ms: float
    baseline_latency_ms: float | None
    promised_speedup: float
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = field(default=())
    rows: str = "texts"

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def speedup(self) -> float | None:
        """Here and now."""
        return None if self.baseline_latency_ms is None else self.baseline_latency_ms / self.latency_ms

    @property
    def lines(self) -> list[str]:
        found = [f"{self.files} files match their SHA-256"]
        if self.largest_difference is not None:
            given = f"{self.texts} {self.rows} put in" if self.texts else "token ids put in, the folder holds no texts"
            same = "" if self.agreement is None else f", {self.agreement:.1%} of answers the same"
            found.append(f"outputs: largest difference {self.largest_difference:.2g}{same} ({given})")
            if self.quality is not None:
                found.append(
                    f"{self.metric} on the folder's check {self.rows}: {self.quality:.4f} (was "
                    f"{self.promised_quality:.4f})"
                )
            elif self.agreement is not None:
                found.append(f"{self.metric} is a function of yours, and is not asked here")
        if self.parity is not None:
            found.append(
                f"parity: outputs of the file and of the folder's torch form differ by at most {self.parity:.2g}"
            )
        found.append(f"latency: {self.latency_ms:.3g} ms here and now (was {self.promised_latency_ms:.3g} ms)")
        if self.speedup is not None:
            found.append(
                f"beside it the uncompressed model's stock fp32 export: {self.baseline_latency_ms:.3g} ms, "
                f"{self.speedup:.1f}x (was {self.promised_speedup:.1f}x)"
            )
        return [*found, *self.remarks, *self.problems]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"speedup": self.speedup, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class _Answers:
    """What became of the texts that travel with a folder: the token ids put in, logits, and what is wrong with them."""

    checked: Checked
    tokens: tuple[NDArray[np.int64], ...]
    logits: NDArray[np.float32]
    problems: tuple[str, ...]

    @property
    def difference(self) -> float:
        return apart(self.logits, self.checked.logits)

    def scored(self, task: Task, logits: NDArray[np.float32]) -> float | None:
        """None where that is a function of somebody's own."""
        from autocompress.tasks import Examples, can_score

        if not can_score(task):
            return None
        checked = self.checked
        pad = task.tokenizer.pad if task.modality == "text" else 0
        return task.score(logits, Examples(checked.texts, checked.tokens, checked.labels, pad)).value


def verify_folder(folder: str | Path, *, rounds: int = 20, seconds: float = 10) -> FolderReport:
    """Checks the files, puts the texts that travel with the model through the folder's own loader, and times it again,
    beside the uncompressed model: its stock export is made anew, with random weights, which take as long as any.

    What was added to the folder and what was left behind is said, not refused, unless the model cannot answer without;
    so is a latency that differs: it is this machine's, now. Without torch the torch form is not compared, answers are
    not scored and the uncompressed model is not timed.

    Raises NotFoundError or IntegrityError when a file that the model needs is not there, or any but the card is not
    what it was, and HostError when it cannot be checked here.
    """
    try:
        return _verified(Path(folder), rounds, seconds)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:  # a digest made to fit
        if (refused := host_error(error) or not_loaded(error)) is not None:  # libraries make it an error of their own
            raise refused from error
        raise IntegrityError(
            f"{folder}: its files fit the digests in {MANIFEST} and hold something else than an export does "
            f"({type(error).__name__}: {error}); export the model again"
        ) from error


def _verified(folder: Path, rounds: int, seconds: float) -> FolderReport:
    manifest = read_manifest(folder)
    files = compared(folder, manifest)
    if damaged := [line for name, line in files.changed.items() if name != CARD]:
        raise IntegrityError("\n".join(damaged))
    exported = ExportedModel(folder)
    task, workload = _task(manifest), Workload.of(manifest.workload)
    answers = None if CHECK in files.missing else _answers(folder, manifest, exported, workload)
    tokens = () if answers is None else answers.tokens
    rows = 1 + max((int(ids.max(initial=1)) for ids in tokens), default=1)
    by_itself = CONFIG in files.missing or task is None
    whole, timed = _times(folder, exported, workload, rows=rows, rounds=rounds, seconds=seconds, alone=by_itself)
    problems = [] if answers is None else list(answers.problems)
    differ = None
    if answers is not None and task is not None and not set(TORCH_FORM) & set(files.missing):
        # one text after another: texts of one batch share the scale of its int8 activations
        alone, torch_form = _alone(folder, exported, answers)
        differ = apart(alone, torch_form)
        if wrong := unlike(alone, torch_form, vectors=manifest.task.get("answer") == "vector"):
            problems.append(f"{folder / MODEL}: {wrong}")
    promised_ms = float(manifest.metrics["latency_ms"]["value"])
    return FolderReport(
        folder=str(folder),
        digest=manifest.digest,
        files=len(manifest.files) - len(files.missing) - len(files.changed),
        texts=0 if answers is None else len(answers.checked.texts),
        largest_difference=None if answers is None else answers.difference,
        agreement=None if answers is None or task is None else task.agreed(answers.logits, answers.checked.logits),
        parity=differ,
        metric=str(manifest.task["metric"]),
        quality=None if answers is None or task is None else answers.scored(task, answers.logits),
        promised_quality=None if answers is None or task is None else answers.scored(task, answers.checked.logits),
        latency_ms=timed,
        promised_latency_ms=promised_ms,
        baseline_latency_ms=whole,
        promised_speedup=float(manifest.baseline["latency_ms"]["value"]) / promised_ms,
        problems=tuple(problems),
        remarks=(*_remarks(files), *([_LIGHT] if task is None else [])),
        rows=NOUNS[manifest.modality],
    )


def _task(manifest: Manifest) -> Task | None:
    """What the folder's model does; None where torch, which tasks are written with, is not installed."""
    if find_spec("torch") is None:
        return None
    from autocompress.tasks import served_task

    return served_task(manifest.task)


def unlike(outputs: NDArray[np.float32], torch_form: NDArray[np.float32], *, vectors: bool) -> str:
    """What is wrong with outputs beside those of the torch form, by the largest of them or, of `vectors` [rows, size]
    of length 1, by how far they lie apart; nothing where only roundings differ."""
    if vectors:
        found, most = float(np.linalg.norm(outputs - torch_form, axis=-1).max()), _VECTOR_TOLERANCE
        return f"vectors lie {found:.3g} from the torch form's, more than {most:.3g}" if found > most else ""
    found, most = apart(outputs, torch_form), _FORM_TOLERANCE * float(np.abs(outputs).max())
    return f"outputs differ from the torch form's by {found:.3g}, more than {most:.3g}" if found > most else ""


def _answers(folder: Path, manifest: Manifest, exported: ExportedModel, workload: Workload) -> _Answers:
    checked, readings = read_check(folder)
    problems: list[str] = []
    tokens: tuple[NDArray[np.int64], ...] = ()
    if manifest.modality != "text":
        logits = exported.logits(list(checked.texts))
    elif checked.texts:
        tokens = tuple(exported.tokens(checked.texts))
        logits = exported.logits(checked.texts)
        known = {**readings, **{text: ids.tolist() for text, ids in zip(checked.texts, checked.tokens, strict=True)}}
        read = exported.tokens(known)
        other = [text for (text, ids), found in zip(known.items(), read, strict=True) if ids != found.tolist()]
        if other:
            problems.append(
                f"{folder}: {len(other)} of {len(known)} texts, {str(other[0])[:40]!r} among them, are read as other "
                "tokens than when it was exported; is the tokenizers library here another version?"
            )
    else:
        tokens = checked.tokens
        logits = predict_as_served(exported.session, tokens, workload, pad=int(manifest.task.get("pad", 0)))
    found = _Answers(checked, tokens, logits, tuple(problems))
    most = _LOGIT_TOLERANCE * min(1.0, float(np.abs(checked.logits).max(initial=0.0)))
    if found.difference > most:
        problems.append(f"{folder / MODEL}: answers moved by {found.difference:.3g}, more than {most:.3g}")
    return _Answers(checked, tokens, logits, tuple(problems))


def _times(
    folder: Path,
    exported: ExportedModel,
    workload: Workload,
    *,
    rows: int,
    rounds: int,
    seconds: float,
    alone: bool,
) -> tuple[float | None, float]:
    """Milliseconds of the uncompressed model, unless the file is `alone`, and of the file."""
    if alone:
        (timed,) = time_sessions([exported.session], workload, rows, rounds=rounds, seconds=seconds)
        return None, timed.median
    from autocompress.exported.rebuild import uncompressed
    from autocompress.exported.stock import stock_to_time

    with stock_to_time(uncompressed(folder)) as path:
        stock = Session(path, threads=workload.threads)
        whole, timed = time_sessions([stock, exported.session], workload, rows, rounds=rounds, seconds=seconds)
    return whole.median, timed.median


def _remarks(files: Comparison) -> list[str]:
    """What was done to a folder that does not keep it from answering."""
    found = []
    if files.added:
        more = f" and {len(files.added) - _SHOWN} more" if len(files.added) > _SHOWN else ""
        found.append(f"added since, and of no account: {', '.join(files.added[:_SHOWN])}{more}")
    if CARD in files.changed:
        found.append(f"{CARD} was changed since; nothing is read from it")
    for name in files.missing:
        lost = _LOST.get(name, "nothing is read from it")
        found.append(f"{name} was removed since: {lost}")
    return found


_LIGHT: Final = (
    "torch is not installed here: the model's torch form is not compared, answers are not scored, and the uncompressed "
    "model is not timed"
)
_TORCH_LOST: Final = "the torch form cannot be loaded or compared"
_LOST: Final = {
    CHECK: "no answer could be compared with those of the export",
    CONFIG: f"{_TORCH_LOST}, and the uncompressed model is not timed",
    WEIGHTS: _TORCH_LOST,
    "example.py": "use `autocompress.load`, or export the model again",
}


def _alone(folder: Path, exported: ExportedModel, answers: _Answers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs of the file and of the folder's torch form, row by row."""
    if answers.tokens:
        types = answers.checked.types
        return exported.session.predict(answers.tokens, types), _torch_logits(folder, answers.tokens, types)
    import torch

    from autocompress.exported.rebuild import load_torch

    read = exported.reader.read(answers.checked.texts)
    model, session = load_torch(folder), exported.session
    with torch.inference_mode():
        ours = [model(**{session.main: torch.from_numpy(row[None])}).logits[0].numpy() for row in read]
    return serve(session, ({session.main: row[None]} for row in read)), np.stack(ours)


def _torch_logits(
    folder: Path, tokens: Sequence[NDArray[np.int64]], types: Sequence[NDArray[np.int64]] | None
) -> NDArray[np.float32]:
    """Of the folder's torch form, text by text."""
    import torch

    from autocompress.exported.rebuild import load_torch
    from autocompress.tasks import of_tokens

    model = load_torch(folder)
    with torch.inference_mode():
        kinds = [None] * len(tokens) if types is None else list(types)
        rows = [of_tokens(ids, kind).inputs for ids, kind in zip(tokens, kinds, strict=True)]
        return stacked([model(**row).logits.numpy() for row in rows])
