"""Is a finalist's file as good and as fast as promised? Asked before it is offered; `folder_check` asks it of an
exported folder at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.core.cost import macs, parameters, passes
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.metrics import METRICS
from autocompress.core.opsets import OPSETS
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.parts import ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.core.scores import above_chance
from autocompress.core.spec import Bound
from autocompress.core.workload import Workload
from autocompress.deploy.folder import MODEL, read_manifest
from autocompress.deploy.forms import GraphMaker, forms_of
from autocompress.deploy.loader import ExportedModel
from autocompress.deploy.serving import predict_as_served, serve
from autocompress.deploy.session import Session
from autocompress.devices.timing import Timed, time_sessions
from autocompress.errors import SpecError
from autocompress.inputs.outputs import blank
from autocompress.tasks import Examples, Outputs, Rows, Task, batches

logger = logging.getLogger(__name__)

PARITY: Final = 1e-4
"""Largest difference allowed between torch and ONNX logits in fp32."""

_COLLAPSE: Final = 0.07
"""The share of what the trained model has above chance that its file may lack: 5 points of accuracy in a quickstart."""
_QUALITIES: Final = {"quality": "validation", "test_quality": "test"}
"""Metric -> the split that it is measured on."""
_PARITY_TEXTS: Final = 64


def parity(
    student: Anatomy,
    task: Task,
    lowering: Lowering = PLAIN,
    *,
    runtime: str = DEFAULT_RUNTIME,
    maker: GraphMaker | None = None,
) -> Measurement:
    """Largest difference between the logits of the torch model and of its ONNX graph, in fp32, on padded batches of
    validation texts; by the rules of fp32 and by those of int8, whose own rounding would hide a fault in them. The
    graph, in the form that its `maker` gives or in the first that there is, runs in its runtime where that computes in
    fp32, else in the default one."""
    exact = RUNTIMES[named_runtime(runtime)].precision == "fp32"
    maker = maker or GraphMaker(forms_of(student)[0])
    worst, rules = 0.0, {lowering.fp32, lowering.int8} if maker.form == "written" else {()}
    graphs = [maker.graph(student, Lowering(fp32=one)) for one in rules]
    sessions = [Session(graph.SerializeToString(), runtime=runtime if exact else DEFAULT_RUNTIME) for graph in graphs]
    examples = task.examples("validation")
    some = examples.take(range(min(_PARITY_TEXTS, len(examples))))
    for batch in batches(some, 16):
        with torch.inference_mode():
            expected = student.model(**batch.inputs).logits.numpy()
        for session in sessions:
            got = session.run(session.fed({name: tensor.numpy() for name, tensor in batch.inputs.items()}))
            differ = np.abs(got - expected)
            worst = max(worst, float((blank(differ, batch.mask.numpy()) if differ.ndim > 2 else differ).max()))
    return Measurement("parity", worst, "", "measured")


def deploy(student: Anatomy, path: Path, lowering: Lowering = PLAIN, *, maker: GraphMaker | None = None) -> None:
    """Writes a student, quantized or not, as an ONNX file, by this maker or in the first form that it has."""
    model = (maker or GraphMaker(forms_of(student)[0])).graph(student, lowering)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def required(path: Path, runtime: str) -> str:
    """What pip installs a runtime from that reads this file: `onnxruntime>=1.23`."""
    kind = RUNTIMES[named_runtime(runtime)]
    if kind.library != "onnxruntime":
        return kind.install
    model = onnx.load(str(path), load_external_data=False)
    (opset,) = (entry.version for entry in model.opset_import if not entry.domain)
    return f"{kind.install}>={OPSETS[opset].onnxruntime}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A file with what was measured of it so far in its runtime, and its outputs for the texts of a split."""

    path: Path
    session: Session
    measurements: Measurements
    outputs: Mapping[str, Outputs]
    runtime: str = DEFAULT_RUNTIME
    switches: Mapping[str, str] = field(default_factory=dict)


def judge_file(
    path: Path, task: Task, shape: ModelParts, workload: Workload, *, session: Session | None = None
) -> Judged:
    """Quality of the baseline's stock export, in batches as it will be served, on validation and test data, and its
    sizes. It runs in the default runtime, in a `session` of its own where one is given, and computes every token in
    every layer; ours leave out what the head does not read."""
    session = session or Session(path, threads=workload.threads)
    session.use_all_cores()

    def answered(examples: Rows) -> NDArray[np.float32]:
        if isinstance(examples, Examples):
            return predict_as_served(session, examples.tokens, workload, pad=examples.pad, types=examples.types)
        return serve(session, _as_served(examples, workload))

    return _judged(path, session, answered, task, shape, workload, stock=True)


def _as_served(examples: Rows, workload: Workload) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Rows of one size in batches of the workload, in their order."""
    for start in range(0, len(examples), workload.batch):
        rows = np.arange(start, min(start + workload.batch, len(examples)))
        yield {name: tensor.numpy() for name, tensor in examples.batch(rows).inputs.items()}


def _check_readings(folder: Path, exported: ExportedModel, examples: Rows) -> None:
    """Raises SpecError when a folder reads a row otherwise than the study that trained its model."""
    some = examples.batch(np.arange(min(_PARITY_TEXTS, len(examples))))
    read = exported.reader.read([examples.given[row] for row in some.rows])
    ((name, known),) = some.inputs.items()
    if not np.array_equal(read, known.numpy()):
        apart = float(np.abs(read - known.numpy()).max())
        raise SpecError(f"{folder}: its {name} differ from those that its model was trained with by {apart:.3g}")


def judge_folder(folder: Path, task: Task, shape: ModelParts) -> Judged:
    """Quality of an exported folder as its user gets it, on validation and test data: texts go in, through the folder's
    own loader, and answers come out. And its sizes.

    Raises SpecError when the folder reads a text otherwise than the study that trained its model."""
    exported, manifest = ExportedModel(folder), read_manifest(folder)
    exported.session.use_all_cores()

    def answered(examples: Rows) -> NDArray[np.float32]:
        if not isinstance(examples, Examples):
            _check_readings(folder, exported, examples)
            return exported.logits(list(examples.given))
        for text, known, found in zip(examples.texts, examples.tokens, exported.tokens(examples.texts), strict=True):
            if not np.array_equal(known, found):
                raise SpecError(f"{folder}: reads {str(text)[:60]!r} as {found.tolist()}, training as {known.tolist()}")
        return exported.logits(examples.texts)

    runtime, switches = manifest.runtime_name, manifest.switches
    path, load = folder / MODEL, Workload.of(manifest.workload)
    return _judged(path, exported.session, answered, task, shape, load, runtime=runtime, switches=switches)


def _judged(
    path: Path,
    session: Session,
    answered: Callable[[Rows], NDArray[np.float32]],
    task: Task,
    shape: ModelParts,
    workload: Workload,
    *,
    stock: bool = False,
    runtime: str = DEFAULT_RUNTIME,
    switches: Mapping[str, str] | None = None,
) -> Judged:
    found, outputs = [], {}
    for metric, split in _QUALITIES.items():
        examples = task.examples(split)
        outputs[split] = answered(examples)
        score = task.score(outputs[split], examples)
        found.append(Measurement(metric, score.value, task.metric, "measured", score.interval))
    count = macs(shape, passes(shape, workload.typical, whole=stock))
    found += [
        Measurement("size_mb", path.stat().st_size / 1e6, METRICS["size_mb"].unit, "measured"),
        Measurement("parameters", parameters(shape), "count", "counted"),
        Measurement("macs", count, "count", "counted"),
    ]
    return Judged(path, session, tuple(found), outputs, runtime, switches or {})


def drops(file: Judged, baseline: Judged, task: Task) -> Measurements:
    """How far below the baseline a file scores, text by text, on either split."""
    found = {
        metric: task.drop(file.outputs[split], baseline.outputs[split], task.examples(split))
        for metric, split in _QUALITIES.items()
    }
    return tuple(
        Measurement(f"{metric}_drop", drop.value, task.metric, "measured", drop.interval)
        for metric, drop in found.items()
    )


def differences(
    files: Mapping[int, Judged], timed: Mapping[int, Timed], task: Task
) -> dict[str, dict[str, list[float]]]:
    """How far finalists, by their numbers, lie apart that were judged and timed together (see `report.ties`): scores on
    the same validation texts, latencies of the same rounds."""
    pairs = list(combinations(sorted(files), 2))
    examples, outputs = task.examples("validation"), {n: one.outputs["validation"] for n, one in files.items()}
    drops = {(a, b): task.drop(outputs[b], outputs[a], examples) for a, b in pairs}
    return {
        "quality": {f"{a}-{b}": [drop.value, *drop.interval] for (a, b), drop in drops.items()},
        "latency_ms": {f"{a}-{b}": list(timed[a].above(timed[b])) for a, b in pairs if {a, b} <= timed.keys()},
    }


def time_models(
    models: Sequence[bytes], *, workload: Workload, rows: int, ways: Sequence[tuple[str, Mapping[str, str]]]
) -> list[Timed]:
    """The same for models that came as bytes, each with its runtime and its session's switches: what a Ray node is
    asked for (see `runners.devices`)."""
    sessions = [
        Session(model, threads=workload.threads, runtime=runtime, switches=switches)
        for model, (runtime, switches) in zip(models, ways, strict=True)
    ]
    return time_sessions(sessions, workload, rows)


def latencies(timed: Timed, device: str) -> Measurements:
    """The median with its interval and samples, and the 90th percentile."""
    p90 = Measurement("latency_p90_ms", timed.quantile(0.9), "ms", "measured", device=device)
    return timed.measurement(device), p90


def _doubt(measurements: Measurements) -> float:
    """How far a quality may lie below what was measured, by its own 95 % interval: what few texts cannot tell is no
    collapse."""
    found = next(one for one in measurements if one.metric == "quality")
    return found.value - found.interval[0] if found.interval else 0.0


def objections(
    measurements: Measurements, *, trained_quality: float, chance: float, constraints: Mapping[str, Bound]
) -> list[str]:
    """Why a finalist may not be offered; empty when it may. `chance` is the quality of an answer that is always the
    same."""
    known = values(measurements)
    found = []
    if known["parity"] > PARITY:
        found.append(f"torch and ONNX differ by {known['parity']:.2g} in fp32, more than {PARITY:g}")
    bearable = max(_COLLAPSE * above_chance(trained_quality, chance), _doubt(measurements))
    if known["quality"] < trained_quality - bearable:
        found.append(
            f"the exported file scores {known['quality']:.4f}, the trained model {trained_quality:.4f}: "
            "it does not survive its precision"
        )
    for metric, bound in constraints.items():
        if metric in known and bound.violation(known[metric]) > 0:
            found.append(f"{metric} is {known[metric]:.4g}, the study asks for {bound}")
    return found
