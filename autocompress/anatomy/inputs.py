"""What a model is called with: its named inputs and their axes, as its config tells them. Whatever traces a model, or
makes up inputs of it, asks here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autocompress.core.image_inputs import PIXELS
from autocompress.core.text_inputs import IDS, MASK, TYPES

_BATCH, _LENGTH = "batch", "length"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """By input, its axes, rows first: a size, or the name of one that is free."""

    axes: Mapping[str, tuple[int | str, ...]]

    @property
    def free(self) -> dict[str, dict[int, str]]:
        """By input, the axes whose size is free, by their names."""
        return {
            name: {place: axis for place, axis in enumerate(axes) if isinstance(axis, str)}
            for name, axes in self.axes.items()
        }

    def example(self, *, rows: int = 2, length: int = 8) -> dict[str, Tensor]:
        """Inputs of no special size, for tracing: ones of whole numbers, as every vocabulary holds that token."""
        sizes = {_BATCH: rows, _LENGTH: length}
        found: dict[str, Tensor] = {}
        for name, axes in self.axes.items():
            shape = [sizes[axis] if isinstance(axis, str) else axis for axis in axes]
            kind = torch.int64 if name in (IDS, MASK, TYPES) else torch.float32
            found[name] = torch.zeros(shape, dtype=kind) if name == TYPES else torch.ones(shape, dtype=kind)
        return found


def inputs_of(model: Any, *, types: bool = False) -> InputSpec:
    """Of a live model; of a model of texts also the `types` of tokens, if asked for."""
    return inputs_called(str(getattr(model, "main_input_name", IDS)), model.config, types=types)


def inputs_called(name: str, config: Any, *, types: bool = False) -> InputSpec:
    """Of a model by the name of its main input and its config."""
    if name == PIXELS:
        return InputSpec({PIXELS: (_BATCH, int(config.num_channels), *image_sides(config))})
    wanted = (IDS, MASK, *((TYPES,) if types else ()))
    return InputSpec(dict.fromkeys(wanted, (_BATCH, _LENGTH)))


def image_sides(config: Any) -> tuple[int, int]:
    """Height and width of the images that a model reads."""
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def patch_sides(config: Any) -> tuple[int, int]:
    """Of one patch."""
    size = config.patch_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def image_positions(config: Any, sides: tuple[int, int] | None = None) -> int:
    """How many positions the layers of a model walk through for an image, of its own size or with these sides: its
    patches, and the tokens before them."""
    (height, width), (rows, columns) = sides or image_sides(config), patch_sides(config)
    special = 2 if str(config.model_type) == "deit" else 1
    return (height // rows) * (width // columns) + special
