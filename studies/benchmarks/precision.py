"""What each precision costs: the weights of the quickstart's teacher as they are, deployed in every precision. Quality,
size, and latency as a ratio to dynamic int8, all files timed in turns. And a student in 4 bits: what quantization-aware
training brings it, against as many more epochs without.

    python studies/benchmarks/precision.py                  # the teacher's weights
    python studies/benchmarks/precision.py --students 2     # the student alone, with so many seeds
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import keep, kept

from autocompress import config, operators
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.training_spec import FinalistSpec, TrainingSpec
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.teacher.importance import prepare_importance
from autocompress.teacher.teacher import prepare_teacher

LENGTHS = (32, 128)
STATIC: Mapping[str, Setting] = {"bits": 8, "activations": "static"}
VARIANTS: Mapping[str, tuple[Mapping[str, Setting], int]] = {
    "fp32": ({"bits": 32}, 32),
    "int8": ({"bits": 8}, 8),
    "int8, smoothing 0.5": ({"bits": 8, "smoothing": 0.5}, 8),
    "static int8, min-max": (STATIC, 8),
    "static int8, percentile": ({**STATIC, "calibration": "percentile"}, 8),
    "static int8, entropy": ({**STATIC, "calibration": "entropy"}, 8),
    "static int8, min-max, smoothing 0.3": ({**STATIC, "smoothing": 0.3}, 8),
    "static int8, min-max, smoothing 0.5": ({**STATIC, "smoothing": 0.5}, 8),
    "static int8, percentile, smoothing 0.5": ({**STATIC, "calibration": "percentile", "smoothing": 0.5}, 8),
    "int8, embeddings int4": ({"bits": 8}, 4),
    "layers int4": ({"bits": 4}, 8),
    "all int4": ({"bits": 4}, 4),
}
"""Settings of the layers, and bits of the embeddings."""


def quantized(layers: int, settings: Mapping[str, Setting], embedding_bits: int) -> CompressionPolicy:
    steps = [Step("quantize", f"layers.{index}", settings) for index in range(layers)]
    return CompressionPolicy((*steps, Step("quantize", "embeddings", {"bits": embedding_bits})))


def qualities(setup: Setup, session: Session) -> dict[str, float]:
    """The file's score on each split that it never learned from, text by text."""
    found = {}
    for split in ("validation", "test"):
        examples = setup.task.examples(split)
        found[split] = setup.task.score(session.predict(examples.tokens), examples).value
    return found


def ready() -> Setup:
    """The quickstart's teacher, from the cache if it is there; no device is profiled for it."""
    spec = config.load_study("quickstart", operators=operators.OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    torch.set_num_threads(1)
    return Setup.of(
        teacher.anatomy.model, prepare_importance(spec, teacher), teacher.task, precision=spec.teacher.precision
    )


def teacher_variants(setup: Setup) -> list[dict[str, Any]]:
    shape = setup.teacher().shape()
    rows: list[dict[str, Any]] = []
    sessions = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (name, (settings, bits)) in enumerate(VARIANTS.items()):
            model = setup.teacher()
            kept, _ = operators.effective(quantized(shape.depth, settings, bits), shape)
            operators.apply(kept, model, setup.importance)
            path = Path(folder) / f"{place}.onnx"
            path.write_bytes(write_graph(model.weights()).SerializeToString())
            sessions.append(Session(path))
            rows.append({"variant": name, "mb": path.stat().st_size / 1e6, **qualities(setup, sessions[-1])})
            print(rows[-1], flush=True)
    int8 = list(VARIANTS).index("int8")
    for length in LENGTHS:
        runs = [workload_run(one, Workload(1, length, 1), rows=shape.vocabulary) for one in sessions]
        with timing_lane():
            timed = time_side_by_side(runs, rounds=30, seconds=90, reference=int8)
        for row, one in zip(rows, timed, strict=True):
            row[f"ms_{length}"] = one.median
            # rounds are paired: what disturbs one of them disturbs all its models
            row[f"of_int8_{length}"] = float(np.median(np.array(one.turns) / np.array(timed[int8].turns)))
    return rows


STUDENT = CompressionPolicy(
    (
        *(Step("remove_layer", f"layers.{index}") for index in (0, 2, 3, 5)),
        *(Step("prune_heads", f"layers.{index}.attention", {"heads": 6, "importance": "fisher"}) for index in (1, 4)),
        *(
            Step("prune_channels", f"layers.{i}.feed_forward", {"channels": 384, "importance": "fisher"})
            for i in (1, 4)
        ),
        *(Step("quantize", f"layers.{index}", {"bits": 4}) for index in (1, 4)),
        Step("quantize", "embeddings", {"bits": 4}),
    )
)


def student(setup: Setup, seed: int, *, aware: bool) -> dict[str, Any]:
    """Three epochs, and two more, either with quantization or without: plain logit distillation from the teacher's
    weights. Both are judged as files; `trained` is the score of the last epoch, with quantization where that was on."""
    training = TrainingSpec(epochs=3 if aware else 5, dropout=0.0, learning_rate=4e-4)
    spec = FinalistSpec(training=training, quantization_aware="always" if aware else "never")
    recovery = Recovery(setup, Lessons.of(setup, spec.transfer, seed=seed), spec, seed)
    policy, _ = operators.effective(STUDENT, setup.teacher().shape())
    with tempfile.TemporaryDirectory() as folder:
        recovery(policy, folder=Path(folder))
        weights, history = kept_weights(Path(folder) / CHECKPOINT)
        path = Path(folder) / "model.onnx"
        path.write_bytes(write_graph(deployed_student(setup, policy, weights).weights()).SerializeToString())
        return {"seed": seed, "aware": aware, "trained": history.score, **qualities(setup, Session(path))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=0, metavar="N")
    asked = parser.parse_args()
    setup = ready()
    if asked.students:
        found = []
        for seed in range(asked.students):
            for aware in (True, False):
                found.append(student(setup, seed, aware=aware))
                print(found[-1], flush=True)
        keep("precision", {**kept("precision", {}), "student": found})
        return
    rows = teacher_variants(setup)
    print(f"{'':42}{'valid.':>8}{'test':>8}{'MB':>8}" + "".join(f"{f'ms/int8 {n}':>14}" for n in LENGTHS))
    for row in rows:
        ratios = "".join(f"{row[f'of_int8_{n}']:14.3f}" for n in LENGTHS)
        print(f"{row['variant']:42}{row['validation']:8.4f}{row['test']:8.4f}{row['mb']:8.2f}{ratios}")
    keep("precision", {**kept("precision", {}), "teacher": rows})


if __name__ == "__main__":
    main()
