"""The stock export of the uncompressed model: what a user would deploy without us, and what we compare with."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)


def export_stock(model: Any, path: Path, *, opset: int = 20) -> None:
    """torch's own ONNX export in fp32, dynamic in batch and length, as the model comes (its default attention)."""
    ids = torch.ones((2, 16), dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "token_type_ids" in model.forward.__code__.co_varnames:
        inputs["token_type_ids"] = torch.zeros_like(ids)
    axes = {name: {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)} for name in inputs}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists every optional library that is not there
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            kwargs=inputs,
            f=str(path),
            dynamo=True,
            dynamic_shapes=axes,
            opset_version=opset,
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
