"""Intel Neural Compressor: static int8 of the PyTorch model by its PT2E path, compiled by inductor.

Its file holds fp32 weights beside their scales; they become int8 when inductor freezes the graph, so the size on disk
is that of the uncompressed model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract import Clock, Deployed, Job, peer_main

FILE = "model.pt2"


def load(path: Path) -> Callable[[Any, Any], Any]:
    """(input_ids, attention_mask) [batch, length] -> logits, as arrays; compiled for each length it meets."""
    import torch
    import torch.ao.quantization.fx._decomposed  # the operators that the file is written in
    from torch._inductor import config

    config.freezing = True
    torch._dynamo.config.cache_size_limit = 256
    model = torch.compile(torch.export.load(str(path / FILE)).module())

    def run(ids: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def make(job: Job) -> list[Deployed]:
    import torch
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import StaticQuantConfig, convert, prepare
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        """Tensors in, one tensor out: what can be exported."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    model = AutoModelForSequenceClassification.from_pretrained(job.teacher, attn_implementation="eager").eval()
    clock = Clock()
    with clock.running(), torch.no_grad():
        ids = torch.ones((2, 16), dtype=torch.int64)
        length = torch.export.Dim("length", min=2, max=512)
        batch = torch.export.Dim("batch", min=1, max=512)
        shapes = {"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}}
        exported = export(Logits(model), example_inputs=(ids, torch.ones_like(ids)), dynamic_shapes=shapes)
        prepared = prepare(exported, quant_config=StaticQuantConfig())
        for row in job.calibration_rows():
            text = torch.tensor([row["ids"]])
            prepared(text, torch.ones_like(text))
        quantized = convert(prepared)
        program = torch.export.export(quantized, (ids, torch.ones_like(ids)), dynamic_shapes=shapes)
        torch.export.save(program, str(job.folder / FILE))
    return [Deployed("Neural Compressor int8, inductor", "torch", ".", clock.seconds, files=(FILE,))]


if __name__ == "__main__":
    peer_main(make, packages=("neural-compressor-pt", "torch", "transformers"))
