"""Measuring the wanted criteria, each in as few passes over the data as it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autocompress.anatomy import Anatomy
from autocompress.anatomy.finding import LayerParts, Slot
from autocompress.anatomy.scores import (
    COMBINED,
    EVERYTHING,
    LAYER_CRITERIA,
    RESIDUAL,
    VARIANCE,
    Importance,
    Scores,
    mean_ranks,
    ranks,
)
from autocompress.importance.attention import ATTENTION, by_attention
from autocompress.importance.gradients import GRADIENT, Loss, by_gradient
from autocompress.importance.stream import by_stream
from autocompress.inputs.examples import Batch

_NOTHING: Final = Importance({}, {})


def of_classes(outputs: Tensor, batch: Batch) -> Tensor:
    """The cross-entropy of answers that are classes."""
    found: Tensor = functional.cross_entropy(outputs.float(), batch.targets, reduction="sum")
    return found


def measure_importance(
    anatomy: Anatomy,
    data: Sequence[Batch],
    criteria: Iterable[str] = EVERYTHING,
    *,
    loss: Loss = of_classes,
    known: Importance = _NOTHING,
) -> Importance:
    """Scores of every head, channel and layer, and of the stream's channels, under the wanted criteria. The model is
    left as it was.

    `loss` is what gradients are taken of. What comes from a pass that is needed anyway is scored along. What is `known`
    from the same data is taken over, and not measured again. `combined` is the rank over all other criteria, so that it
    means the same wherever it is asked for; it wants all of them.
    """
    wanted = set(criteria)
    if COMBINED in wanted:
        wanted |= set(EVERYTHING)
    heads, channels, layers = dict(known.heads), dict(known.channels), dict(known.layers)
    hidden = dict(known.hidden)
    missing = wanted - {COMBINED} - heads.keys() - layers.keys() - hidden.keys()
    if missing & GRADIENT:
        for name, (by_head, by_channel) in by_gradient(anatomy, data, loss).items():
            heads[name], channels[name] = by_head, by_channel
            layers[name] = {layer: float(by_head[layer].sum() + by_channel[layer].sum()) for layer in by_head}
    if missing & {*ATTENTION, RESIDUAL}:
        found, layers[RESIDUAL] = by_attention(anatomy, data, missing)
        heads.update(found)
    if "magnitude" in missing:
        heads["magnitude"] = {layer.index: _head_norms(layer) for layer in anatomy.layers}
        channels["magnitude"] = {layer.index: _channel_norms(layer) for layer in anatomy.layers}
    if VARIANCE in missing:
        anatomy.model.eval()
        hidden[VARIANCE] = by_stream(anatomy, data)
    if COMBINED in wanted:
        heads[COMBINED], channels[COMBINED] = mean_ranks(heads), mean_ranks(channels)
        layers[COMBINED] = _combined_layers(layers)
    return Importance(heads, channels, layers, hidden)


def _combined_layers(layers: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    order = sorted(layers[RESIDUAL])
    columns = [ranks([layers[name][layer] for layer in order]) for name in LAYER_CRITERIA if name != COMBINED]
    return dict(zip(order, map(float, np.mean(columns, axis=0)), strict=True))


def _head_norms(layer: LayerParts) -> Scores:
    *readers, output = layer.attention
    by_head = _by_unit(output, readers, layer.of_attention.heads)
    return _norms(torch.cat(by_head, dim=1))


def _channel_norms(layer: LayerParts) -> Scores:
    up, down = layer.feed_forward
    return _norms(torch.cat(_by_unit(down, (up,), layer.of_feed_forward.width), dim=1))


def _by_unit(last: Slot, first: Sequence[Slot], units: int) -> list[Tensor]:
    """The weights of a block, [units, numbers]: of the products that give the units, side by side if they are joined in
    one, and of the `last`, which reads them."""
    weights = [slot.linear.weight.detach() for slot in dict.fromkeys(first)]
    size = last.linear.in_features // units
    found = [_repeated(one, units * size, size) for one in weights]
    found = [one.reshape(-1, units, size * one.shape[1]).transpose(0, 1).reshape(units, -1) for one in found]
    return [*found, last.linear.weight.detach().T.reshape(units, -1)]


def _repeated(weight: Tensor, rows: int, size: int) -> Tensor:
    """A weight of keys, of `size` rows each, as often as they are read, so that it has as many rows as one of
    queries."""
    if len(weight) >= rows:
        return weight
    by_key = weight.reshape(-1, size, weight.shape[1])
    return by_key.repeat_interleave(rows // len(weight), 0).reshape(rows, -1)


def _norms(rows: Tensor) -> Scores:
    return np.asarray(torch.linalg.vector_norm(rows.double(), dim=1).numpy())
