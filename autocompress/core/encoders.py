"""Encoders by their sizes: what profiles, reports and settings know of a model before anybody opens it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from autocompress.core.attention_form import AttentionForm
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.parts import Matrix, Mixing, ModelParts, Part, Table
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.storage import PLAIN, Storage

Layer = tuple[Part, ...]

STACK = "layers"

_MEASURED: Final = (1000, 514)
"""Words and positions of a model that has none: a lookup costs the same in a small table as in a large one."""


def attention(
    layer: int, width: int, heads: int, head_size: int, storage: Storage = PLAIN, *, key_value_heads: int | None = None
) -> Part:
    """A block of `heads`, its normalisation included; as many keys and values as queries unless told otherwise."""
    inner, keys = heads * head_size, (key_value_heads or heads) * head_size
    matrices = (
        Matrix("query", width, inner, storage=storage),
        Matrix("key", width, keys, at="sources", storage=storage),
        Matrix("value", width, keys, at="sources", storage=storage),
        Matrix("output", inner, width, storage=storage),
    )
    mixing = Mixing(heads, head_size, key_value_heads or heads)
    name = f"{STACK}.{layer}.attention"
    return Part(name, "attention", matrices, vectors=2 * width, mixing=mixing, stack=STACK, layer=layer)


def feed_forward(layer: int, width: int, channels: int, storage: Storage = PLAIN, *, gated: bool = False) -> Part:
    """A block of two products, or of three where it is gated, its normalisation included."""
    first = ("gate", "up") if gated else ("up",)
    matrices = (
        *(Matrix(name, width, channels, storage=storage) for name in first),
        Matrix("down", channels, width, storage=storage),
    )
    name, kind = f"{STACK}.{layer}.feed_forward", "gated" if gated else "feed_forward"
    return Part(name, kind, matrices, vectors=2 * width, stack=STACK, layer=layer)  # type: ignore[arg-type]


def in_rank(part: Part, rank: int | None) -> Part:
    """With all of its matrices held as two factors."""
    return replace(part, matrices=tuple(replace(one, rank=rank) for one in part.matrices))


def in_form(part: Part, form: AttentionForm) -> Part:
    """With attention of another form; what has none is as it was."""
    return part if part.mixing is None else replace(part, mixing=replace(part.mixing, form=form))


def keeping(part: Part, kept: KeptTokens | None) -> Part:
    """With so many of its tokens that go on behind it; what has no attention is as it was."""
    return part if part.mixing is None else replace(part, mixing=replace(part.mixing, keeps=kept))


def largest_rank(width: int, inner: int) -> int:
    """In which two factors of a `width` x `inner` matrix hold no more numbers than it does."""
    return max(1, width * inner // (width + inner))


def encoder_layer(
    layer: int,
    width: int,
    *,
    heads: int,
    head_size: int,
    channels: int,
    held: Storage = PLAIN,
    feed_forward_held: Storage | None = None,
) -> Layer:
    """Its two blocks, both `held` alike unless told otherwise; one of no heads or no channels is left out."""
    first = (attention(layer, width, heads, head_size, held),) if heads else ()
    second = (feed_forward(layer, width, channels, feed_forward_held or held),) if channels else ()
    return (*first, *second)


def encoder(
    width: int,
    layers: Iterable[Layer] = (),
    *,
    family: str = "bert",
    words: int = 0,
    others: int = 0,
    head: Sequence[int] = (),
    words_in: Storage = PLAIN,
    table_width: int | None = None,
    runtime: str = DEFAULT_RUNTIME,
) -> ModelParts:
    """A classifier like BERT: tables of `words` and of `others` (positions, token types), layers, and a head of dense
    layers with these outputs, which reads one position. Tables of another `table_width` are projected."""
    rows = (("words", words, words_in), ("others", others, PLAIN))
    tables = tuple(Table(name, count, table_width or width, storage) for name, count, storage in rows if count)
    projection = (Matrix("projection", table_width, width, at="sources"),) if table_width else ()
    front = Part("embeddings", "embedding", projection, vectors=2 * (table_width or width), tables=tables)
    widths = (width, *head)
    dense = tuple(Matrix(f"dense.{i}", a, b) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)))
    behind = Part("head", "head", dense, stack=STACK)
    return ModelParts(family, width, (front, *(part for layer in layers for part in layer), behind), runtime)


def with_layers(model: ModelParts, layers: Iterable[Layer], *, words_in: Storage | None = None) -> ModelParts:
    """The model with these in the place of its layers, and with its first table held otherwise."""
    outside = [part for part in model.parts if part.layer is None]
    ends = [part for part in outside if part.kind in ("head", "common")]
    fronts = [part for part in outside if part not in ends]
    if words_in is not None:
        fronts = [part.with_storage(words_in) if part.kind == "embedding" else part for part in fronts]
    return replace(model, parts=(*fronts, *(part for layer in layers for part in layer), *ends))


def with_stack(model: ModelParts, name: str) -> ModelParts:
    """The model of one stack with this name for it, in the names of its parts, too."""
    (before,) = model.stacks
    if before == name:
        return model

    def renamed(given: str) -> str:
        return f"{name}.{given.removeprefix(before + '.')}" if given.startswith(f"{before}.") else given

    parts = (
        replace(
            part,
            name=renamed(part.name) if part.layer is not None else part.name,
            owner=None if part.owner is None else renamed(part.owner),
            stack=name if part.stack == before else part.stack,
        )
        for part in model.parts
    )
    return replace(model, parts=tuple(parts))


def with_vocabulary(model: ModelParts, rows: int) -> ModelParts:
    """The model with so many words."""

    def resized(part: Part) -> Part:
        return replace(part, tables=(replace(part.tables[0], rows=rows), *part.tables[1:])) if part.tables else part

    return model.with_part("embeddings", resized)


def as_measured(model: ModelParts) -> ModelParts:
    """The model as a profile measures its blocks: behind a table of words, whatever stands before them, and below a
    head that reads one position, so that blocks of a last layer have rows of their own."""
    words, positions = _MEASURED
    tables = (Table("words", words, model.width), Table("others", positions, model.width))
    front = Part("embeddings", "embedding", vectors=2 * model.width, tables=tables)
    behind = Part("head", "head", (Matrix("dense.0", model.width, 2),), stack=STACK)
    fronts = [part for part in model.parts if part.kind == "embedding"] or [front]
    heads = [part for part in model.parts if part.kind == "head" and part.matrices] or [behind]
    return replace(model, parts=(*fronts, *model.blocks(), *heads), read=1)


def held_in(model: ModelParts, storage: Storage) -> ModelParts:
    """The model with all of its layers and its first table held so."""
    return with_layers(model, [tuple(part.with_storage(storage) for part in model.blocks())], words_in=storage)
