"""ONNX Runtime in fp32: torch's own export with its defaults, the file that everybody starts from."""

from __future__ import annotations

import shutil

from contract import Clock, Deployed, Job, peer_main


def make(job: Job) -> list[Deployed]:
    from transformers import AutoModelForSequenceClassification

    from autocompress.deploy.export import export_stock

    clock = Clock()
    with clock.running():
        model = AutoModelForSequenceClassification.from_pretrained(job.teacher).eval()
        export_stock(model, job.folder / "model.onnx")
    shutil.copyfile(job.folder / "model.onnx", job.reference)
    return [Deployed("ONNX Runtime fp32", "onnxruntime", "model.onnx", clock.seconds)]


if __name__ == "__main__":
    peer_main(make, packages=("torch", "transformers", "onnxruntime"))
