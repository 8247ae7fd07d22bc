"""The nodes of each form of attention, between its projections: what `anatomy.attention_form` computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from autocompress.core.attention_form import FormName
from autocompress.deploy.blocks.attention_form.linear import linear
from autocompress.deploy.blocks.attention_form.local import local
from autocompress.deploy.blocks.attention_form.mixed import Mixed
from autocompress.deploy.blocks.attention_form.performer import performer
from autocompress.deploy.blocks.attention_form.pooled import pooled
from autocompress.deploy.blocks.attention_form.sparse import sparse
from autocompress.deploy.nodes import Graph

Nodes = Callable[[Graph, Mixed], str]
"""What every query gets: [batch, queries, heads, head size]."""

FORMS: Final[Mapping[FormName, Nodes]] = {
    "local": local,
    "sparse": sparse,
    "pooled": pooled,
    "linear": linear,
    "performer": performer,
}
