"""Attention of blocks (Zaheer et al. 2020, "Big Bird", section 2 and appendix D): positions come in blocks of a window,
each of which sees itself, its two neighbours, some blocks drawn at random, and the first `globals` positions, which see
all. Which blocks are drawn follows from the seed and from how many blocks a text has, not from what it is padded to;
what is seen already is not seen twice."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocompress.core.attention_form import AttentionForm

PRIME = 2**31 - 1
"""What places are drawn modulo: their products fit 64 bits."""


@functools.cache
def factors(count: int, seed: int) -> NDArray[np.int64]:
    """[2, count]: a and b of each draw, of which block i gets (a (i + 1) + b) mod PRIME, modulo the number of blocks
    (Carter and Wegman 1979, "Universal Classes of Hash Functions")."""
    return np.random.default_rng(seed).integers(1, PRIME, (2, count))


def sparse(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, drop: float) -> Tensor:
    """As `Mixed`."""
    window, count, length = form.window, form.globals, query.shape[2]
    is_there = torch.ones_like(query[:, 0, :, 0], dtype=torch.bool) if there is None else there
    filled = window - 1 - (length - 1) % window
    blocks = (length + filled) // window
    places = torch.arange(blocks, device=query.device)
    drawn = _drawn(places, is_there, form)  # [texts, blocks, draws]
    beside = torch.stack([places - 1, places, places + 1], dim=1).expand(len(query), -1, -1)
    wanted = torch.cat([beside, drawn], dim=2)
    fresh = _fresh(wanted, places) & (wanted >= 0) & (wanted < blocks)
    taken = wanted.clamp(0, blocks - 1)

    def seen(tensor: Tensor) -> Tensor:
        """[texts, heads, length, size] -> [texts, heads, blocks, globals + draws and neighbours, size]"""
        heads, size = tensor.shape[1], tensor.shape[3]
        by_block = nn.functional.pad(tensor, (0, 0, 0, filled)).reshape(len(tensor), heads, blocks, -1)
        index = taken.flatten(1)[:, None, :, None].expand(-1, heads, -1, by_block.shape[3])
        near = by_block.gather(2, index).reshape(len(tensor), heads, blocks, -1, size)
        first = tensor[:, :, None, :count].expand(-1, -1, blocks, -1, -1)
        return torch.cat([first, near], dim=3)

    own = nn.functional.pad(query, (0, 0, 0, filled)).reshape(*query.shape[:2], blocks, window, query.shape[3])
    apart = is_there & (torch.arange(length, device=query.device) >= count)  # global ones are seen once, before
    real = nn.functional.pad(apart, (0, filled)).reshape(-1, blocks, window)
    near = real.gather(1, taken.flatten(1)[:, :, None].expand(-1, -1, window))
    near = near.reshape(*wanted.shape, window) & fresh[..., None]
    first = is_there[:, None, :count].expand(-1, blocks, -1)
    mask = torch.cat([first, near.flatten(2)], dim=2)[:, None, :, None]
    found = _weighed(own @ seen(key).transpose(3, 4), seen(value), mask, drop).flatten(2, 3)[:, :, :length]
    whole = _weighed(query[:, :, :count] @ key.transpose(2, 3), value, is_there[:, None, None], drop)
    return torch.cat([whole, found[:, :, count:]], dim=2)


def _drawn(places: Tensor, there: Tensor, form: AttentionForm) -> Tensor:
    """[blocks] and [texts, length] -> [texts, blocks, draws]: blocks of the text."""
    known = torch.from_numpy(factors(form.blocks, form.seed)).to(places.device)
    numbers = ((places[:, None] + 1) * known[0] + known[1]) % PRIME
    own = (there.sum(1) + form.window - 1) // form.window
    return numbers[None] % own[:, None, None].clamp(min=1)


def _fresh(wanted: Tensor, places: Tensor) -> Tensor:
    """Which of the blocks that a block wants it does not see otherwise, neighbours first: as `wanted`."""
    drawn = wanted[:, :, 3:]
    apart = (drawn - places[:, None]).abs() > 1
    draws = drawn.shape[2]
    same = drawn[..., :, None] == drawn[..., None, :]
    earlier = torch.ones(draws, draws, dtype=torch.bool, device=wanted.device).tril(-1)
    again = (same & earlier).any(-1)
    return torch.cat([torch.ones_like(wanted[:, :, :3], dtype=torch.bool), apart & ~again], dim=2)


def _weighed(scores: Tensor, value: Tensor, seen: Tensor, drop: float) -> Tensor:
    """Where nothing is seen, which is behind a text's end, all counts alike: no answer is not a number."""
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    return nn.functional.dropout(scores.softmax(dim=-1), drop, training=drop > 0) @ value
