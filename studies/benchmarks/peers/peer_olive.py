"""Olive by its command line: the model captured as ONNX, and int8 quantization, with nothing but its defaults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from contract import Clock, Deployed, Job, peer_main


def olive(*arguments: str) -> None:
    code = subprocess.run([sys.executable, "-m", "olive", *arguments], check=False).returncode
    if code:
        sys.exit(f"olive {arguments[0]} ended with {code}; what it said stands above")


def make(job: Job) -> list[Deployed]:
    clock, captured, out = Clock(), job.folder / "captured", job.folder / "quantized"
    with clock.running():
        olive(
            "capture-onnx-graph", "--model_name_or_path", job.teacher, "--task", "text-classification",
            "--use_dynamo_exporter", "--output_path", str(captured),
        )  # fmt: skip
        olive(
            "quantize", "--model_name_or_path", str(_graph(captured)), "--algorithm", "rtn", "--precision", "int8",
            "--implementation", "ort", "--output_path", str(out),
        )  # fmt: skip
    path = _graph(out).relative_to(job.folder)
    return [Deployed("Olive int8", "onnxruntime", str(path), clock.seconds)]


def _graph(folder: Path) -> Path:
    return next(iter(sorted(folder.rglob("*.onnx"))))


if __name__ == "__main__":
    peer_main(make, packages=("olive-ai", "onnxruntime"))
