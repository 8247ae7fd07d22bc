"""Tokenized, labelled texts, and batches of texts of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.core.workload import Workload

_TYPICAL: Final = 8
_BATCHES: Final = 500
"""Random batches that typical ones are drawn from: their quantiles no longer move by a token."""


@dataclass(frozen=True, slots=True)
class Examples:
    """`tokens[i]` are the token ids of text i, special tokens included; `labels` its class, [texts]."""

    texts: tuple[str, ...]
    tokens: tuple[NDArray[np.int64], ...]
    labels: NDArray[np.int64]
    pad: int

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Examples:
        """Only these texts."""
        return Examples(
            tuple(self.texts[i] for i in rows), tuple(self.tokens[i] for i in rows), self.labels[list(rows)], self.pad
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """`input_ids`, `attention_mask` [texts, longest], `labels` [texts]; `rows` are the texts' places in the split."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    rows: NDArray[np.int64]


def batches(examples: Examples, size: int, *, shuffle: int | None = None) -> list[Batch]:
    """Batches padded to their own longest text. Texts of similar length share a batch, which halves the work.

    With `shuffle`, a seed, lengths are perturbed before sorting and the batches come in random order, so that no epoch
    sees the same batches again; without it the order is fixed.
    """
    lengths = np.array([len(tokens) for tokens in examples.tokens], dtype=np.float64)
    generator = np.random.default_rng(shuffle)
    if shuffle is not None:
        lengths = lengths * generator.uniform(0.8, 1.25, len(lengths)) + generator.uniform(0, 1, len(lengths))
    order = np.argsort(lengths, kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if shuffle is not None:
        groups = [groups[i] for i in generator.permutation(len(groups))]
    return [_batch(examples, rows) for rows in groups]


def with_tokens(workload: Workload, examples: Examples) -> Workload:
    """The workload with the padded lengths of typical batches of these texts: eight that stand for equal shares of all
    batches. Texts that come as they come are put into random batches, often enough that there are many."""
    if workload.lengths == "padded" or workload.tokens:
        return workload
    lengths = np.minimum([len(tokens) for tokens in examples.tokens], workload.length)
    size, generator = workload.batch, np.random.default_rng(0)
    longest: list[int] = []
    while len(longest) < (_BATCHES if workload.lengths == "real" else 1):
        order = np.sort(lengths) if workload.lengths == "sorted" else generator.permutation(lengths)
        longest += [int(order[start : start + size].max()) for start in range(0, len(order), size)]
    middles = (np.arange(_TYPICAL) + 0.5) / _TYPICAL
    return replace(workload, tokens=tuple(int(count) for count in np.rint(np.quantile(longest, middles))))


def _batch(examples: Examples, rows: NDArray[np.int64]) -> Batch:
    longest = max(len(examples.tokens[i]) for i in rows)
    ids = np.full((len(rows), longest), examples.pad, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for place, i in enumerate(rows):
        ids[place, : len(examples.tokens[i])] = examples.tokens[i]
        mask[place, : len(examples.tokens[i])] = 1
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(examples.labels[rows]), rows)
