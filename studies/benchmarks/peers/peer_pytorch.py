"""PyTorch as it comes: the model as transformers loads it, eager, in fp32."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract import Deployed, Job, peer_main


def load(path: Path) -> Callable[[Any, Any], Any]:
    """(input_ids, attention_mask) [batch, length] -> logits, as arrays."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(str(path)).eval()

    def run(ids: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()

    return run


def make(job: Job) -> list[Deployed]:
    shutil.copytree(job.teacher, job.folder / "model", dirs_exist_ok=True)
    return [Deployed("PyTorch eager fp32", "torch", "model", 0.0, files=("model/model.safetensors",))]


if __name__ == "__main__":
    peer_main(make, packages=("torch", "transformers"))
