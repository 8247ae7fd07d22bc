"""The same weights in every runtime: milliseconds of whole models of random weights, as ratios to ONNX Runtime in int8.

    python studies/benchmarks/runtimes.py [--rounds 40]

All forms of a model are timed in turns in one process. `static int8` is a QDQ graph that ONNX Runtime's own tool makes
of our fp32 graph (products with weights, per channel), which is here to show what each runtime does with that form.
Needs the extra `openvino`. Run it on a machine that is otherwise quiet: readings of a busy one are said to be so, and
not kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from record import keep

from autocompress.anatomy.weights import random_weights
from autocompress.core.encoders import held_in
from autocompress.core.parts import ModelParts
from autocompress.core.storage import Bits, Storage
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import bert_shape
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run

SIZES = ((6, 12, 1536), (4, 6, 768), (3, 4, 384), (2, 6, 768))
"""Layers, heads, feed-forward channels."""
ROWS = 1000
FORMS = {
    "onnxruntime, int8": ("int8", "onnxruntime"),
    "onnxruntime, fp32": ("fp32", "onnxruntime"),
    "onnxruntime, static int8": ("static int8", "onnxruntime"),
    "openvino-bf16, fp32 file": ("fp32", "openvino-bf16"),
    "openvino, fp32": ("fp32", "openvino"),
    "openvino, int8": ("int8", "openvino"),
    "openvino, static int8": ("static int8", "openvino"),
}
"""What is timed: a graph in a runtime; the first is what the others are compared with."""


class Texts(CalibrationDataReader):  # type: ignore[misc]
    """Random ones: their values do not matter for speed."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        texts = [generator.integers(1, ROWS, (1, 32)) for _ in range(4)]
        self._left = iter({"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in texts)

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self._left, None)


def graph_of(layers: int, heads: int, width: int, bits: Bits) -> bytes:
    shape: ModelParts = bert_shape(hidden=384, heads=heads, head_size=32, width=width, layers=layers)
    shape = held_in(shape, Storage(bits))
    written: bytes = write_graph(random_weights(shape, positions=128, seed=0)).SerializeToString()
    return written


def static_int8(graph: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(graph)
        quantize_static(
            str(before),
            str(after),
            Texts(),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return after.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    figures: dict[str, Any] = {}
    disturbed = False
    for size in SIZES:
        plain = graph_of(*size, 32)
        graphs = {"int8": graph_of(*size, 8), "fp32": plain, "static int8": static_int8(plain)}
        for threads in (1, 2):
            sessions = [Session(graphs[form], threads=threads, runtime=name) for form, name in FORMS.values()]
            for length in (32, 128):
                load = Workload(1, length, threads)
                with timing_lane():
                    runs = [workload_run(session, load, rows=ROWS) for session in sessions]
                    timed = time_side_by_side(runs, rounds=rounds, seconds=20)
                disturbed |= timed[0].noticed
                ratios = {name: round(one.median / timed[0].median, 2) for name, one in zip(FORMS, timed, strict=True)}
                place = f"{size[0]} layers x {size[1]} heads x {size[2]}, {load}"
                figures[place] = {"int8_ms": round(timed[0].median, 4), "disturbed": timed[0].disturbed, **ratios}
                print(f"{place}: {timed[0].median:.3g} ms", ratios, "disturbed" if timed[0].noticed else "", flush=True)
    print("others used the machine: nothing is kept" if disturbed else f"kept in {keep('runtimes', figures)}")


if __name__ == "__main__":
    main()
