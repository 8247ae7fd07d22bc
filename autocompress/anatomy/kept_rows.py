"""A table of words that keeps some of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from autocompress.anatomy.int8 import SharedEmbedding


class KeptRows(SharedEmbedding):
    """Some rows of another table, its `weight` [kept, width]. Tokens are those of the whole table until it is
    `renumbered`: what learns beside a teacher reads the same texts. A token whose row went gets the first one; no text
    holds it that is read with what is left."""

    def __init__(self, embedding: nn.Embedding, kept: Sequence[int]) -> None:
        """`kept` are tokens of the whole table."""
        super().__init__(embedding)
        rows, before = torch.tensor(list(kept)), self.places
        inside = rows if before is None else before[rows]
        self.weight = nn.Parameter(embedding.weight.detach().index_select(0, inside))
        self.num_embeddings, self.padding_idx = len(rows), None
        self.places = torch.zeros(tokens_of(embedding), dtype=torch.int64).index_copy(
            0, rows, torch.arange(len(rows), dtype=torch.int64)
        )


def tokens_of(embedding: nn.Embedding) -> int:
    """How many tokens a table is asked for: more than it has rows, where some went."""
    places = getattr(embedding, "places", None)
    return embedding.num_embeddings if places is None else len(places)


def renumber(modules: Iterable[nn.Module]) -> None:
    """From now on the token of the i-th row is i."""
    for module in modules:
        if isinstance(module, SharedEmbedding):
            module.places = None
