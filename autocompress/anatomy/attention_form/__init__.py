"""Attention of other forms in live models: a module that mixes positions is told its form, and computes so from then
on.

To add one: its numbers in `core.attention_form`, its mathematics in a file here and as a line of `FORMS`, its nodes in
`deploy.blocks.attention_form`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor, nn
from transformers import AttentionInterface

from autocompress.anatomy.attention_form.linear import linear
from autocompress.anatomy.attention_form.local import local
from autocompress.anatomy.attention_form.performer import performer
from autocompress.anatomy.attention_form.pooled import pooled
from autocompress.anatomy.attention_form.sparse import sparse
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm, FormName

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
    module.config = copy.copy(module.config)
    module.config._attn_implementation = IMPLEMENTATION  # type: ignore[union-attr]
    setattr(module, _FORM, form)


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
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key, value = (one.repeat_interleave(shared, dim=1) for one in (key, value))
    found = FORMS[form.name](query * scale, key, value, _there(attention_mask), form, dropout if module.training else 0)
    return found.transpose(1, 2).contiguous(), None


def _there(mask: Tensor | None) -> Tensor | None:
    """[texts, 1, length or 1, length], true or 0 where a position may be seen -> [texts, length]: padding is the same
    for all queries."""
    if mask is None:
        return None
    row = mask[:, 0, 0]
    return row if not row.dtype.is_floating_point else row > -1.0


AttentionInterface.register(IMPLEMENTATION, _attend)
