"""Tokens that go on behind the attention of a layer, in live models: those that receive most attention (Goyal et al.
2020, "PoWER-BERT", section 3.1).

The attention of a layer that keeps some writes down which (`Left`), the normalisation of its block hands on only these,
and the attention of every layer behind masks by what was written down: the model itself hands its own mask to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from autocompress.anatomy.int8 import Int8Linear
from autocompress.core.kept_tokens import FINENESS, KeptTokens

KEEPS: Final = "autocompress_keeps"
"""Where a module that mixes positions has what goes on behind it."""

LEFT: Final = "autocompress_left"
"""Where it, and those behind, have the `Left` of their model."""


def keeps_of(module: nn.Module) -> KeptTokens | None:
    """Of a module that mixes positions; None where all go on."""
    found = getattr(module, KEEPS, None)
    assert found is None or isinstance(found, KeptTokens)
    return found


@final
class Left:
    """What is left of the positions of the texts that a model is reading: of one model, shared by its layers. `places`
    [texts, kept] are those among the positions that came in; `there` says which of so many are real, [texts, kept]
    (None: all), by their number: texts that one layer leaves as long as another have the same padding, and a layer that
    is computed once more in the backward pass finds its own. Copies start empty."""

    def __init__(self) -> None:
        self.places: Tensor | None = None
        self.there: dict[int, Tensor | None] = {}

    def real(self, mask: Tensor | None, length: int) -> Tensor | None:
        """Which of so many positions are real: the `mask` that the model was given says it of all."""
        return mask if mask is None or mask.shape[1] == length else self.there.get(length)

    def __deepcopy__(self, memo: dict[int, Any]) -> Left:
        return Left()

    def __reduce__(self) -> tuple[type[Left], tuple[()]]:
        return Left, ()


def left_of(module: nn.Module) -> Left | None:
    """Of a module that mixes positions; None where its model loses none."""
    found = getattr(module, LEFT, None)
    assert found is None or isinstance(found, Left)
    return found


def received(probabilities: Tensor, there: Tensor | None) -> Tensor:
    """[texts, heads, queries, keys] -> [texts, keys]: summed over heads, and over the queries that are `there`."""
    if there is None:
        return probabilities.sum(dim=(1, 2))
    return (probabilities * there[:, None, :, None]).sum(dim=(1, 2))


def most_attended(attention: Tensor, there: Tensor | None, kept: KeptTokens) -> tuple[Tensor, Tensor | None]:
    """[texts, length], as `received` says, and which positions are real (None: all) -> the places [texts, kept] of
    those that go on, in their order, and which of them are real. There are as many as the longest text keeps; a shorter
    one has others behind its own, which are not real. The first always goes on."""
    length = attention.shape[1]
    if there is None:
        there_all = torch.ones_like(attention, dtype=torch.bool)
        return most_attended(attention, there_all, kept)[0], None
    real = there.sum(dim=1)
    each = real.clamp(max=kept.count) if kept.count else (real * kept.percent + 99) // 100
    each = each.clamp(min=1)
    score = (attention.float() * FINENESS).round().masked_fill(~there, -1.0)
    score[:, 0] = torch.finfo(score.dtype).max
    places = score.sort(dim=1, descending=True, stable=True).indices[:, : int(each.max())]
    beyond = torch.arange(places.shape[1], device=places.device) >= each[:, None]
    places = places.masked_fill(beyond, length).sort(dim=1).values
    return places.clamp(max=length - 1), places < length


@final
class HandOn:
    """A forward hook of the normalisation of a block: hands on what goes on, and tells the int8 products behind which
    of that is padding."""

    def __init__(self, left: Left, behind: Sequence[nn.Module]) -> None:
        self._left, self._behind = left, tuple(behind)

    def __call__(self, module: nn.Module, given: Any, hidden: Tensor) -> Tensor:
        """[texts, length, hidden] -> [texts, kept, hidden]"""
        places, self._left.places = self._left.places, None
        if places is None or places.shape[1] == hidden.shape[1]:  # all go on
            return hidden
        there = self._left.there[places.shape[1]]
        for one in (one for layer in self._behind for one in layer.modules()):
            if isinstance(one, Int8Linear):
                one.mask = there
        return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[2]))
