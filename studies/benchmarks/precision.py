"""What each precision costs: the quickstart's teacher, its weights as they are, deployed in every precision; and one
student stored in 4 bits, recovered with and without quantization in its training.

    python studies/benchmarks/precision.py             # the teacher's weights: quality, size, latency
    python studies/benchmarks/precision.py --students 3    # and the student, with so many seeds
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from prepared import Prepared, prepare
from record import keep

from autocompress import operators
from autocompress.core.device import Workload
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.evaluate import Setup

LENGTHS = (32, 128)
STATIC = {"bits": 8, "activations": "static"}
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


def policy(layers: int, settings: Mapping[str, Setting], embedding_bits: int) -> CompressionPolicy:
    steps = [Step("quantize", f"layers.{index}", settings) for index in range(layers)]
    return CompressionPolicy((*steps, Step("quantize", "embeddings", {"bits": embedding_bits})))


def qualities(setup: Setup, session: Session) -> dict[str, float]:
    """The file's score on each split that it never learned from, text by text."""
    found = {}
    for split in ("validation", "test"):
        examples = setup.task.examples(split)
        answers = session.predict(examples.tokens).argmax(axis=1)
        found[split] = setup.task.score(answers, examples.labels).value
    return found


def teacher_variants(prepared: Prepared) -> list[dict[str, Any]]:
    setup, shape = prepared.setup, prepared.setup.teacher().shape()
    rows: list[dict[str, Any]] = []
    sessions = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (name, (settings, bits)) in enumerate(VARIANTS.items()):
            model = setup.teacher()
            kept, _ = operators.effective(policy(shape.depth, settings, bits), shape)
            operators.apply(kept, model, setup.importance)
            path = Path(folder) / f"{place}.onnx"
            path.write_bytes(write_graph(model.weights()).SerializeToString())
            sessions.append(Session(path))
            rows.append({"variant": name, "mb": path.stat().st_size / 1e6, **qualities(setup, sessions[-1])})
            print(rows[-1], flush=True)
    int8 = list(VARIANTS).index("int8")
    for length in LENGTHS:
        runs = [workload_run(one, Workload(1, length, 1), rows=shape.word_rows) for one in sessions]
        with timing_lane():
            timed = time_side_by_side(runs, rounds=30, seconds=90, reference=int8)
        for row, one in zip(rows, timed, strict=True):
            row[f"ms_{length}"] = one.median
            # rounds are paired: what disturbs one of them disturbs all its models
            row[f"of_int8_{length}"] = float(np.median(np.array(one.turns) / np.array(timed[int8].turns)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=0, metavar="N")
    given = parser.parse_args()
    prepared = prepare(elastic=given.students > 0)
    rows = teacher_variants(prepared)
    print(f"{'':42}{'valid.':>8}{'test':>8}{'MB':>8}" + "".join(f"{f'ms/int8 {n}':>14}" for n in LENGTHS))
    for row in rows:
        ratios = "".join(f"{row[f'of_int8_{n}']:14.3f}" for n in LENGTHS)
        print(f"{row['variant']:42}{row['validation']:8.4f}{row['test']:8.4f}{row['mb']:8.2f}{ratios}")
    keep("precision", {"teacher": rows})


if __name__ == "__main__":
    main()
