"""The same weights in five files: what the form of a graph and the switches of its session are worth.

    python studies/benchmarks/lowering.py [--seconds 60] [--threads 1 2]

The quickstart's teacher (fine-tuned once, then from the cache) as torch's stock export, as ONNX Runtime's own dynamic
int8 of it (its defaults; and a scale a channel), and as our graph in fp32 and in int8, plain and lowered by what is
measured here first. Lengths 32 and 128, 1 and 2 threads, all files of a workload in turns in one process; quality on
the validation and the test split, text by text; and the time of each kind of node at length 128.

With one thread what is compared is the processor time of the thread, which says the same on a busy machine and on a
quiet one; with two, the lower quartiles of the turns by the clock, and those need a quiet machine.

Exit code 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import keep

from autocompress import config
from autocompress.anatomy.weights import EmbeddingWeights, EncoderWeights
from autocompress.core.cores import usable_cores
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.workload import Workload
from autocompress.deploy.export import export_stock
from autocompress.deploy.graph import write_graph
from autocompress.deploy.node_times import WatchedModel
from autocompress.deploy.session import Session
from autocompress.devices.lowering import choose_lowering
from autocompress.devices.timing import Run, time_side_by_side, timing_lane, workload_run
from autocompress.operators import OPERATORS
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.teacher.teacher import Teacher, prepare_teacher

LENGTHS = (128, 32)
FP32, DYNAMIC, DYNAMIC_CHANNELS = "stock fp32", "stock dynamic int8", "stock dynamic int8 per channel"
OURS_FP32, OURS_INT8, PLAIN_INT8 = "our fp32, lowered", "our int8, lowered", "our int8, plain"
MAIN = Workload(1, 128, 1)
INFERENCES = 60
TURN = 3


@dataclass(frozen=True)
class File:
    """A model as it is served."""

    path: Path
    switches: Mapping[str, str]

    def session(self, threads: int) -> Session:
        return Session(self.path, threads=threads, switches=self.switches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="at most, a workload")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    workloads = [Workload(1, length, threads) for threads in options.threads for length in LENGTHS]
    spec = config.load_study("quickstart", operators=OPERATORS)
    torch.set_num_threads(usable_cores())
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"workloads": []}
    with tempfile.TemporaryDirectory() as folder:
        stock = stock_files(teacher, Path(folder))
        for workload in workloads:
            lowering, tried = choose_lowering(teacher.anatomy.shape(), workload, rounds=20, seconds=options.seconds / 6)
            files = {**stock, **our_files(teacher, Path(folder), lowering)}
            row = side_by_side(files, workload, rows=teacher.anatomy.shape().vocabulary, seconds=options.seconds)
            row |= {"lowering": asdict(lowering), "tried": [asdict(one) for one in tried]}
            figures["workloads"].append(row)
            print(f"{workload}: {lowering}\n{told(row)}", flush=True)
            if workload == MAIN:
                figures["quality"] = {name: quality(file, teacher) for name, file in files.items()}
                figures["nodes_ms"] = {name: node_times(files[name]) for name in (DYNAMIC_CHANNELS, OURS_INT8)}
                figures["megabytes"] = {name: file.path.stat().st_size / 1e6 for name, file in files.items()}
    print(f"quality: {figures['quality']}\nnodes: {figures['nodes_ms']}")
    figures["promises"] = promises(figures)
    print(f"promises: {figures['promises']}\nkept in {keep('lowering', figures)}")
    sys.exit(not all(figures["promises"].values()))


def stock_files(teacher: Teacher, folder: Path) -> dict[str, File]:
    """What a user gets without us."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    export_stock(teacher.anatomy.model, folder / "stock.onnx")
    model = onnx.load(str(folder / "stock.onnx"))
    del model.graph.value_info[:]  # quantization refuses the shapes that torch's exporter writes
    onnx.save(model, str(folder / "bare.onnx"))
    quantize_dynamic(str(folder / "bare.onnx"), str(folder / "dynamic.onnx"))
    quantize_dynamic(str(folder / "bare.onnx"), str(folder / "channels.onnx"), per_channel=True)
    names = {FP32: "stock", DYNAMIC: "dynamic", DYNAMIC_CHANNELS: "channels"}
    return {name: File(folder / f"{stem}.onnx", {}) for name, stem in names.items()}


def our_files(teacher: Teacher, folder: Path, lowering: Lowering) -> dict[str, File]:
    """All layers and the embeddings in int8, or nothing."""
    fp32 = teacher.anatomy.weights()
    forms = {
        OURS_FP32: (fp32, lowering),
        OURS_INT8: (in_int8(fp32), lowering),
        PLAIN_INT8: (in_int8(fp32), PLAIN),
    }
    found = {}
    for place, (name, (weights, form)) in enumerate(forms.items()):
        path = folder / f"ours-{place}.onnx"
        path.write_bytes(write_graph(weights, lowering=form).SerializeToString())
        found[name] = File(path, form.session)
    return found


def in_int8(weights: EncoderWeights) -> EncoderWeights:
    layers = []
    for layer in weights.layers:
        assert layer.attention is not None
        assert layer.feed_forward is not None
        attention, feed_forward = replace(layer.attention, bits=8), replace(layer.feed_forward, bits=8)
        layers.append(replace(layer, attention=attention, feed_forward=feed_forward))
    assert isinstance(weights.embeddings, EmbeddingWeights)
    return replace(weights, layers=tuple(layers), embeddings=replace(weights.embeddings, bits=8))


def side_by_side(files: Mapping[str, File], workload: Workload, *, rows: int, seconds: float) -> dict[str, Any]:
    runs = [workload_run(file.session(workload.threads), workload, rows=rows) for file in files.values()]
    with timing_lane():
        timed = time_side_by_side(runs, rounds=60, seconds=seconds)
    clock = {name: quick(one.turns) for name, one in zip(files, timed, strict=True)}
    one_thread = dict(zip(files, processor_ms(runs), strict=True)) if workload.threads == 1 else None
    return {
        "workload": asdict(workload),
        "compared_ms": one_thread or clock,
        "compared": "processor time" if one_thread else "clock",
        "quartile_ms": clock,
        "median_ms": {name: one.median for name, one in zip(files, timed, strict=True)},
        "disturbed": timed[0].disturbed,
    }


def processor_ms(runs: Sequence[Run], inferences: int = INFERENCES) -> list[float]:
    """Of the calling thread, which computes alone; in turns, after an inference that is not counted."""
    found: list[list[float]] = [[] for _ in runs]
    for _ in range(inferences):
        for run, readings in zip(runs, found, strict=True):
            run()
            for _ in range(TURN):
                start = time.thread_time_ns()
                run()
                readings.append((time.thread_time_ns() - start) / 1e6)
    return [quick(readings) for readings in found]


def quick(readings: Sequence[float]) -> float:
    return float(np.quantile(readings, 0.25))


def told(row: Mapping[str, Any]) -> str:
    times: Mapping[str, float] = row["compared_ms"]
    return f"  {row['compared']}\n" + "\n".join(
        f"  {name:<32} {time:7.3f} ms  {times[FP32] / time:5.2f}x stock fp32  {times[DYNAMIC] / time:5.2f}x its int8"
        for name, time in times.items()
    )


def quality(file: File, teacher: Teacher) -> dict[str, float]:
    """The share of right answers on validation and test, and on both together."""
    session, right, texts = file.session(1), 0, 0
    found = {}
    for split in ("validation", "test"):
        examples = teacher.task.examples(split)
        outputs = session.predict(examples.tokens)
        answers, found[split] = outputs.argmax(axis=1), teacher.task.score(outputs, examples).value
        right, texts = right + int((answers == examples.labels).sum()), texts + len(examples)
    return {**found, "both": right / texts}


def node_times(file: File) -> dict[str, float]:
    """Median milliseconds by kind of node, the profiler's own few microseconds a node included."""
    with tempfile.TemporaryDirectory() as folder:
        watched = WatchedModel(file.path, threads=MAIN.threads, folder=Path(folder), switches=file.switches)
        run = workload_run(watched.session, MAIN, rows=1000)
        with timing_lane():
            for _ in range(INFERENCES):
                run()
        times = watched.node_times()
    found: dict[str, float] = {}
    for node, milliseconds in zip(times.nodes, np.quantile(times.milliseconds, 0.25, axis=0), strict=True):
        found[node.operator] = found.get(node.operator, 0.0) + float(milliseconds)
    return {operator: round(value, 4) for operator, value in sorted(found.items(), key=lambda one: -one[1])}


def promises(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each holds, at length 128 with one thread unless it says otherwise."""
    (main_row,) = [row for row in figures["workloads"] if row["workload"] == asdict(MAIN)]
    times, known = main_row["compared_ms"], figures["quality"]
    return {
        "int8 at least 1.5x stock dynamic int8": times[OURS_INT8] * 1.5 <= min(times[DYNAMIC], times[DYNAMIC_CHANNELS]),
        "fp32 no slower than stock": all(
            row["compared_ms"][OURS_FP32] <= row["compared_ms"][FP32] for row in figures["workloads"]
        ),
        "int8 within 0.3 points of stock fp32": known[OURS_INT8]["both"] >= known[FP32]["both"] - 0.003,
    }


if __name__ == "__main__":
    main()
