"""Blocks that are passed by: what goes into one comes out of it, and nothing of it is left in the model."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn


@final
class Nothing(nn.Module):
    """In the place of whatever a block adds to its input: zero, whatever it is given. The library's attention modules
    answer with their maps too, of which there are none."""

    def __init__(self, *, attends: bool = False) -> None:
        super().__init__()
        self._attends = attends

    def forward(self, *given: Any, **named: Any) -> Tensor | tuple[Tensor, None]:
        """[1], which is added to anything."""
        hidden: Tensor = given[0] if given else named["hidden_states"]
        zero = hidden.new_zeros(1)
        return (zero, None) if self._attends else zero


def put_in_place(layer: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts a module where another one is, anywhere inside of a layer. Raises KeyError where that is not."""
    for owner in layer.modules():
        for name, child in owner.named_children():
            if child is old:
                setattr(owner, name, new)
                return
    raise KeyError(type(old).__name__)
