"""How many tokens a model has positions for, and how it gets more: what `anatomy.positions` does, as words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Extension = Literal["tile", "interpolate"]
"""`tile`: the table of positions is repeated (Beltagy et al. 2020, "Longformer", section 5). `interpolate`: it is drawn
out, or where positions are angles, all turn by a smaller one (Chen et al. 2023, "Extending Context Window of Large
Language Models via Positional Interpolation", section 2.3)."""

_AFTER_PADDING: Final = frozenset({"roberta", "xlm-roberta", "camembert", "data2vec-text", "mpnet"})
"""Families whose first positions, up to the padding token's number, hold no token."""
_TABLES: Final = frozenset({*_AFTER_PADDING, "bert", "distilbert", "electra", "ernie", "rembert", "albert"})
"""Families with a learned table of positions."""
_ROTARY: Final = frozenset({"modernbert", "eurobert"})
"""Families whose positions are angles."""


def places_in(settings: Mapping[str, Any]) -> int | None:
    """The most tokens that a model reads, by its `config.json`; None where nothing says it."""
    rows, first = settings.get("max_position_embeddings"), 0
    if settings.get("model_type") in _AFTER_PADDING:
        padding = settings.get("pad_token_id", 1)
        first = padding + 1 if isinstance(padding, int) else 2
    return rows - first if isinstance(rows, int) and rows > first else None


def ways_of(family: str) -> tuple[Extension, ...]:
    """How a family can be given more positions; empty where it cannot."""
    if family in _TABLES:
        return ("tile", "interpolate")
    return ("interpolate",) if family in _ROTARY else ()


def why_too_long(where: str, family: str, places: int, length: int, way: Extension | None) -> str:
    """What is said of texts of up to `length` tokens and a model, by its folder, that has so many `places`; empty where
    they are enough, or it is given more in this `way`."""
    ways = ways_of(family)
    if length <= places or way in ways:
        return ""
    if not ways:
        more = f"more are worked out for {', '.join(sorted(_TABLES | _ROTARY))}, and this is a {family}"
    elif way is None:
        more = f"{way_to(family)} in the study gives it more"
    else:
        more = f"`model.positions: {way}` is for tables of positions, and a {family} has none: write {way_to(family)}"
    return (
        f"task.max_length: must be <= {places}, the positions that {where} has, got {length}; a workload is no longer "
        f"than that; {more}"
    )


def way_to(family: str) -> str:
    """What to write for more positions: `model: {positions: tile}` (or `interpolate`); empty where nothing helps."""
    ways = ways_of(family)
    others = "".join(f" (or `{way}`)" for way in ways[1:])
    return f"`model: {{positions: {ways[0]}}}`{others}" if ways else ""
