"""Criteria that are read from the gradient of the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from autocompress.anatomy import Anatomy
from autocompress.anatomy.scores import Scores
from autocompress.inputs.examples import Batch

GRADIENT: Final = frozenset({"fisher", "taylor"})


class _Gates:
    """Multiplies the inputs of a layer's attention output and feed-forward output by ones whose gradients are kept,
    one gate a text and unit."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._handles: list[Any] = []
        self.gates: dict[tuple[str, int], Tensor] = {}

    def __enter__(self) -> _Gates:
        for layer in self._anatomy.layers:
            attention, feed_forward = layer.of_attention, layer.of_feed_forward
            self._hook(("heads", layer.index), attention.output.module, attention.heads)
            self._hook(("channels", layer.index), feed_forward.down.module, feed_forward.width)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, key: tuple[str, int], module: nn.Module, units: int) -> None:
        def gate(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (hidden,) = inputs  # [texts, length, units * size]
            if key not in self.gates:  # else the layer is computed again, with the same weights
                self.gates[key] = torch.ones(hidden.shape[0], 1, units, 1, requires_grad=True)
            ones = self.gates[key]
            by_unit = hidden.reshape(*hidden.shape[:-1], units, -1)
            return ((by_unit * ones).flatten(-2),)

        self._handles.append(module.register_forward_pre_hook(gate))


Loss = Callable[[Tensor, Batch], Tensor]
"""(outputs [texts, ...], batch) -> the sum over its texts, a scalar."""


def by_gradient(
    anatomy: Anatomy, data: Sequence[Batch], loss: Loss
) -> dict[str, tuple[dict[int, Scores], dict[int, Scores]]]:
    """Criterion -> scores of the heads and of the channels of every layer."""
    squares: dict[tuple[str, int], Tensor] = {}
    absolutes: dict[tuple[str, int], Tensor] = {}
    anatomy.model.eval()
    with _Gates(anatomy) as gated:
        for batch in data:
            gated.gates.clear()
            total = loss(anatomy.model(**batch.inputs).logits.float(), batch)
            keys = list(gated.gates)
            gradients = torch.autograd.grad(total, [gated.gates[key] for key in keys])
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
