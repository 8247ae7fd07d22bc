"""ONNX Runtime's dynamic int8: `quantize_dynamic` on the stock export."""

from __future__ import annotations

from pathlib import Path

from contract import Clock, Deployed, Job, peer_main
from ort_quantization import dynamic_int8


def make(job: Job) -> list[Deployed]:
    clock = Clock()
    with clock.running():
        dynamic_int8(Path(job.reference), job.folder / "model.onnx")
    return [Deployed("ONNX Runtime dynamic int8", "onnxruntime", "model.onnx", clock.seconds)]


if __name__ == "__main__":
    peer_main(make, packages=("onnxruntime", "onnx"))
