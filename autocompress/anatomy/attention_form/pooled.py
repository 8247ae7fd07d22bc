"""Attention to means over blocks of positions (Wang et al. 2020, "Linformer", section 4, "General projections": keys
and values are projected to fewer by mean pooling whose kernel and stride are alike). A block counts as often as it has
positions that are there, so that the length is free and padding changes nothing: it is softmax attention in which every
key and value is the mean of its block's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocompress.core.attention_form import AttentionForm

NOTHING = 1e-26
"""What a block of padding counts."""


def pooled(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, drop: float) -> Tensor:
    """As `Mixed`."""
    length, window = key.shape[2], form.window
    real = torch.ones_like(key[:, :1, :, :1]) if there is None else there[:, None, :, None].to(key.dtype)
    filled = window - 1 - (length - 1) % window

    def total(tensor: Tensor) -> Tensor:
        """[texts, heads, length, size] -> [texts, heads, blocks, size], padding apart."""
        whole = nn.functional.pad(tensor * real, (0, 0, 0, filled))
        return whole.reshape(*whole.shape[:2], -1, window, whole.shape[3]).sum(3)

    count = total(torch.ones_like(real)).float()
    keys, values = (total(one) / count.clamp(min=1).to(one.dtype) for one in (key, value))
    weight = count.clamp(min=NOTHING).log().transpose(2, 3)
    scores = query @ keys.transpose(2, 3)
    shares = (scores.float() + weight).softmax(dim=-1).to(values.dtype)
    return nn.functional.dropout(shares, drop, training=drop > 0) @ values
