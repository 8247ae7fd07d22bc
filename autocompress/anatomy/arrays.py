"""Live products as the plain arrays of a written graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor, nn

from autocompress.anatomy.factored import Factored
from autocompress.anatomy.finding import Slot
from autocompress.anatomy.int8 import Int8Linear
from autocompress.anatomy.sparse import sparsity_of
from autocompress.anatomy.weights import Array, Linear
from autocompress.core.storage import Bits


def array_of(tensor: Tensor) -> Array:
    found: Array = tensor.detach().float().numpy()
    return found


def linears_of(module: nn.Module, roles: int = 1) -> list[Linear]:
    """A product, or the `roles` that are joined in it, side by side."""
    if isinstance(module, Factored):
        first, joined = _whole(module.first), len(module.ranks) > 1
        pieces = np.split(first.weight, np.cumsum(module.ranks)[:-1], axis=1)
        return [
            Linear(np.ascontiguousarray(piece), None, first.limits, first.relief, _whole(second), over_all=joined)
            for piece, second in zip(pieces, module.seconds, strict=True)
        ]
    whole = _whole(module)
    if roles == 1:
        return [whole]
    weights = np.split(whole.weight, roles, axis=1)
    biases: Sequence[Array | None] = [None] * roles if whole.bias is None else np.split(whole.bias, roles)
    return [
        Linear(np.ascontiguousarray(weight), bias, whole.limits, whole.relief, sparsity=whole.sparsity)
        for weight, bias in zip(weights, biases, strict=True)
    ]


def bits_of(slots: Sequence[Slot]) -> Bits:
    """Of a block: 32 unless all of its products are quantized."""
    modules = [one.module for slot in slots for one in slot.multiplied]
    found = [module.bits for module in modules if isinstance(module, Int8Linear)]
    return found[0] if len(found) == len(modules) else 32


def _whole(module: nn.Module) -> Linear:
    limits = relief = None
    if isinstance(module, Int8Linear):
        limits = None if module.limits is None else (float(module.limits[0]), float(module.limits[1]))
        relief = None if module.relief is None else array_of(module.relief)
    weight, bias = cast(Tensor, module.weight), cast(Tensor | None, module.bias)
    return Linear(
        np.ascontiguousarray(array_of(weight).T),
        None if bias is None else array_of(bias),
        limits,
        relief,
        sparsity=sparsity_of(module),
    )
