"""Recordings that a model reads: cut or filled up to one length, as waves or spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress.core.workload import Workload
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch

_MOVED: Final = 8
"""A variation is moved by up to this part of its length."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """`given[i]` is what a user puts in, a path or the bytes of a file; `features` [recordings, ...] are what the model
    reads of it under this `name`, with time along the axis `time`. A model walks through so many `positions` for
    each."""

    given: tuple[Any, ...]
    features: NDArray[np.float32]
    labels: NDArray[Any]
    name: str
    time: int
    positions: int

    def __len__(self) -> int:
        return len(self.features)

    @property
    def lengths(self) -> list[int]:
        """In positions: all alike."""
        return [self.positions] * len(self)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Recordings:
        """Only these recordings."""
        places = np.asarray(rows, dtype=np.int64)
        given = tuple(self.given[place] for place in places)
        return replace(self, given=given, features=self.features[places], labels=self.labels[places])

    def relabelled(self, labels: NDArray[Any]) -> Recordings:
        return replace(self, labels=labels)

    def varied(self, copies: int, *, seed: int) -> Recordings:
        """So many variations of each: moved in time by up to an eighth of its length, its ends filling what is left
        bare. Labels are those of the recordings that they are made of."""
        generator = np.random.default_rng(seed)
        rows, length = np.tile(np.arange(len(self)), copies), self.features.shape[self.time]
        most = length // _MOVED
        found = np.empty((len(rows), *self.features.shape[1:]), np.float32)
        for place, row in enumerate(rows):
            moved = np.arange(length) + generator.integers(-most, most + 1)
            found[place] = self.features[row].take(np.clip(moved, 0, length - 1), axis=self.time - 1)
        return replace(self.take(rows), features=found)

    def joined(self, others: Recordings) -> Recordings:
        """All recordings of both."""
        features, labels = (
            np.concatenate([getattr(one, name) for one in (self, others)]) for name in ("features", "labels")
        )
        return replace(self, given=(*self.given, *others.given), features=features, labels=labels)

    def served(self, workload: Workload) -> Workload:
        """With the positions that a recording takes."""
        if workload.length not in (Workload().length, self.positions):
            raise SpecError(
                f"workload.length: a recording takes {self.positions} positions of this model, got {workload.length}; "
                "leave it out, or change `task.audio_seconds`"
            )
        return replace(workload, length=self.positions)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These recordings, [recordings, ...] in fp32."""
        found = torch.from_numpy(self.features[rows])
        return Batch({self.name: found}, torch.from_numpy(self.labels[rows]), rows, self.positions)
