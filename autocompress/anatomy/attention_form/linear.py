"""Linear attention by elu + 1 (Katharopoulos et al. 2020, "Transformers are RNNs", section 3.2): products of features
of queries and keys in the place of a softmax, so that keys and values are summed once, for all queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocompress.core.attention_form import AttentionForm

LEAST = 1e-6
"""Added to what sums are divided by."""


def linear(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, _: AttentionForm, __: float) -> Tensor:
    """As `Mixed`; there are no weights of pairs to drop."""
    asking, asked = (nn.functional.elu(one.float()) + 1 for one in (query, key))
    return summed(asking, asked, value, there)


def summed(asking: Tensor, asked: Tensor, value: Tensor, there: Tensor | None) -> Tensor:
    """Features of queries and keys [texts, heads, length, features], which are not negative, and values: for each query
    the mean of values, weighed by products of features. In fp32, as sums over positions are long."""
    with torch.autocast(value.device.type, enabled=False):
        real = torch.ones_like(value[:, :1, :, :1]) if there is None else there[:, None, :, None].to(value.dtype)
        told, real = (value * real).float(), real.float()
        found = asking @ (asked.transpose(2, 3) @ told)
        weight = asking @ (asked.transpose(2, 3) @ real)
        return (found / (weight + LEAST)).to(value.dtype)
