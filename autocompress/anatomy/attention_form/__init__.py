"""Attention of other forms in live models: a module that mixes positions is told its form, and computes so from then
on.

To add one: its numbers in `core.attention_form`, its mathematics in a file here and as a line of `FORMS`, its nodes in
`deploy.blocks.attention_form`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from autocompress.anatomy.attention_form.linear import linear
from autocompress.anatomy.attention_form.local import local
from autocompress.anatomy.attention_form.performer import performer
from autocompress.anatomy.attention_form.pooled import pooled
from autocompress.anatomy.attention_form.sparse import sparse
from autocompress.anatomy.kept_tokens import KEEPS, LEFT, HandOn, Left, keeps_of, left_of, most_attended, received
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm, FormName
from autocompress.core.kept_tokens import KeptTokens

IMPLEMENTATION: Final = "autocompress_form"
"""What the config of a module with another form calls its attention, for transformers to find."""

_FORM: Final = "autocompress_attention_form"
"""Where a module keeps its form."""

Mixed = Callable[[Tensor, Tensor, Tensor, "Tensor | None", AttentionForm, float], Tensor]
"""Queries, scaled, keys and values [texts, heads, length, head size], which positions are there [texts, length] (None:
all), the form, and the share of weights that are dropped: what every position gets, as queries."""

FORMS: Final[Mapping[FormName, Mixed]] = {
    "local": local,
    "sparse": sparse,
    "pooled": pooled,
    "linear": linear,
    "performer": performer,
}


def form_of(module: nn.Module) -> AttentionForm:
    """Of a module that mixes positions."""
    found = getattr(module, _FORM, FULL_ATTENTION)
    assert isinstance(found, AttentionForm)
    return found


def put_form(module: nn.Module, form: AttentionForm) -> None:
    """It computes attention in this form from now on, with the weights that it has. Its config becomes its own."""
    _take_over(module)
    setattr(module, _FORM, form)


def put_kept(module: nn.Module, norm: nn.Module, layers: Sequence[nn.Module], kept: KeptTokens) -> None:
    """Behind this attention and the `norm` of its block, positions that are not `kept` go no further. `layers` are its
    own and those behind: what they have of attention masks by what is left."""
    left = left_of(module) or Left()
    setattr(module, KEEPS, kept)
    for one in (module, *(one for layer in layers for one in layer.modules() if _attends(one))):
        _take_over(one)
        setattr(one, LEFT, left)
    norm.register_forward_hook(HandOn(left, layers))


def _attends(module: nn.Module) -> bool:
    return hasattr(module, "attention_head_size") and hasattr(module, "config")


def _take_over(module: nn.Module) -> None:
    module.config = copy.copy(module.config)
    module.config._attn_implementation = IMPLEMENTATION  # type: ignore[union-attr]


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: [texts, heads, length, head size] -> [texts, length, heads, head size], and no map."""
    form, scale = form_of(module), query.shape[-1] ** -0.5 if scaling is None else scaling
    drop = dropout if module.training else 0.0
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key, value = (one.repeat_interleave(shared, dim=1) for one in (key, value))
    there, left = _there(attention_mask), left_of(module)
    if left is not None:
        there = left.real(there, key.shape[2])
        left.places = None  # of this layer nothing is known yet
    if form != FULL_ATTENTION:
        found = FORMS[form.name](query * scale, key, value, there, form, drop)
    elif left is None or (kept := keeps_of(module)) is None or kept.of(key.shape[2]) == key.shape[2]:
        seen = None if there is None else there[:, None, None]
        found = nn.functional.scaled_dot_product_attention(query, key, value, seen, drop, scale=scale)
    else:
        found = _keeping(query * scale, key, value, there, kept, left, drop)
    return found.transpose(1, 2).contiguous(), None


def _keeping(
    query: Tensor, key: Tensor, value: Tensor, there: Tensor | None, kept: KeptTokens, left: Left, drop: float
) -> Tensor:
    """Full attention that writes down what goes on behind it."""
    scores = query @ key.transpose(2, 3)
    if there is not None:
        scores = scores.masked_fill(~there[:, None, None], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=-1)
    left.places, real = most_attended(received(probabilities.detach(), there), there, kept)
    left.there[left.places.shape[1]] = real
    return nn.functional.dropout(probabilities, drop, training=drop > 0) @ value


def _there(mask: Tensor | None) -> Tensor | None:
    """[texts, 1, length or 1, length], true or 0 where a position may be seen -> [texts, length]: padding is the same
    for all queries."""
    if mask is None:
        return None
    row = mask[:, 0, 0]
    return row.bool() if not row.dtype.is_floating_point else row > -1.0


AttentionInterface.register(IMPLEMENTATION, _attend)
