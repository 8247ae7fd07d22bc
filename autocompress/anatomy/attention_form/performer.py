"""Attention by positive orthogonal random features (Choromanski et al. 2021, "Rethinking Attention with Performers"):
exp(q k') is the mean over random w of exp(w q - |q|^2 / 2) exp(w k - |k|^2 / 2) (lemma 1), with w that are orthogonal
in groups (section 2.4), so that keys and values are summed once, for all queries."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.anatomy.attention_form.linear import summed
from autocompress.core.attention_form import AttentionForm

LEAST = 1e-6
"""Added to every feature, so that no query is answered by nothing (as the paper's own code does)."""
NOWHERE = -1e30
"""The exponent of what is not there."""


@functools.cache
def directions(features: int, head_size: int, seed: int) -> NDArray[np.float32]:
    """[features, head size]: in groups of as many as there are channels, orthogonal, and as long as if they were drawn
    freely. By arithmetic alone, no library of linear algebra: the same wherever it is drawn."""
    generator = np.random.default_rng(seed)
    found: list[NDArray[np.float64]] = []
    for first in range(0, features, head_size):
        group: list[NDArray[np.float64]] = []
        for one in generator.standard_normal((min(head_size, features - first), head_size)):
            for _ in range(2):  # once more, for what rounding left
                for other in group:
                    one = one - float((one * other).sum()) * other
            group.append(one / float((one * one).sum()) ** 0.5)
        found += group
    lengths = np.sqrt((generator.standard_normal((features, head_size)) ** 2).sum(axis=1))
    drawn: NDArray[np.float32] = (np.stack(found) * lengths[:, None]).astype(np.float32)
    return drawn


def performer(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, form: AttentionForm, _: float) -> Tensor:
    """As `Mixed`; there are no weights of pairs to drop. Queries are scaled already by what the paper shares between
    queries and keys. What is the same for all features of a query, or for all keys, falls out of the mean."""
    size = query.shape[-1]
    known = torch.from_numpy(directions(form.features, size, form.seed)).to(query.device)
    with torch.autocast(query.device.type, enabled=False):
        asking, asked = query.float() * size**0.25, key.float() * size**-0.25
        asking = asking @ known.T
        asked = asked @ known.T - asked.square().sum(-1, keepdim=True) / 2
        if there is not None:
            asked = asked.masked_fill(~there[:, None, :, None], NOWHERE)
        asking = (asking - asking.amax(-1, keepdim=True)).exp() + LEAST
        asked = (asked - asked.amax((-1, -2), keepdim=True)).exp() + LEAST
        return summed(asking, asked, value, there)
