"""Live models of texts with more positions than their checkpoint has: once, before anything is trained."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from torch import Tensor, nn

from autocompress.anatomy.blueprint import at, base_of
from autocompress.anatomy.family import Family
from autocompress.core.positions import Extension
from autocompress.errors import SpecError
from autocompress.families import FAMILIES

_TABLE: Final = "position_embeddings"
_BY_PLACE: Final = ("position_ids", "token_type_ids")
"""Buffers [1, rows of the table] beside it, which are not saved."""
_LOCAL: Final = "sliding_attention"
_LINEAR: Final = ("default", "linear")


def places_of(config: Any, family: Family) -> int:
    """How many tokens a model has positions for."""
    return int(config.max_position_embeddings) - family.first_position(config)


def give_positions(model: nn.Module, family: Family, length: int, way: Extension) -> None:
    """The model reads texts of `length` tokens from now on, and its config says so; nothing where it did before.

    Rows of a table that belong to no token (RoBERTa's first ones) stay before the others. The row of token i is that of
    token i modulo the old length (`tile`), or lies between those around i (old - 1) / (new - 1) (`interpolate`): the
    first and the last stay what they are. Positions that are angles turn by the old length / the new one, in layers
    that attend to their neighbourhood alone as before. Raises SpecError where angles are scaled in another way.
    """
    config: Any = model.config
    before, first = places_of(config, family), family.first_position(config)
    if length <= before:
        return
    holder = next((one for one in model.modules() if isinstance(getattr(one, _TABLE, None), nn.Embedding)), None)
    if holder is None:
        _turn_less(model, family, length / before)
    else:
        old: Any = getattr(holder, _TABLE)
        table = torch.cat([old.weight[:first], _stretched(old.weight[first:], length, way)]).detach()
        new = nn.Embedding(len(table), table.shape[1], padding_idx=old.padding_idx, _weight=table, dtype=table.dtype)
        new.weight.requires_grad_(old.weight.requires_grad)
        setattr(holder, _TABLE, new.train(old.training))
        for name in _BY_PLACE:
            if isinstance(getattr(holder, name, None), Tensor):
                places = torch.arange(len(table)) if name == _BY_PLACE[0] else torch.zeros(len(table), dtype=torch.long)
                holder.register_buffer(name, places.expand(1, -1), persistent=False)
    for module in {id(one.config): one for one in model.modules() if hasattr(one, "config")}.values():
        module.config.max_position_embeddings = first + length  # type: ignore[union-attr]


def _stretched(rows: Tensor, length: int, way: Extension) -> Tensor:
    """[old length, width] -> [length, width]"""
    if way == "tile":
        return rows[torch.arange(length) % len(rows)]
    drawn = nn.functional.interpolate(rows.T[None].float(), size=length, mode="linear", align_corners=True)
    return drawn[0].T.to(rows.dtype)


def _turn_less(model: nn.Module, family: Family, factor: float) -> None:
    """Every place where positions are angles, of layers that attend to all."""
    config: Any = model.config
    writing = FAMILIES[family.model_type].writing
    assert writing is not None, "a family whose positions are angles says where"
    found = copy.deepcopy(config.rope_parameters)
    for name, about in [("", found)] if "rope_type" in found else found.items():
        if name != _LOCAL:
            if about["rope_type"] not in _LINEAR:
                raise SpecError(
                    f"model.positions: the checkpoint's angles are scaled as {about['rope_type']} already (allowed: "
                    f"{', '.join(_LINEAR)}); leave it out, and cut texts where the checkpoint does (`task.max_length`)"
                )
            about |= {"rope_type": "linear", "factor": factor * float(about.get("factor", 1.0))}
    config.rope_parameters = found
    base = base_of(model)
    holder, _, name = writing.rotary.rpartition(".")
    owner: Any = at(base, holder) if holder else base
    setattr(owner, name, type(getattr(owner, name))(config))
