"""Images that a model reads: resized and cropped already, rescaled and normalised as they are put into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress.core.image_inputs import PIXELS
from autocompress.core.workload import Workload
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch
from autocompress.inputs.image_reading import Preprocessing, values

_MOVED: Final = 8
"""A variation is moved by up to this part of an image's sides."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """`given[i]` is what a user puts in, a path or the bytes of a file; `pixels` [images, channels, height, width] in 8
    bits, one channel where all are grey; `how` says what becomes of them. A model walks through so many `positions` for
    each."""

    given: tuple[Any, ...]
    pixels: NDArray[np.uint8]
    labels: NDArray[Any]
    how: Preprocessing
    positions: int

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def lengths(self) -> list[int]:
        """In positions: all alike."""
        return [self.positions] * len(self)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Pictures:
        """Only these images."""
        places = np.asarray(rows, dtype=np.int64)
        given = tuple(self.given[place] for place in places)
        return replace(self, given=given, pixels=self.pixels[places], labels=self.labels[places])

    def relabelled(self, labels: NDArray[Any]) -> Pictures:
        return replace(self, labels=labels)

    def varied(self, copies: int, *, seed: int) -> Pictures:
        """So many variations of each: moved by up to an eighth of its sides, its edges filling what is left bare, and
        every other one mirrored. Labels are those of the images that they are made of."""
        generator = np.random.default_rng(seed)
        rows = np.tile(np.arange(len(self)), copies)
        height, width = self.pixels.shape[2:]
        down, right = height // _MOVED, width // _MOVED
        room = ((0, 0), (down, down), (right, right))
        found = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        for place, row in enumerate(rows):
            wide = np.pad(self.pixels[row], room, mode="edge")
            top, left = generator.integers(2 * down + 1), generator.integers(2 * right + 1)
            moved = wide[:, top : top + height, left : left + width]
            found[place] = moved[..., ::-1] if generator.random() < 0.5 else moved
        return replace(self.take(rows), pixels=found)

    def joined(self, others: Pictures) -> Pictures:
        """All images of both."""
        pixels, labels = (
            np.concatenate([getattr(one, name) for one in (self, others)]) for name in ("pixels", "labels")
        )
        return replace(self, given=(*self.given, *others.given), pixels=pixels, labels=labels)

    def served(self, workload: Workload) -> Workload:
        """With the positions that an image takes."""
        if workload.length not in (Workload().length, self.positions):
            raise SpecError(
                f"workload.length: an image takes {self.positions} positions of this model, got {workload.length}; "
                "leave it out, or change `task.image_size`"
            )
        return replace(workload, length=self.positions)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These images, [images, channels, height, width] in fp32."""
        found = torch.from_numpy(values(self.pixels[rows], self.how))
        return Batch({PIXELS: found}, torch.from_numpy(self.labels[rows]), rows, self.positions)
