"""The residual stream of a model, cut to some of its channels.

What reads the stream is told what the channels that went would have said, as far as those that stayed know it: the best
linear guess of all channels from the kept ones, found on texts, is multiplied into the reader. It costs nothing in the
model that is left. Without it the first answers are hardly better than chance where half of the channels are gone
(docs/experiments.md). Ashkboos et al. 2024, "SliceGPT", turn the stream to its principal directions instead, which a
norm with a mean and with a scale a channel does not let pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from autocompress.anatomy.calibration import Batches

KEPT_HIDDEN: Final = "autocompress_hidden"
"""Where a model notes which channels its stream has left, by their places in the uncompressed one."""

_UNSEEN: Final = 0.1
"""Of the mean variance, what is added to that of every kept channel: texts are few, and a student's stream is not quite
the one that they showed."""


def kept_hidden(model: nn.Module, width: int) -> tuple[int, ...]:
    """The channels that a model's stream has left, of the `width` that the uncompressed one has."""
    found: tuple[int, ...] = getattr(model, KEPT_HIDDEN, tuple(range(width)))
    return found


@dataclass(frozen=True, slots=True)
class Reading:
    """Products that read what one module gives: a norm of the stream, or a projection into it. What is added to the
    stream without being read at once has none."""

    source: nn.Module
    readers: tuple[nn.Linear, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """All that holds a number for each channel of the stream: `tables` that are looked up, products and convolutions
    that are `writers` of it, and where it is read; every source but a projection, which is a writer too, is a norm.
    `singles` are modules with the names of parameters [..., hidden] of their own: tokens, positions of an image."""

    tables: tuple[nn.Embedding, ...]
    writers: tuple[nn.Linear | nn.Conv2d, ...]
    readings: tuple[Reading, ...]
    singles: tuple[tuple[nn.Module, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Guess:
    """All channels from the kept ones, [kept] -> [all]: what is added to a kept channel's own value, `weight` [all,
    kept] and `bias` [all]."""

    weight: Tensor
    bias: Tensor


def narrow(model: nn.Module, stream: Stream, channels: Sequence[int], batches: Batches) -> None:
    """Keeps these channels of a model's stream, in place; no tensor is written to. Without batches nothing is guessed
    of the others."""
    kept = torch.tensor(list(channels))
    sums = _observed(model, stream, kept, batches) if batches else [None] * len(stream.readings)
    for owner, name in stream.singles:
        _keep(owner, name, kept, axis=-1)
    for table in stream.tables:
        _keep(table, "weight", kept, axis=1)
        table.embedding_dim = len(kept)
    for writer in stream.writers:
        _keep(writer, "weight", kept, axis=0)
        if cast(Any, writer).bias is not None:
            _keep(writer, "bias", kept, axis=0)
        setattr(writer, "out_channels" if isinstance(writer, nn.Conv2d) else "out_features", len(kept))
    for source in dict.fromkeys(reading.source for reading in stream.readings):
        if source not in stream.writers:
            _narrow_norm(source, kept)
    for reading, seen in zip(stream.readings, sums, strict=True):
        for reader in reading.readers:
            _narrow_reader(reader, kept, seen)


def _narrow_norm(norm: nn.Module, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        if isinstance(getattr(norm, name, None), Tensor):
            _keep(norm, name, kept, axis=0)
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (len(kept),)


def _narrow_reader(reader: nn.Linear, kept: Tensor, seen: _Sums | None) -> None:
    weight, bias = reader.weight.detach(), cast(Tensor | None, reader.bias)
    _keep(reader, "weight", kept, axis=1)
    reader.in_features = len(kept)
    if seen is not None:
        guess = seen.guess(centred=bias is not None)
        reader.weight = nn.Parameter(reader.weight.detach() + weight @ guess.weight)
        if bias is not None:
            reader.bias = nn.Parameter(bias.detach() + weight @ guess.bias)


def _keep(module: nn.Module, name: str, kept: Tensor, *, axis: int) -> None:
    setattr(module, name, nn.Parameter(getattr(module, name).detach().index_select(axis, kept)))


def _observed(model: nn.Module, stream: Stream, kept: Tensor, batches: Batches) -> list[_Sums | None]:
    """What is seen at the real positions of texts, or at all where there is no mask, of each reading that has readers;
    each kept channel as the narrower model has it where all before it is still right."""
    sums = [_Sums(kept) if reading.readers else None for reading in stream.readings]
    mask: Tensor | None = None

    def hook(source: nn.Module, found: _Sums) -> Any:
        narrow = None
        if source not in stream.writers:
            narrow = copy.deepcopy(source)
            _narrow_norm(narrow, kept)

        def see(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            own = output[..., kept] if narrow is None else narrow(given[0][..., kept])
            if mask is None or mask.shape != output.shape[:2]:
                found.add(own.flatten(0, -2), output.flatten(0, -2))
            else:
                found.add(own[mask.bool()], output[mask.bool()])

        return source.register_forward_hook(see)

    pairs = zip(stream.readings, sums, strict=True)
    handles = [hook(reading.source, found) for reading, found in pairs if found is not None]
    try:
        with torch.inference_mode():
            for batch in batches:
                mask = batch.get("attention_mask")
                model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums


class _Sums:
    """Over positions, of the kept channels and of what is lacking to all channels beside them."""

    def __init__(self, kept: Tensor) -> None:
        self._count, self._kept = 0, kept
        self._values: Any = 0.0
        self._products: Any = 0.0

    def add(self, narrow: Tensor, whole: Tensor) -> None:
        """[positions, kept] and [positions, all]."""
        lacking = whole.double().index_add(1, self._kept, -narrow.double())
        both = torch.cat([narrow.double(), lacking], dim=1)
        self._count += len(both)
        self._values = self._values + both.sum(0)
        self._products = self._products + narrow.double().T @ both

    def guess(self, *, centred: bool) -> _Guess:
        """The least squares; with no bias where it is not `centred`, as a reader without one cannot take it."""
        mean, count = self._values / self._count, len(self._kept)
        spread = self._products / self._count
        if centred:
            spread = spread - torch.outer(mean[:count], mean)
        own = spread[:, :count] + _UNSEEN * spread.diagonal().mean() * torch.eye(count, dtype=spread.dtype)
        weight = torch.linalg.solve(own, spread[:, count:]).T
        return _Guess(weight.float(), (mean[count:] - weight @ mean[:count]).float())
