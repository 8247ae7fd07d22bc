"""Criteria that are read from attention maps, and from what layers make of the residual stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autocompress.anatomy import Anatomy
from autocompress.anatomy.scores import RESIDUAL, Scores
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch

ATTENTION: Final = frozenset({"confidence", "entropy", "distance", "redundancy"})
_TINY: Final = 1e-12


def attention_maps(anatomy: Anatomy, batch: Batch) -> list[Tensor]:
    """Attention probabilities of every layer that attends, each [texts, heads, length, length].

    Only the eager implementation computes them; the default one returns none. Raises SpecError when it yields none.
    """
    return _observe(anatomy, batch)[0]


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions over the last axis, in bits: 0 for the same, 1 for disjoint ones."""
    return _bits((first + second) / 2) - (_bits(first) + _bits(second)) / 2


def by_attention(
    anatomy: Anatomy, data: Sequence[Batch], wanted: Collection[str]
) -> tuple[dict[str, dict[int, Scores]], dict[int, float]]:
    """Criterion -> layer -> scores of its heads, and what each layer does to the residual stream, from one pass."""
    criteria = sorted(ATTENTION & set(wanted))
    sums = _Sums()
    anatomy.model.eval()
    for batch in data:
        maps, hidden = _observe(anatomy, batch)
        real = batch.mask.double()  # padding asks no questions: [texts, length]
        sums.tokens += float(real.sum())
        for place, layer in enumerate(anatomy.layers):
            turned = 1 - functional.cosine_similarity(hidden[place].double(), hidden[place + 1].double(), dim=-1)
            sums.add(RESIDUAL, layer.index, (turned * real).sum())
            for name in criteria:
                sums.add(name, layer.index, _READERS[name](maps[place], real[:, None]))
    heads = {name: {layer: _SCORES[name](mean) for layer, mean in sums.means(name).items()} for name in criteria}
    return heads, {layer: float(mean) for layer, mean in sums.means(RESIDUAL).items()}


def _observe(anatomy: Anatomy, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Attention maps, and the hidden states before the first layer and after each: [texts, length, hidden]."""
    model: Any = anatomy.model
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            seen = model(**batch.inputs, output_attentions=True, output_hidden_states=True)
    finally:
        model.set_attn_implementation(before)
    maps, hidden = list(seen.attentions or ()), list(seen.hidden_states or ())
    if not maps or any(layer is None for layer in maps):
        raise SpecError(
            f"importance: the eager attention implementation of this {anatomy.family.model_type} returns no maps, so "
            f"{', '.join(sorted(ATTENTION))} cannot be known; choose `importance: fisher`, `taylor` or `magnitude`"
        )
    attending = sum(layer.mixes is not None for layer in anatomy.layers)
    if len(maps) != attending or len(hidden) - 1 != len(anatomy.layers):
        raise RuntimeError(
            f"{anatomy.family.model_type}: {len(anatomy.layers)} layers returned {len(maps)} attention maps and "
            f"{len(hidden)} hidden states"
        )
    return maps, hidden


@dataclass(slots=True)
class _Sums:
    """Sums over tokens by criterion and layer."""

    tokens: float = 0.0
    totals: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def add(self, criterion: str, layer: int, value: Tensor) -> None:
        key = (criterion, layer)
        self.totals[key] = self.totals.get(key, torch.zeros((), dtype=torch.float64)) + value

    def means(self, criterion: str) -> dict[int, Tensor]:
        return {layer: total / self.tokens for (name, layer), total in self.totals.items() if name == criterion}


# Readers take maps [texts, heads, length, length] and the real tokens [texts, 1, length], and sum over tokens


def _largest(maps: Tensor, real: Tensor) -> Tensor:
    return (maps.amax(-1) * real).sum((0, 2))


def _spread(maps: Tensor, real: Tensor) -> Tensor:
    weights = maps.double()
    return (-(weights * (weights + _TINY).log()).sum(-1) * real).sum((0, 2))


def _reach(maps: Tensor, real: Tensor) -> Tensor:
    places = torch.arange(maps.shape[-1])
    apart = (places[:, None] - places[None, :]).abs()
    return ((maps.double() * apart).sum(-1) * real).sum((0, 2))


def _between_heads(maps: Tensor, real: Tensor) -> Tensor:
    """The divergence of every two heads, [heads, heads]."""
    heads, own = maps.shape[1], _bits(maps)
    table = torch.zeros(heads, heads, dtype=torch.float64)
    for head in range(heads - 1):
        mixed = _bits((maps[:, head : head + 1] + maps[:, head + 1 :]) / 2)
        apart = mixed - (own[:, head : head + 1] + own[:, head + 1 :]) / 2
        table[head, head + 1 :] = (apart * real).sum((0, 2))
    return table + table.T


def _bits(distribution: Tensor) -> Tensor:
    return -(distribution * (distribution + _TINY).log2()).sum(-1)


def _to_the_nearest(table: Tensor) -> Scores:
    """A lone head is like no other: 1."""
    if len(table) == 1:
        return np.ones(1)
    apart = table.clone()
    apart.fill_diagonal_(torch.inf)
    return np.asarray(apart.amin(1).clamp(min=0).numpy())


def _as_is(mean: Tensor) -> Scores:
    return np.asarray(mean.numpy())


def _negative(mean: Tensor) -> Scores:
    return np.asarray((-mean).numpy())


_READERS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "confidence": _largest,
    "entropy": _spread,
    "distance": _reach,
    "redundancy": _between_heads,
}
_SCORES: Final[Mapping[str, Callable[[Tensor], Scores]]] = {
    "confidence": _as_is,
    "entropy": _negative,
    "distance": _negative,
    "redundancy": _to_the_nearest,
}
