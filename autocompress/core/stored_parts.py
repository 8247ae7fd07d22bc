"""A model's parts as studies store them, and the sizes of layers that studies of before stored in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from autocompress.core.attention_form import AttentionForm
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.parts import Matrix, Mixing, ModelParts, Part, Table
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import Storage

Tree = Mapping[str, Any]

_HELD = ModelParts | Part | Matrix | Table | Mixing | Storage | Sparsity | AttentionForm | KeptTokens


def parts_to_json(model: ModelParts) -> dict[str, Any]:
    """Plain values; what is as it is by default is left out."""
    tree = _stored(model)
    assert isinstance(tree, dict)
    return tree


def parts_from_json(tree: Tree | None) -> ModelParts | None:
    """The inverse of `parts_to_json`, also of the form of before; None for nothing, or for another form."""
    if not tree:
        return None
    try:
        return _of_layers(tree) if "layers" in tree else _model(tree)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _stored(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_stored(one) for one in value]
    if not isinstance(value, _HELD):
        return value
    found = {}
    for field in fields(value):
        if not field.compare:  # what a study finds anew
            continue
        held = getattr(value, field.name)
        if field.default is MISSING or held != field.default:
            found[field.name] = _stored(held)
    return found


def _model(tree: Tree) -> ModelParts:
    return ModelParts(**{**tree, "parts": tuple(_part(part) for part in tree["parts"])})


def _part(tree: Tree) -> Part:
    held: dict[str, Any] = {
        **tree,
        "matrices": tuple(map(_matrix, tree.get("matrices", ()))),
        "tables": tuple(Table(**_with_storage(one)) for one in tree.get("tables", ())),
        "mixing": _mixing(tree["mixing"]) if tree.get("mixing") else None,
    }
    return Part(**held)


def _mixing(tree: Tree) -> Mixing:
    kept = KeptTokens(**tree["keeps"]) if tree.get("keeps") else None
    return Mixing(**{**tree, "form": AttentionForm(**tree.get("form", {})), "keeps": kept})


def _matrix(tree: Tree) -> Matrix:
    sparsity = tree.get("sparsity")
    return Matrix(**{**_with_storage(tree), "sparsity": Sparsity(**sparsity) if sparsity else None})


def _with_storage(tree: Tree) -> dict[str, Any]:
    return {**tree, "storage": Storage(**tree.get("storage", {}))}


def _of_layers(tree: Tree) -> ModelParts:
    """An encoder of post-norm layers, of a hidden size, with the rows of its tables in one sum."""
    known = {"family", "hidden", "word_rows", "other_rows", "lookups", "layers", "head_widths"}
    if unknown := tree.keys() - known - {"embedding_bits", "runtime", "table_width"}:
        raise KeyError(*unknown)
    layers = []
    for layer in tree["layers"]:
        attention, wide = dict(layer["attention"]), dict(layer["feed_forward"])
        heads, head_size, channels = attention.pop("heads"), attention.pop("head_size"), wide.pop("width")
        layers.append(
            encoder_layer(
                layer["index"],
                tree["hidden"],
                heads=heads,
                head_size=head_size,
                channels=channels,
                held=Storage(**attention),
                feed_forward_held=Storage(**wide),
            )
        )
    given = {"runtime": tree["runtime"]} if "runtime" in tree else {}
    return encoder(
        tree["hidden"],
        layers,
        family=tree["family"],
        words=tree["word_rows"],
        others=tree["other_rows"],
        head=tuple(tree["head_widths"]),
        words_in=Storage(tree.get("embedding_bits", 32)),
        table_width=tree.get("table_width"),
        **given,
    )
