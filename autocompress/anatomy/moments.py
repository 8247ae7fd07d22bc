"""How what goes into products, or comes out of them, varies over texts, and how large it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import torch
from torch import Tensor, nn

from autocompress.anatomy.calibration import Batches, Product, run

_ENOUGH: Final = 32
"""Texts that the size of inputs is told by: it settles sooner than a covariance does, and every candidate of a search
waits for it."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Over real positions: the `mean` [inputs] of what goes into a product x W', and the `covariance`: [inputs, inputs]
    of that, or where `of_outputs` [outputs, outputs] of what comes out; whichever is smaller."""

    mean: Tensor
    covariance: Tensor
    of_outputs: bool

    def of_rows(self, start: int, count: int) -> Moments:
        """Of so many outputs alone."""
        if not self.of_outputs:
            return self
        rows = slice(start, start + count)
        return replace(self, covariance=self.covariance[rows, rows])


def moments(model: nn.Module, products: Mapping[str, Product], batches: Batches) -> dict[str, Moments]:
    """By the names of products, of a model as it is; none where there is nothing to run it on."""
    if not batches:
        return {}
    weights = {name: cast(Tensor, one.module.weight).detach() for name, one in products.items()}
    count = dict.fromkeys(products, 0)
    total = {name: torch.zeros(weight.shape[1], dtype=torch.float64) for name, weight in weights.items()}
    squares = {name: torch.zeros(min(weight.shape), min(weight.shape)) for name, weight in weights.items()}

    def see(name: str, values: Tensor) -> None:
        weight = weights[name].to(values.dtype)
        total[name] += values.sum(0, dtype=torch.float64)
        count[name] += len(values)
        seen = values @ weight.T if _of_outputs(weight) else values
        squares[name] = squares[name].to(seen.dtype) + seen.T @ seen

    run(model, products, batches, {}, see)
    found = {}
    for name, weight in weights.items():
        mean = (total[name] / count[name]).to(squares[name].dtype)
        centre = weight.to(mean.dtype) @ mean if _of_outputs(weight) else mean
        covariance = squares[name] / count[name] - torch.outer(centre, centre)
        found[name] = Moments(mean, covariance, _of_outputs(weight))
    return found


def powers(model: nn.Module, products: Mapping[str, Product], batches: Batches) -> dict[str, Tensor]:
    """By the names of products, the mean square of each of their inputs [inputs] over real positions; none where there
    is nothing to run the model on. Of more than a few texts some are taken, from every batch."""
    if not batches:
        return {}
    count = dict.fromkeys(products, 0)
    total: dict[str, Tensor] = {}
    texts = sum(len(next(iter(batch.values()))) for batch in batches)
    some = [{name: one[:: max(1, texts // _ENOUGH)] for name, one in batch.items()} for batch in batches]

    def see(name: str, values: Tensor) -> None:
        squares = values.square().sum(0, dtype=torch.float64)
        total[name] = total[name] + squares if name in total else squares
        count[name] += len(values)

    run(model, products, some, {}, see)
    return {name: (squares / count[name]).float() for name, squares in total.items()}


def _of_outputs(weight: Tensor) -> bool:
    return weight.shape[0] < weight.shape[1]
