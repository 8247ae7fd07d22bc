"""8-bit weights and the modules that compute with them exactly as the deployed graph does.

Weights are symmetric and signed, one scale an output channel (products) or a row (embeddings): signed because ONNX
Runtime's unsigned weights run 2.5 times slower, per channel because it costs nothing and keeps one outlier channel from
coarsening the others. Activations are quantized as they come, unsigned, one scale and zero point for a whole text: the
arithmetic of ONNX `DynamicQuantizeLinear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 127
LEVELS = 255


def quantize_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[inputs, outputs] -> int8 of the same shape and a scale a column: weight ~ int8 * scales."""
    rows, scales = quantize_rows(np.ascontiguousarray(weight.T))
    return np.ascontiguousarray(rows.T), scales[:, 0]


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[rows, columns] -> int8 of the same shape and scales [rows, 1]."""
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(LARGEST)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.clip(np.rint(table / scales), -LARGEST, LARGEST).astype(np.int8), scales


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and dynamically quantized activations, for scoring; not trainable.

    Keeps the fp32 layer it was made of in `linear`. With `first_token` only that token's values decide the scale: the
    deployed graph computes no other behind the last attention, and what comes out for others is of no use. Integers up
    to 255 are exact in bf16, so autocast loses nothing but the rounding of the result.

    `mask` [texts, length] says which tokens are real: the padding of a batch must not widen a scale, as a text that is
    served singly has none. `tell_padding` sets it.
    """

    def __init__(self, linear: nn.Linear, *, first_token: bool = False) -> None:
        super().__init__()
        self.linear, self.first_token = linear, first_token
        self.mask: Tensor | None = None
        rows, scales = quantize_rows(linear.weight.detach().numpy())
        self.register_buffer("rows", torch.from_numpy(rows.astype(np.float32)), persistent=False)
        self.register_buffer("scales", torch.from_numpy(scales[:, 0]), persistent=False)
        self.rows: Tensor
        self.scales: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """[texts, length, inputs] -> [texts, length, outputs]; every text has a scale of its own, as when served
        singly."""
        inputs = inputs.float()
        ranged = inputs[:, :1] if self.first_token else inputs
        low, high = ranged.amin(-1, keepdim=True), ranged.amax(-1, keepdim=True)
        if self.mask is not None and not self.first_token:
            padding = self.mask[..., None] == 0  # a range holds 0 anyway
            low, high = low.masked_fill(padding, 0), high.masked_fill(padding, 0)
        low, high = low.amin(1, keepdim=True).clamp(max=0), high.amax(1, keepdim=True).clamp(min=0)
        scale = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        zero = torch.round(-low / scale).clamp(0, LEVELS)
        integers = (torch.round(inputs / scale) + zero).clamp(0, LEVELS) - zero
        return functional.linear(integers, self.rows).float() * (scale * self.scales) + self.linear.bias


def tell_padding(model: nn.Module, _: tuple[Any, ...], inputs: dict[str, Any]) -> None:
    """A forward pre-hook for a model: hands its attention mask to its int8 products."""
    for module in model.modules():
        if isinstance(module, Int8Linear):
            module.mask = inputs.get("attention_mask")


class Int8Embedding(nn.Module):
    """An embedding table with int8 rows; not trainable. Keeps the fp32 table it was made of in `embedding`.

    Rows are quantized as they are looked up: a whole table would be quantized anew for every candidate.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, tokens: Tensor) -> Tensor:
        rows = functional.embedding(tokens, self.embedding.weight)
        scales = (rows.abs().amax(-1, keepdim=True) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
        return torch.round(rows / scales) * scales
