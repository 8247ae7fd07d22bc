"""Products held as two factors: x W is computed as (x A) B, where A has few outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn

from autocompress.anatomy.moments import Moments


@dataclass(frozen=True, slots=True)
class Factors:
    """Of a weight [outputs, inputs]: `first` [rank, inputs], `second` [outputs, rank] and the `bias` [outputs], with
    which y = second (first x) + bias."""

    first: Tensor
    second: Tensor
    bias: Tensor | None

    def __post_init__(self) -> None:
        if self.first.shape[0] != self.second.shape[1]:
            raise ValueError(
                f"`first` must give as many numbers as `second` takes, got {self.first.shape[0]} and "
                f"{self.second.shape[1]}"
            )


Factoring = Callable[[Tensor, Tensor | None, Moments | None], Factors | None]
"""How a product is taken apart: its weight [outputs, inputs], its bias and what was seen of it on texts, if anything,
to its factors; or None, where it stays whole."""


@final
class Factored(nn.Module):
    """One product, or several joined side by side, each in two factors: one linear layer gives the few numbers of all
    of them, and each takes its own to its outputs. Both may be quantized; then each rounds what goes into it."""

    def __init__(self, factors: Sequence[Factors]) -> None:
        super().__init__()
        self.ranks = tuple(len(one.first) for one in factors)
        joined = factors[0].first if len(factors) == 1 else torch.cat([one.first for one in factors])
        self.first: nn.Module = _layer(joined, None)
        self.second = nn.ModuleList(_layer(one.second, one.bias) for one in factors)

    @property
    def seconds(self) -> tuple[nn.Linear, ...]:
        return tuple(cast(nn.Linear, one) for one in self.second)

    @property
    def in_features(self) -> int:
        return int(cast(nn.Linear, self.first).in_features)

    @property
    def out_features(self) -> int:
        return sum(one.out_features for one in self.seconds)

    @property
    def weight(self) -> Tensor:
        """The factors multiplied out [outputs, inputs]: some models look at the weights of their products."""
        pieces = cast(nn.Linear, self.first).weight.split_with_sizes(self.ranks)
        found = [one.weight @ piece for one, piece in zip(self.seconds, pieces, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found)

    @property
    def bias(self) -> Tensor | None:
        found = [cast(Tensor | None, one.bias) for one in self.seconds]
        if any(one is None for one in found):
            return None
        return found[0] if len(found) == 1 else torch.cat([one for one in found if one is not None])

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]"""
        few = self.first(inputs)
        if len(self.second) == 1:
            found: Tensor = self.second[0](few)
            return found
        pieces = few.split_with_sizes(self.ranks, dim=-1)
        return torch.cat([one(piece) for one, piece in zip(self.second, pieces, strict=True)], dim=-1)


def factored(linear: nn.Linear, sizes: Sequence[int], method: Factoring, seen: Moments | None) -> nn.Module:
    """A product as two factors, or as it is. Of several that are joined in it, of these `sizes` of outputs, each is
    taken apart for itself. Raises ValueError where some of them stay whole."""
    biases: Sequence[Tensor | None] = [None] * len(sizes)
    if linear.bias is not None:
        biases = linear.bias.detach().split_with_sizes(sizes)
    rows, start, found = linear.weight.detach().split_with_sizes(sizes), 0, []
    for weight, bias in zip(rows, biases, strict=True):
        found.append(method(weight, bias, None if seen is None else seen.of_rows(start, len(weight))))
        start += len(weight)
    whole = [one for one in found if one is not None]
    if whole and len(whole) < len(found):
        raise ValueError("products that are joined in one module must be held alike")
    return Factored(whole) if whole else linear


def _layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Over these tensors: none are made anew."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().contiguous())
    return layer
