"""The residual stream of a model, cut to some of its channels.

What reads the stream is told what the channels that went would have said, as far as those that stayed know it: the best
linear guess of all channels from the kept ones, found on texts, is multiplied into the reader. It costs nothing in the
model that is left. Without it the first answers are hardly better than chance where half of the channels are gone
(docs/experiments.md). Ashkboos et al. 2024, "SliceGPT", turn the stream to its principal directions instead, which a
norm with a mean and with a scale a channel does not let pass.
"""

from __future__ import annotations

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
    """Products that read what one module gives: a norm of the stream, or a projection into it."""

    source: nn.Module
    readers: tuple[nn.Linear, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """All that holds a number for each channel of the stream: `tables` that are looked up, products that are `writers`
    of it, and where it is read; every source but a projection, which is a writer too, is a norm."""

    tables: tuple[nn.Embedding, ...]
    writers: tuple[nn.Linear, ...]
    readings: tuple[Reading, ...]


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
    guesses = _guesses(model, stream, kept, batches) if batches else [None] * len(stream.readings)
    for table in stream.tables:
        _keep(table, "weight", kept, axis=1)
        table.embedding_dim = len(kept)
    for writer in stream.writers:
        _keep(writer, "weight", kept, axis=0)
        if cast(Any, writer).bias is not None:
            _keep(writer, "bias", kept, axis=0)
        writer.out_features = len(kept)
    for reading, guess in zip(stream.readings, guesses, strict=True):
        if reading.source not in stream.writers:
            _narrow_norm(reading.source, kept)
        for reader in reading.readers:
            _narrow_reader(reader, kept, guess)


def _narrow_norm(norm: nn.Module, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        if isinstance(getattr(norm, name, None), Tensor):
            _keep(norm, name, kept, axis=0)
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (len(kept),)


def _narrow_reader(reader: nn.Linear, kept: Tensor, guess: _Guess | None) -> None:
    weight, bias = reader.weight.detach(), cast(Tensor | None, reader.bias)
    _keep(reader, "weight", kept, axis=1)
    reader.in_features = len(kept)
    if guess is not None:
        reader.weight = nn.Parameter(reader.weight.detach() + weight @ guess.weight)
        if bias is not None:
            reader.bias = nn.Parameter(bias.detach() + weight @ guess.bias)


def _keep(module: nn.Module, name: str, kept: Tensor, *, axis: int) -> None:
    setattr(module, name, nn.Parameter(getattr(module, name).detach().index_select(axis, kept)))


def _guesses(model: nn.Module, stream: Stream, kept: Tensor, batches: Batches) -> list[_Guess]:
    """For each reading: the least squares over the real positions of texts, each kept channel as the narrower model
    has it where all before it is still right."""
    sums = [_Sums(len(kept)) for _ in stream.readings]
    mask: Tensor | None = None

    def hook(reading: Reading, found: _Sums) -> Any:
        def see(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            real = slice(None) if mask is None else mask.bool()
            found.add(_as_narrowed(reading.source, given[0][real], output[real], kept), output[real], kept)

        return reading.source.register_forward_hook(see)

    handles = [hook(reading, found) for reading, found in zip(stream.readings, sums, strict=True)]
    try:
        with torch.inference_mode():
            for batch in batches:
                mask = batch.get("attention_mask")
                model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return [one.guess() for one in sums]


def _as_narrowed(source: nn.Module, given: Tensor, output: Tensor, kept: Tensor) -> Tensor:
    """What a source gives in the kept channels once there are no others, [positions, kept]."""
    if not isinstance(source, nn.LayerNorm):
        return output[..., kept]
    own = (source.weight[kept], None if source.bias is None else source.bias[kept])
    return nn.functional.layer_norm(given[..., kept], (len(kept),), *own, source.eps)


class _Sums:
    """Over positions, of the kept channels and of what is lacking to all channels beside them."""

    def __init__(self, kept: int) -> None:
        self._count, self._kept = 0, kept
        self._values: Any = 0.0
        self._products: Any = 0.0

    def add(self, narrow: Tensor, whole: Tensor, kept: Tensor) -> None:
        lacking = whole.double().index_add(1, kept, -narrow.double())
        both = torch.cat([narrow.double(), lacking], dim=1)
        self._count += len(both)
        self._values = self._values + both.sum(0)
        self._products = self._products + narrow.double().T @ both

    def guess(self) -> _Guess:
        mean, kept = self._values / self._count, self._kept
        spread = self._products / self._count - torch.outer(mean[:kept], mean)
        own = spread[:, :kept] + _UNSEEN * spread.diagonal().mean() * torch.eye(kept, dtype=spread.dtype)
        weight = torch.linalg.solve(own, spread[:, kept:]).T
        return _Guess(weight.float(), (mean[kept:] - weight @ mean[:kept]).float())
