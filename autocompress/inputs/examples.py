"""Rows that a model reads: texts, tokenized and labelled, and batches of rows of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.core.text_inputs import IDS, MASK, TYPES
from autocompress.core.workload import Workload

AREA: Final = 2**22
"""The most `area` of rows that are computed at a time, if they are more than one: 64 texts of 256 tokens, 16 of 512,
one of 2,048. Attention holds numbers for every two positions of a row: `studies/benchmarks/long_training.py`."""
_SHORT: Final = 256
_TYPICAL: Final = 8
_BATCHES: Final = 500
"""Random batches that typical ones are drawn from: their quantiles no longer move by a token."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`inputs` by the names that the model calls them, rows first: it is called `model(**batch.inputs)`. `targets` are
    what the task wants of each row, `rows` the rows' places in their split. Where inputs are not masked, all
    `positions` that a model makes of a row count."""

    inputs: Mapping[str, Tensor]
    targets: Tensor
    rows: NDArray[np.int64]
    positions: int = 0

    @property
    def mask(self) -> Tensor:
        """[rows, positions]: 1 for what was given, 0 for what fills a row up."""
        if MASK in self.inputs:
            return self.inputs[MASK]
        return torch.ones((len(self.rows), self.positions), dtype=torch.int64)


def area(length: int) -> int:
    """What the memory of a row grows with: the square of its positions, and of few their number."""
    return length * max(length, _SHORT)


def in_parts(batch: Batch) -> Iterator[Batch]:
    """The rows of a batch as often as it takes for each part to have no more than `AREA`, or one row; the batch itself
    where it has."""
    count, size = len(batch.rows), max(1, AREA // area(batch.mask.shape[1]))
    if count <= size:
        yield batch
        return
    for first in range(0, count, size):
        some = slice(first, first + size)
        inputs = {name: tensor[some] for name, tensor in batch.inputs.items()}
        yield replace(batch, inputs=inputs, targets=batch.targets[some], rows=batch.rows[some])


class Rows(Protocol):
    """What `batches` are made of, whatever its modality. `labels` are what the task wants of each row, rows first."""

    @property
    def labels(self) -> NDArray[Any]: ...

    @property
    def given(self) -> tuple[Any, ...]:
        """What a user puts in, row by row."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Self:
        """Only these rows."""

    def relabelled(self, labels: NDArray[Any]) -> Self:
        """The same rows with other labels."""

    def served(self, workload: Workload) -> Workload:
        """The workload with what these rows say of it. Raises SpecError where they cannot be what it asks for."""

    @property
    def lengths(self) -> Sequence[int]:
        """How long each row is; rows of similar length share a batch."""

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These rows, filled up to the longest of them."""


@dataclass(frozen=True, slots=True)
class Examples:
    """`tokens[i]` are the token ids of text i, special tokens included; `labels` what the task wants of it: its class
    [texts], and for other tasks what their file says. `texts` are what a user puts in. `types`, of the same lengths as
    `tokens`, tell the two texts of a pair apart; where there are none all are 0."""

    texts: tuple[str, ...]
    tokens: tuple[NDArray[np.int64], ...]
    labels: NDArray[np.int64]
    pad: int
    types: tuple[NDArray[np.int64], ...] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def given(self) -> tuple[Any, ...]:
        return self.texts

    def relabelled(self, labels: NDArray[Any]) -> Examples:
        return replace(self, labels=labels)

    def served(self, workload: Workload) -> Workload:
        return with_tokens(workload, self)

    @property
    def lengths(self) -> list[int]:
        """In tokens."""
        return [len(ids) for ids in self.tokens]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Examples:
        """Only these texts."""
        return Examples(
            tuple(self.texts[i] for i in rows),
            tuple(self.tokens[i] for i in rows),
            self.labels[list(rows)],
            self.pad,
            None if self.types is None else tuple(self.types[i] for i in rows),
        )

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These texts, padded to the longest: `inputs` and the mask [texts, longest]."""
        tokens = [self.tokens[i] for i in rows]
        inputs = {IDS: filled(tokens, self.pad), MASK: filled([np.ones_like(ids) for ids in tokens], 0)}
        if self.types is not None:
            inputs[TYPES] = filled([self.types[i] for i in rows], 0)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        return Batch(tensors, torch.from_numpy(self.labels[rows]), rows)


def of_tokens(ids: NDArray[np.int64], types: NDArray[np.int64] | None = None) -> Batch:
    """A text by itself, of which nothing but its tokens is known."""
    alone = Examples(("",), (ids,), np.zeros(1, np.int64), 0, None if types is None else (types,))
    return alone.batch(np.zeros(1, np.int64))


def filled(rows: Sequence[NDArray[np.int64]], value: int) -> NDArray[np.int64]:
    """[rows, longest]: each row with this value behind it."""
    found = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


@final
class Batches(Sequence[Batch]):
    """Batches that are made as they are asked for: of images all together would take gigabytes."""

    def __init__(self, rows: Rows, groups: Sequence[NDArray[np.int64]]) -> None:
        self._rows, self._groups = rows, groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Batches(self._rows, self._groups[place])
        return self._rows.batch(self._groups[place])


R = TypeVar("R", bound=Rows)


def judging(rows: R, most: int | None) -> R:
    """At most so many of the rows, in their order: the same ones whoever asks."""
    if most is None or len(rows) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(0).permutation(len(rows))[:most]))


def batches(examples: Rows, size: int, *, shuffle: int | None = None, most: int | None = None) -> Sequence[Batch]:
    """Batches padded to their own longest row. Rows of similar length share a batch, which halves the work.

    With `shuffle`, a seed, lengths are perturbed before sorting and the batches come in random order, so that no epoch
    sees the same batches again; without it the order is fixed. No more than the first `most` batches are made.
    """
    lengths = np.array(examples.lengths, dtype=np.float64)
    generator = np.random.default_rng(shuffle)
    if shuffle is not None:
        lengths = lengths * generator.uniform(0.8, 1.25, len(lengths)) + generator.uniform(0, 1, len(lengths))
    order = np.argsort(lengths, kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if shuffle is not None:
        groups = [groups[i] for i in generator.permutation(len(groups))]
    groups = groups[:most]
    return [examples.batch(rows) for rows in groups] if isinstance(examples, Examples) else Batches(examples, groups)


def with_tokens(workload: Workload, examples: Rows) -> Workload:
    """The workload with the padded lengths of typical batches of these texts: eight that stand for equal shares of all
    batches. Texts that come as they come are put into random batches, often enough that there are many."""
    if workload.lengths == "padded" or workload.tokens:
        return workload
    lengths = np.minimum(examples.lengths, workload.length)
    size, generator = workload.batch, np.random.default_rng(0)
    longest: list[int] = []
    while len(longest) < (_BATCHES if workload.lengths == "real" else 1):
        order = np.sort(lengths) if workload.lengths == "sorted" else generator.permutation(lengths)
        longest += [int(order[start : start + size].max()) for start in range(0, len(order), size)]
    middles = (np.arange(_TYPICAL) + 0.5) / _TYPICAL
    return replace(workload, tokens=tuple(int(count) for count in np.rint(np.quantile(longest, middles))))
