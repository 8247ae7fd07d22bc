"""Is the exported file as good and as fast as promised? Asked of every finalist before it is offered, and again of any
exported folder at any time."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.core.shape import ModelShape, macs, parameters
from autocompress.core.spec import Bound
from autocompress.core.workload import Workload
from autocompress.deploy.export import export_stock
from autocompress.deploy.folder import CHECK, MODEL, verify_files
from autocompress.deploy.graph import write_graph
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session
from autocompress.devices.timing import Timed, time_side_by_side, timing_lane, workload_run
from autocompress.rebuild import load_torch, uncompressed
from autocompress.tasks import Examples, TextClassification, batches

logger = logging.getLogger(__name__)

PARITY: Final = 1e-4
"""Largest difference allowed between torch and ONNX logits in fp32."""

_COLLAPSE: Final = 0.05
_LOGIT_TOLERANCE: Final = 0.05
"""int8 kernels of another CPU round differently; fp32 ones stay far below."""
_FORM_TOLERANCE: Final = 0.05
"""Of the largest logit. The file and the torch form add up in another order; a rounding to int8 that tips over then
goes through all layers."""
_PARITY_TEXTS: Final = 64


def parity(
    student: Anatomy, task: TextClassification, lowering: Lowering = PLAIN, *, runtime: str = DEFAULT_RUNTIME
) -> Measurement:
    """Largest difference between the logits of the torch model and of its ONNX graph, in fp32, on padded batches of
    validation texts; by the rules of fp32 and by those of int8, whose own rounding would hide a fault in them. The
    graph runs in its runtime where that computes in fp32, else in the default one."""
    exact = RUNTIMES[named_runtime(runtime)].precision == "fp32"
    weights, worst = student.weights(), 0.0
    forms = [write_graph(weights, lowering=Lowering(fp32=rules)) for rules in {lowering.fp32, lowering.int8}]
    sessions = [Session(form.SerializeToString(), runtime=runtime if exact else DEFAULT_RUNTIME) for form in forms]
    examples = task.examples("validation")
    some = examples.take(range(min(_PARITY_TEXTS, len(examples))))
    for batch in batches(some, 16):
        with torch.inference_mode():
            expected = student.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.numpy()
        for session in sessions:
            got = session.run(session.feed(batch.input_ids.numpy(), batch.attention_mask.numpy()))
            worst = max(worst, float(np.abs(got - expected).max()))
    return Measurement("parity", worst, "logit", "measured")


def deploy(student: Anatomy, path: Path, lowering: Lowering = PLAIN) -> None:
    """Writes a student, quantized or not, as an ONNX file."""
    model = write_graph(student.weights(), lowering=lowering)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


@dataclass(frozen=True, slots=True)
class Judged:
    """A file with what was measured of it so far in its runtime, and its logits on the validation split."""

    path: Path
    session: Session
    measurements: Measurements
    validation_logits: NDArray[np.float32]
    runtime: str = DEFAULT_RUNTIME
    switches: Mapping[str, str] = field(default_factory=dict)


def judge_file(
    path: Path,
    task: TextClassification,
    shape: ModelShape,
    workload: Workload,
    *,
    stock: bool = False,
    switches: Mapping[str, str] | None = None,
) -> Judged:
    """Quality of the file itself, in batches as it will be served, on validation and test data, and its sizes.

    It runs in the runtime of its shape. A `stock` export runs in the default one and computes every token in every
    layer; ours leaves out what the head does not read.
    """
    runtime = DEFAULT_RUNTIME if stock else shape.runtime
    session = Session(path, threads=workload.threads, runtime=runtime, switches=switches)

    def served(examples: Examples) -> NDArray[np.float32]:
        return predict_as_served(session, examples.tokens, workload, pad=examples.pad)

    logits = served(task.examples("validation"))
    found = []
    for metric, split, split_logits in (
        ("quality", "validation", logits),
        ("test_quality", "test", served(task.examples("test"))),
    ):
        score = task.score(split_logits.argmax(axis=1), task.examples(split).labels)
        found.append(Measurement(metric, score.value, task.metric, "measured", score.interval))
    count = macs(shape, batch=workload.batch, length=workload.typical.length, every_token=stock)
    found += [
        Measurement("size_mb", path.stat().st_size / 1e6, METRICS["size_mb"].unit, "measured"),
        Measurement("parameters", parameters(shape), "count", "counted"),
        Measurement("macs", count, "count", "counted"),
    ]
    return Judged(path, session, tuple(found), logits, runtime, switches or {})


def time_files(judged: Sequence[Judged], workload: Workload, *, rows: int, device: str) -> list[Measurements]:
    """Latency of several files, in turns, alone on the machine; the first is the reference."""
    return [latencies(found, device) for found in _time_sessions([file.session for file in judged], workload, rows)]


def time_models(
    models: Sequence[bytes], *, workload: Workload, rows: int, ways: Sequence[tuple[str, Mapping[str, str]]]
) -> list[Timed]:
    """The same for models that came as bytes, each with its runtime and its session's switches: what a Ray node is
    asked for (see `runners.devices`)."""
    sessions = [
        Session(model, threads=workload.threads, runtime=runtime, switches=switches)
        for model, (runtime, switches) in zip(models, ways, strict=True)
    ]
    return _time_sessions(sessions, workload, rows)


def _time_sessions(
    sessions: Sequence[Session], workload: Workload, rows: int, *, rounds: int = 40, seconds: float = 30
) -> list[Timed]:
    """Milliseconds of a batch; where batches differ in length, their mean over one of each."""
    runs = [workload_run(session, workload, rows=rows) for session in sessions]
    with timing_lane():
        timed = time_side_by_side(runs, rounds=rounds, seconds=seconds)
    return [one.for_each(len(workload.batches)) for one in timed]


def latencies(timed: Timed, device: str) -> Measurements:
    """The median with its interval and samples, and the 90th percentile."""
    p90 = Measurement("latency_p90_ms", timed.quantile(0.9), "ms", "measured", device=device)
    return timed.measurement(device), p90


def objections(measurements: Measurements, *, trained_quality: float, constraints: Mapping[str, Bound]) -> list[str]:
    """Why a finalist may not be offered; empty when it may."""
    known = values(measurements)
    found = []
    if known["parity"] > PARITY:
        found.append(f"torch and ONNX differ by {known['parity']:.2g} in fp32, more than {PARITY:g}")
    if known["quality"] < trained_quality - _COLLAPSE:
        found.append(
            f"the exported file scores {known['quality']:.4f}, the trained model {trained_quality:.4f}: "
            "it does not survive its precision"
        )
    for metric, bound in constraints.items():
        if metric in known and bound.violation(known[metric]) > 0:
            found.append(f"{metric} is {known[metric]:.4g}, the study asks for {bound}")
    return found


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
        whole, timed = _time_sessions([stock, session], workload, rows, rounds=rounds, seconds=10)
    difference = float(np.abs(logits - promised).max())
    apart = float(np.abs(logits - _torch_logits(folder, tokens)).max())
    promised_ms = float(manifest.metrics["latency_ms"]["value"])
    problems = []
    if difference > _LOGIT_TOLERANCE:
        problems.append(f"{folder / MODEL}: answers moved by {difference:.3g}, more than {_LOGIT_TOLERANCE}")
    most = _FORM_TOLERANCE * float(np.abs(logits).max())
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
