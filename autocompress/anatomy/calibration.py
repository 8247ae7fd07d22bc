"""What goes into the products of a model on real texts: ranges for static int8, and outlier channels to smooth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocompress.anatomy.int8 import LEVELS
from autocompress.anatomy.kept_tokens import left_of
from autocompress.core.storage import Calibration
from autocompress.errors import CandidateError

Batches = Sequence[Mapping[str, Tensor]]
"""What a model is called with, batch after batch, by the names of its arguments."""

_BINS: Final = 2048
_INSIDE: Final = 0.9999
"""Share of the values that limits by percentile leave uncut."""
_SHRINK: Final = 64
"""Ranges that entropy chooses from."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product whose inputs are watched; with `first_token` those of that token alone are what is deployed. The
    model's argument `masked_by` says which of them are real."""

    module: nn.Module
    first_token: bool
    masked_by: str = "attention_mask"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What went into a product: the least and the largest value, 0 among them, how many values lay in each of equal
    parts of that range, and the largest magnitude of each channel [inputs]."""

    low: float
    high: float
    counts: NDArray[np.float64]
    channels: Tensor


def observe(
    model: nn.Module, products: Mapping[str, Product], batches: Batches, reliefs: Mapping[str, Tensor]
) -> dict[str, Inputs]:
    """Runs a model over examples and watches what goes into its products, by name, each channel multiplied by its
    relief where there is one. Padding does not count.

    Raises CandidateError when there are no examples.
    """
    if not batches:
        raise CandidateError(
            "quantize: `activations: static` and `smoothing` are calibrated on training texts, and there are none"
        )
    low = {name: torch.zeros(()) for name in products}
    high, channels = dict(low), dict(low)

    def extremes(name: str, values: Tensor) -> None:
        low[name], high[name] = torch.minimum(low[name], values.min()), torch.maximum(high[name], values.max())
        channels[name] = torch.maximum(channels[name], values.abs().amax(0))

    run(model, products, batches, reliefs, extremes)
    counts = {name: torch.zeros(_BINS) for name in products}

    def count(name: str, values: Tensor) -> None:
        counts[name] += torch.histc(values, _BINS, min=float(low[name]), max=float(high[name]))

    run(model, products, batches, reliefs, count)
    return {
        name: Inputs(float(low[name]), float(high[name]), counts[name].double().numpy(), channels[name])
        for name in products
    }


def run(
    model: nn.Module,
    products: Mapping[str, Product],
    batches: Batches,
    reliefs: Mapping[str, Tensor],
    see: Callable[[str, Tensor], None],
) -> None:
    """Runs a model over examples: `see` gets what goes into each product, [tokens, inputs], batch after batch; with a
    relief, multiplied by it. Behind a layer that keeps some of its tokens, those that are left are real."""
    inputs: Mapping[str, Tensor] = {}
    left = next((found for one in model.modules() if (found := left_of(one)) is not None), None)

    def watch(name: str, product: Product) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
            mask = inputs.get(product.masked_by)
            if left is not None and not product.first_token:
                mask = left.real(mask, given[0].shape[1])
            if product.first_token:
                values = given[0][:, 0]
            elif mask is not None and mask.shape == given[0].shape[:2]:
                values = given[0][mask.bool()]
            else:
                values = given[0].flatten(0, -2)
            see(name, values.float() * reliefs[name] if name in reliefs else values.float())

        return hook

    hooks = [one.module.register_forward_pre_hook(watch(name, one)) for name, one in products.items()]
    try:
        with torch.inference_mode():
            for inputs in batches:
                model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()


def limits(seen: Inputs, method: Calibration) -> Tensor:
    """Between which values a product's inputs are quantized: [low, high].

    `percentile` cuts the outermost 0.01 % of values. `entropy` shrinks the range as long as the quantized histogram
    keeps more of what the uncut one tells (least Kullback-Leibler divergence; Migacz 2017, "8-bit inference with
    TensorRT").
    """
    low, high = seen.low, seen.high
    if method != "min-max" and seen.counts.sum() and high > low:
        low, high = _percentile(seen) if method == "percentile" else _entropy(seen)
    return torch.tensor([min(low, 0.0), max(high, 0.0)])


def _percentile(seen: Inputs) -> tuple[float, float]:
    reached = np.cumsum(seen.counts) / seen.counts.sum()
    first = int(np.searchsorted(reached, (1 - _INSIDE) / 2))
    last = int(np.searchsorted(reached, 1 - (1 - _INSIDE) / 2))
    return _edge(seen, first), _edge(seen, last + 1)


def _entropy(seen: Inputs) -> tuple[float, float]:
    zero = round(-seen.low / (seen.high - seen.low) * _BINS)
    best, found = np.inf, (seen.low, seen.high)
    for kept in np.linspace(1.0, LEVELS / _BINS * 2, _SHRINK):
        first, last = round(zero * (1 - kept)), round(zero + (_BINS - zero) * kept)
        told = _divergence(seen.counts, first, last)
        if told < best:
            best, found = told, (_edge(seen, first), _edge(seen, last))
    return found


def _divergence(counts: NDArray[np.float64], first: int, last: int) -> float:
    """Of the histogram, its ends gathered at the limits, from what 255 levels between the limits make of it."""
    inside = counts[first:last]
    cut = inside.copy()
    cut[0] += counts[:first].sum()
    cut[-1] += counts[last:].sum()
    level = np.arange(len(inside)) * LEVELS // len(inside)
    filled = inside > 0
    each = np.bincount(level, inside, LEVELS) / np.maximum(np.bincount(level, filled, LEVELS), 1)
    quantized = np.where(filled, each[level], 0.0)
    p, q = cut / cut.sum(), quantized / max(quantized.sum(), 1.0)
    told = p > 0
    return float((p[told] * np.log(p[told] / np.maximum(q[told], 1e-9))).sum())


def _edge(seen: Inputs, bin_: int) -> float:
    return seen.low + (seen.high - seen.low) * bin_ / _BINS


def relief(channels: Tensor, weights: Sequence[Tensor], strength: float) -> Tensor:
    """What the inputs of some products [inputs] are multiplied by, and their weights [outputs, inputs] divided by, so
    that outlier channels are easier to quantize: 1 / s with s = max|x|^a / max|w|^(1 - a) for each channel
    (SmoothQuant; Xiao et al. 2023, equation 4), a the `strength`. A channel that never was anything keeps its scale."""
    largest = torch.stack([weight.detach().abs().amax(0) for weight in weights]).amax(0)
    scale = channels.clamp(min=1e-5) ** strength / largest.clamp(min=1e-5) ** (1 - strength)
    return torch.where((channels > 0) & (largest > 0), 1 / scale, torch.ones(()))
