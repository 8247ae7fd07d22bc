"""Local attention with global tokens (Beltagy et al. 2020, "Longformer", section 3.1), in time and memory linear in the
length: queries come in blocks of a window, each of which sees itself and its neighbours, and the global positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocompress.core.attention_form import AttentionForm

_SHORT = 4
"""Of so many windows or fewer the square of all scores is the quicker, and no larger."""


def local(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, drop: float) -> Tensor:
    """As `Mixed`."""
    length = query.shape[2]
    if not torch.compiler.is_exporting() and length <= _SHORT * form.window:
        return _square(query, key, value, there, form, drop)
    near = _blocks(query, key, value, there, form, drop)
    if not form.globals:
        return near
    first = _weighed(query[:, :, : form.globals] @ key.transpose(2, 3), value, _row(there), drop)
    return torch.cat([first, near[:, :, form.globals :]], dim=2)


def _square(
    query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, drop: float
) -> Tensor:
    places = torch.arange(query.shape[2], device=query.device)
    seen = (places[:, None] - places).abs() <= form.window
    seen = seen | (places < form.globals) | (places < form.globals)[:, None]
    if there is not None:
        seen = seen & there[:, None, None]
    return _weighed(query @ key.transpose(2, 3), value, seen, drop)


def _blocks(
    query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, drop: float
) -> Tensor:
    """Of all queries; those of global positions see what is near them alone, here."""
    window, count, length = form.window, form.globals, query.shape[2]
    blocks = length // window + 1
    filled = blocks * window - length

    def near(tensor: Tensor) -> Tensor:
        """[texts, heads, length, size] -> [texts, heads, blocks, globals + 3 windows, size]"""
        padded = nn.functional.pad(tensor, (0, 0, window, window + filled))
        by_block = padded.reshape(*padded.shape[:2], blocks + 2, window, padded.shape[3])
        first = tensor[:, :, None, :count].expand(-1, -1, blocks, -1, -1)
        return torch.cat([first, by_block[:, :, :-2], by_block[:, :, 1:-1], by_block[:, :, 2:]], dim=3)

    own = nn.functional.pad(query, (0, 0, 0, filled)).reshape(*query.shape[:2], blocks, window, query.shape[3])
    place, other = torch.arange(window, device=query.device), torch.arange(3 * window, device=query.device)
    band = (other >= place[:, None]) & (other <= place[:, None] + 2 * window)
    is_there = torch.ones_like(query[:, 0, :, 0], dtype=torch.bool) if there is None else there
    apart = is_there & (torch.arange(length, device=query.device) >= count)  # global ones are seen once, before
    padded = nn.functional.pad(apart, (window, window + filled)).reshape(-1, blocks + 2, window)
    beside = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)[:, None, :, None] & band
    first = is_there[:, None, None, None, :count].expand(-1, -1, blocks, window, -1)
    seen = torch.cat([first, beside], dim=-1)
    found = _weighed(own @ near(key).transpose(3, 4), near(value), seen, drop)
    return found.flatten(2, 3)[:, :, :length]


def _row(there: Tensor | None) -> Tensor | None:
    return None if there is None else there[:, None, None]


def _weighed(scores: Tensor, value: Tensor, seen: Tensor | None, drop: float) -> Tensor:
    """Where nothing is seen, which is behind a text's end, all counts alike: no answer is not a number."""
    if seen is not None:
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    return nn.functional.dropout(scores.softmax(dim=-1), drop, training=drop > 0) @ value
