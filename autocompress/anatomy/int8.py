"""8-bit weights and the modules that compute with them exactly as the deployed graph does.

Weights are symmetric and signed, one scale an output channel (products) or a row (embeddings): signed because ONNX
Runtime's unsigned weights run 2.5 times slower, per channel because it costs nothing and keeps one outlier channel from
coarsening the others. They may be stored in fewer bits (see `int4` and `few_bits`), and are int8 again when a file is
loaded. Activations are unsigned, with one scale and zero point: as they come (dynamic), of a whole text, the arithmetic
of ONNX `DynamicQuantizeLinear`; or for all texts alike (static), from what calibration saw (see `calibration`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from autocompress.anatomy import few_bits, int4
from autocompress.anatomy.sparse import held, sparsity_of, still_sparse
from autocompress.core.storage import Calibration, Rounded

LARGEST = 127
LEVELS = 255

_TINY = torch.finfo(torch.float32).tiny


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[rows, columns] -> int8 of the same shape and scales [rows, 1]."""
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(LARGEST)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.clip(np.rint(table / scales), -LARGEST, LARGEST).astype(np.int8), scales


def rounded_rows(table: Tensor, bits: Rounded, *, there: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """[..., columns] -> what is computed with: whole numbers of the same shape, as floats, and scales [..., 1]. What is
    not `there` stays zero, also in bits that have no zero of their own."""
    if bits == 4:
        return int4.multiplied(table)
    if bits != 8:
        return few_bits.multiplied(table, bits, there=there)
    scales = (table.abs().amax(-1, keepdim=True) / LARGEST).clamp(min=_TINY)
    return torch.round(table / scales), scales


class Int8Linear(nn.Linear):
    """A linear layer with int8 weights and quantized activations; its `weight` and `bias` are those of the fp32 layer
    it was made of, so that names of tensors stay what they were.

    With `limits` activations are quantized between these two, statically; otherwise as they come. With `relief`
    [inputs] inputs are multiplied by it first, and the weights are divided by it (see `calibration.relief`).

    With `first_token` only that token's values decide the scale: the deployed graph computes no other behind the last
    attention, and what comes out for others is of no use. Integers up to 255 are exact in bf16, so autocast loses
    nothing but the rounding of the result.

    In training the forward pass is the same, and gradients pass through roundings as if there were none (the
    straight-through estimator; Bengio et al. 2013), but not through values cut off by static limits.

    `mask` [texts, length] says which tokens are real: the padding of a batch must not widen a scale, as a text that is
    served singly has none. `tell_padding` sets it to the model's argument `masked_by`. Inputs of another length than
    the mask's are no tokens of these texts, such as tables of positions, and are real all.
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        bits: Rounded = 8,
        first_token: bool = False,
        limits: Tensor | None = None,
        relief: Tensor | None = None,
        calibration: Calibration | None = None,
        smoothing: float | None = None,
        masked_by: str = "attention_mask",
    ) -> None:
        """`calibration` and `smoothing` say how `limits` and `relief` were found."""
        nn.Module.__init__(self)  # the tensors are those of `linear`: none are made anew
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.bits, self.first_token = bits, first_token
        self.sparsity = sparsity_of(linear)
        self.calibration, self.smoothing = calibration, smoothing
        self.masked_by = masked_by
        self.mask: Tensor | None = None
        self.register_buffer("limits", limits, persistent=False)
        self.register_buffer("relief", relief, persistent=False)
        self.limits: Tensor | None
        self.relief: Tensor | None
        self._rounded: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> Int8Linear:
        self._rounded = None
        super().train(mode)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """[texts, length, inputs] -> [texts, length, outputs]; every text has a scale of its own, as when served
        singly."""
        inputs = inputs.float() if self.relief is None else inputs.float() * self.relief
        low, high = self._range(inputs.detach()) if self.limits is None else self.limits
        scale, zero = steps(low, high)
        integers = (torch.round(inputs / scale) + zero).clamp(0, LEVELS) - zero
        if self.training:
            reached = (inputs / scale).clamp(-zero, LEVELS - zero)
            integers = reached + (integers - reached).detach()
        rows, scales = self._rows()
        product = functional.linear(integers, rows).float() * (scale * scales[:, 0])
        return product if self.bias is None else product + self.bias

    def relieved(self) -> Tensor:
        """The weights [outputs, inputs] that are rounded."""
        weight = still_sparse(self.weight) if self.sparsity is not None and self.training else self.weight
        return weight if self.relief is None else weight / self.relief

    def _rows(self) -> tuple[Tensor, Tensor]:
        if self.training:
            weight = self.relieved()
            rows, scales = self._rounding(weight.detach())
            plain = weight / scales
            return plain + (rows - plain).detach(), scales
        if self._rounded is None:
            self._rounded = self._rounding(self.relieved().detach())
        return self._rounded

    def _rounding(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        there = None if self.sparsity is None else held(weight != 0, self.sparsity)
        return rounded_rows(weight, self.bits, there=there)

    def _range(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest value of every text, 0 among them."""
        of_tokens = self.mask is None or self.mask.shape == inputs.shape[:2]
        first = self.first_token and of_tokens
        ranged = inputs[:, :1] if first else inputs
        low, high = ranged.amin(-1, keepdim=True), ranged.amax(-1, keepdim=True)
        if self.mask is not None and of_tokens and not first:
            padding = self.mask[..., None] == 0  # a range holds 0 anyway
            low, high = low.masked_fill(padding, 0), high.masked_fill(padding, 0)
        return low.amin(1, keepdim=True).clamp(max=0), high.amax(1, keepdim=True).clamp(min=0)


def steps(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of unsigned 8-bit activations between two limits."""
    scale = ((high - low) / LEVELS).clamp(min=_TINY)
    return scale, torch.round(-low / scale).clamp(0, LEVELS)


def tell_padding(model: nn.Module, _: tuple[Any, ...], inputs: dict[str, Any]) -> None:
    """A forward pre-hook for a model: hands its masks to its int8 products."""
    for module in model.modules():
        if isinstance(module, Int8Linear):
            module.mask = inputs.get(module.masked_by)


class SharedEmbedding(nn.Embedding):
    """An embedding over the table of another one: none is made anew. `places` are those of tokens in the table, where
    they are not their numbers (see `kept_rows`)."""

    def __init__(self, embedding: nn.Embedding) -> None:
        nn.Module.__init__(self)
        self.register_buffer("places", getattr(embedding, "places", None), persistent=False)
        self.places: Tensor | None
        self.num_embeddings, self.embedding_dim = embedding.num_embeddings, embedding.embedding_dim
        self.weight, self.padding_idx = embedding.weight, embedding.padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = None, 2.0, False, False

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.embedding(tokens if self.places is None else self.places[tokens], self.weight)


class Int8Embedding(SharedEmbedding):
    """An embedding table with rows in 8 bits, or fewer; its `weight` is that of the fp32 table it was made of.

    Rows are quantized as they are looked up: a whole table would be quantized anew for every candidate.
    """

    def __init__(self, embedding: nn.Embedding, *, bits: Rounded = 8) -> None:
        super().__init__(embedding)
        self.bits = bits

    def forward(self, tokens: Tensor) -> Tensor:
        rows = super().forward(tokens)
        integers, scales = rounded_rows(rows.detach(), self.bits)
        rounded = integers * scales
        return rows + (rounded - rows).detach() if self.training else rounded
