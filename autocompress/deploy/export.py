"""The stock export of the uncompressed model: what a user would deploy without us, and what we compare with."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from autocompress.anatomy.forms import USUAL_ATTENTION
from autocompress.anatomy.inputs import inputs_of
from autocompress.core.opsets import OPSETS, PLAIN_OPSET
from autocompress.core.text_inputs import TYPES

logger = logging.getLogger(__name__)

_LENGTH: Any = torch.export.Dim("length", max=512)


def export_stock(model: Any, path: Path, *, opset: int = PLAIN_OPSET) -> None:
    """torch's own ONNX export in fp32, dynamic in batch and, of texts, in length, as the model comes (its default
    attention).

    Its files are of the form of ONNX 1.16 whatever their opset, which older runtimes refuse; here it is the opset's."""
    if usual := getattr(model, USUAL_ATTENTION, None):  # it was put into a form of ours
        model = copy.deepcopy(model)
        model.set_attn_implementation(usual)
    wanted = inputs_of(model, types=TYPES in model.forward.__code__.co_varnames)
    inputs, sizes = wanted.example(length=16), {"batch": torch.export.Dim("batch"), "length": _LENGTH}
    axes = {name: {place: sizes[axis] for place, axis in free.items()} for name, free in wanted.free.items()}
    for name in ("torch.onnx", "onnxscript"):  # they list optional libraries, and how they convert old opsets
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            model,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=axes,
            opset_version=opset,
            output_names=["logits"],
            verbose=False,
        )
        program.model.ir_version = OPSETS[opset].form
        program.save(str(path), external_data=False)
