"""Olive by its command line: the model captured as ONNX, and int8 quantization, with nothing but its defaults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from contract import Clock, Deployed, Job, peer_main


def olive(*arguments: str, folder: Path) -> None:
    """Run in `folder`, as Olive keeps every model that it makes in `.olive-cache` where it is started."""
    code = subprocess.run([sys.executable, "-m", "olive", *arguments], check=False, cwd=folder).returncode
    if code:
        sys.exit(f"olive {arguments[0]} ended with {code}; what it said stands above")


def make(job: Job) -> list[Deployed]:
    folder, teacher = job.folder.resolve(), str(Path(job.teacher).resolve())
    clock, captured, out = Clock(), folder / "captured", folder / "quantized"
    with clock.running():
        olive(
            "capture-onnx-graph", "--model_name_or_path", teacher, "--task", "text-classification",
            "--use_dynamo_exporter", "--output_path", str(captured), folder=folder,
        )  # fmt: skip
        olive(
            "quantize", "--model_name_or_path", str(_graph(captured)), "--algorithm", "rtn", "--precision", "int8",
            "--implementation", "ort", "--output_path", str(out), folder=folder,
        )  # fmt: skip
    path = _graph(out).relative_to(folder)
    return [Deployed("Olive int8", "onnxruntime", str(path), clock.seconds)]


def _graph(folder: Path) -> Path:
    return next(iter(sorted(folder.rglob("*.onnx"))))


if __name__ == "__main__":
    peer_main(make, packages=("olive-ai", "onnxruntime"))
