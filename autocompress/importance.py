"""Which heads and which feed-forward channels a trained model can best do without, read from data.

Criteria, all "larger is more important":

fisher      sum over texts of the squared gradient of the loss with respect to a gate on the unit
            (the diagonal of the empirical Fisher information; Kwon et al. 2022, section 4)
taylor      mean absolute gradient of the same gate (Michel et al. 2019, equation 2)
confidence  a head's mean largest attention weight (Voita et al. 2019, section 4)
entropy     the negative mean entropy of a head's attention (a head that looks everywhere says little)
magnitude   the norm of the unit's weights; needs no data
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from autocompress.anatomy import Anatomy
from autocompress.anatomy.anatomy import LayerParts
from autocompress.core.shape import ModelShape
from autocompress.tasks import Batch

Scores = NDArray[np.float64]
CRITERIA = ("fisher", "taylor", "confidence", "entropy", "magnitude")
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Importance:
    """Scores by criterion and layer of the uncompressed model."""

    heads: Mapping[str, Mapping[int, Scores]]
    channels: Mapping[str, Mapping[int, Scores]]

    def best_heads(self, criterion: str, layer: int, count: int) -> list[int]:
        """The `count` most important heads of a layer, in their order in the model."""
        return _best(self.heads[criterion][layer], count)

    def best_channels(self, criterion: str, layer: int, count: int) -> list[int]:
        """The `count` most important channels of a layer, in their order in the model."""
        return _best(self.channels[criterion][layer], count)


def no_preference(shape: ModelShape) -> Importance:
    """Every unit alike, under every criterion: the first ones are kept. For models whose weights come afterwards."""
    heads = {layer.index: np.zeros(layer.attention.heads) for layer in shape.layers}
    channels = {layer.index: np.zeros(layer.feed_forward.width) for layer in shape.layers}
    return Importance(dict.fromkeys(CRITERIA, heads), dict.fromkeys(CRITERIA, channels))


def measure_importance(anatomy: Anatomy, data: Sequence[Batch], criteria: Iterable[str] = CRITERIA) -> Importance:
    """Scores of every head and channel under the wanted criteria. The model is left as it was."""
    wanted = set(criteria)
    heads: dict[str, dict[int, Scores]] = {}
    channels: dict[str, dict[int, Scores]] = {}
    if wanted & {"fisher", "taylor"}:
        for name, (by_head, by_channel) in _by_gradient(anatomy, data).items():
            heads[name], channels[name] = by_head, by_channel
    if wanted & {"confidence", "entropy"}:
        heads.update(_by_attention(anatomy, data))
    if "magnitude" in wanted:
        heads["magnitude"] = {layer.index: _head_norms(layer) for layer in anatomy.layers}
        channels["magnitude"] = {layer.index: _channel_norms(layer) for layer in anatomy.layers}
    return Importance(heads, channels)


def _best(scores: Scores, count: int) -> list[int]:
    return sorted(int(unit) for unit in np.argsort(-scores, kind="stable")[:count])


class _Gates:
    """Multiplies the inputs of a layer's attention output and feed-forward output by ones whose gradients are kept,
    one gate a text and unit."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._handles: list[Any] = []
        self.gates: dict[tuple[str, int], Tensor] = {}

    def __enter__(self) -> _Gates:
        for layer in self._anatomy.layers:
            self._hook(("heads", layer.index), layer.output.module, layer.heads)
            self._hook(("channels", layer.index), layer.down.module, layer.width)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, key: tuple[str, int], module: nn.Module, units: int) -> None:
        def gate(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (hidden,) = inputs  # [texts, length, units * size]
            ones = torch.ones(hidden.shape[0], 1, units, 1, requires_grad=True)
            self.gates[key] = ones
            by_unit = hidden.reshape(*hidden.shape[:-1], units, -1)
            return ((by_unit * ones).flatten(-2),)

        self._handles.append(module.register_forward_pre_hook(gate))


def _by_gradient(anatomy: Anatomy, data: Sequence[Batch]) -> dict[str, tuple[dict[int, Scores], dict[int, Scores]]]:
    squares: dict[tuple[str, int], Tensor] = {}
    absolutes: dict[tuple[str, int], Tensor] = {}
    anatomy.model.eval()
    with _Gates(anatomy) as gated:
        for batch in data:
            logits = anatomy.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            loss = functional.cross_entropy(logits.float(), batch.labels, reduction="sum")
            keys = list(gated.gates)
            gradients = torch.autograd.grad(loss, [gated.gates[key] for key in keys])
            for key, gradient in zip(keys, gradients, strict=True):
                flat = gradient.flatten(1).double()  # [texts, units]
                squares[key] = squares.get(key, torch.zeros(())) + flat.square().sum(0)
                absolutes[key] = absolutes.get(key, torch.zeros(())) + flat.abs().sum(0)
    return {
        name: (_part(sums, "heads"), _part(sums, "channels"))
        for name, sums in (("fisher", squares), ("taylor", absolutes))
    }


def _part(sums: Mapping[tuple[str, int], Tensor], part: str) -> dict[int, Scores]:
    return {layer: total.numpy() for (kind, layer), total in sums.items() if kind == part}


def attention_maps(anatomy: Anatomy, batch: Batch) -> list[Tensor]:
    """Attention probabilities of every layer, each [texts, heads, length, length].

    Only the eager implementation computes them; the default one returns none. Raises RuntimeError when it yields none.
    """
    model: Any = anatomy.model
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            maps = model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_attentions=True
            ).attentions
    finally:
        model.set_attn_implementation(before)
    if not maps or any(layer is None for layer in maps):
        raise RuntimeError(f"{anatomy.family.model_type}: the eager attention implementation returned no maps")
    return list(maps)


def _by_attention(anatomy: Anatomy, data: Sequence[Batch]) -> dict[str, dict[int, Scores]]:
    confidence: dict[int, Tensor] = {}
    entropy: dict[int, Tensor] = {}
    tokens = 0.0
    anatomy.model.eval()
    for batch in data:
        real = batch.attention_mask[:, None, :].double()  # padding asks no questions: [texts, 1, length]
        tokens += float(real.sum())
        for layer, maps in zip(anatomy.layers, attention_maps(anatomy, batch), strict=True):
            weights = maps.double()
            surest = (weights.amax(-1) * real).sum((0, 2))
            spread = (-(weights * (weights + _TINY).log()).sum(-1) * real).sum((0, 2))
            confidence[layer.index] = confidence.get(layer.index, torch.zeros(())) + surest
            entropy[layer.index] = entropy.get(layer.index, torch.zeros(())) + spread
    return {
        "confidence": {layer: (total / tokens).numpy() for layer, total in confidence.items()},
        "entropy": {layer: (-total / tokens).numpy() for layer, total in entropy.items()},
    }


def _head_norms(layer: LayerParts) -> Scores:
    inputs = [slot.linear.weight.detach() for slot in (layer.query, layer.key, layer.value)]
    outputs = layer.output.linear.weight.detach().T
    by_head = [weight.reshape(layer.heads, -1) for weight in (*inputs, outputs)]
    return _norms(torch.cat(by_head, dim=1))


def _channel_norms(layer: LayerParts) -> Scores:
    both = torch.cat([layer.up.linear.weight.detach(), layer.down.linear.weight.detach().T], dim=1)
    return _norms(both)


def _norms(rows: Tensor) -> Scores:
    return np.asarray(torch.linalg.vector_norm(rows.double(), dim=1).numpy())
