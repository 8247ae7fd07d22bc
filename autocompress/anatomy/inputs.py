"""What a model is called with: its named inputs and their axes, as its config tells them. Whatever traces a model, or
makes up inputs of it, asks here."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from autocompress.core.audio_inputs import SAMPLES, SOUND, SPECTRUM
from autocompress.core.image_inputs import PIXELS
from autocompress.core.text_inputs import IDS, MASK, TYPES

_BATCH, _LENGTH = "batch", "length"
_TRACED: Final = 16_000
"""Samples of a wave that a model is traced with whose config says no number."""


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
        sizes = {_BATCH: rows, _LENGTH: length, SAMPLES: _TRACED}
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
    if name in (SPECTRUM, SOUND):
        return InputSpec({name: (_BATCH, *audio_sizes(config))})
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


def reads_wave(config: Any) -> bool:
    """Whether a model of recordings is given their samples, and no spectrogram."""
    return hasattr(config, "conv_stride")


def audio_sizes(config: Any) -> tuple[int | str, ...]:
    """The axes of a recording as a model reads it: bands and frames, frames and bands, or samples, whose number only
    our configs say."""
    if reads_wave(config):
        return (int(getattr(config, SAMPLES, 0)) or SAMPLES,)
    bands = int(config.num_mel_bins)
    if hasattr(config, "max_source_positions"):
        return bands, 2 * int(config.max_source_positions)
    return int(config.max_length), bands


def audio_length(config: Any) -> int:
    """How many frames a model reads of a recording; of a wave, samples, 0 where its config does not say."""
    if reads_wave(config):
        return int(getattr(config, SAMPLES, 0))
    if hasattr(config, "max_source_positions"):
        return 2 * int(config.max_source_positions)
    return int(config.max_length)


def sound_patches(config: Any) -> tuple[int, int]:
    """How many patches of a bank of filters there are along bands and along time."""
    size, bands, frames = int(config.patch_size), int(config.num_mel_bins), int(config.max_length)
    return (bands - size) // int(config.frequency_stride) + 1, (frames - size) // int(config.time_stride) + 1


def audio_positions(config: Any, length: int) -> int:
    """How many positions the layers of a model walk through for a recording of this `audio_length`; none or fewer for
    one that is too short."""
    if reads_wave(config):
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            length = (length - int(kernel)) // int(stride) + 1
        return length
    if hasattr(config, "max_source_positions"):
        return length // 2
    sized = copy.copy(config)
    sized.max_length = length
    rows, columns = sound_patches(sized)
    return rows * columns + 2 if columns > 0 else 0
