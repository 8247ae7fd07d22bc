"""What introspection cannot tell: one small value per model family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from autocompress.core.task_kinds import Modality


@dataclass(frozen=True, slots=True)
class Family:
    """`head` are the dense layers of the classification head by dotted path, first to last, with `head_activation`
    between them. `activation` reads the feed-forward activation from the model's config; `first_position` the row of
    the position table that belongs to the first token. `counters` are the attributes of an attention module that hold
    the number of heads or of channels, kept true after pruning. `constant_rows` are further tables of the embeddings
    of which every text takes the first row; `projection` is the dense layer between embeddings and layers, by dotted
    path, of models whose embeddings are narrower than their layers. Of one that is not `like_bert` the parts are found
    by what `autocompress.families` knows of it (see `live_anatomy`). `head_norms` are the normalisations of its head;
    `token_head` are the dense layers of a head behind every token; `modality` is what it reads."""

    model_type: str
    head: tuple[str, ...]
    head_activation: Literal["tanh", "relu", "gelu"]
    activation: Callable[[Any], str]
    first_position: Callable[[Any], int]
    counters: tuple[tuple[str, Literal["heads", "channels"]], ...]
    constant_rows: tuple[str, ...] = ("token_type_embeddings",)
    projection: str | None = None
    like_bert: bool = True
    head_norms: tuple[str, ...] = ()
    token_head: tuple[str, ...] = ("classifier",)
    modality: Modality = "text"
