"""Where the parts of a live model are, found by role and checked by size.

Names move between versions of the modelling library: the stack is the longest list of modules that each hold a query, a
key and a value projection; of the other three products in a layer the first is the attention output, then come the two
of the feed-forward block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import nn

from autocompress.anatomy.attention_form import form_of
from autocompress.anatomy.factored import Factored
from autocompress.anatomy.kept_tokens import keeps_of
from autocompress.anatomy.passing import Nothing
from autocompress.core.attention_form import AttentionForm
from autocompress.core.kept_tokens import KeptTokens
from autocompress.errors import SpecError

_ROLES = {
    "query": re.compile(r"(^|\.)(query|q_lin|q_proj)$"),
    "key": re.compile(r"(^|\.)(key|k_lin|k_proj)$"),
    "value": re.compile(r"(^|\.)(value|v_lin|v_proj)$"),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a module tree where a child can be read and replaced."""

    owner: nn.Module
    name: str

    @property
    def module(self) -> nn.Module:
        return cast(nn.Module, getattr(self.owner, self.name))

    @property
    def linear(self) -> nn.Linear:
        """The fp32 linear layer, also under quantization; of two factors, what looks like one."""
        return cast(nn.Linear, self.module)

    @property
    def multiplied(self) -> tuple[Slot, ...]:
        """Where what is multiplied lies: here, or in the first factor and then each of the second ones."""
        if not isinstance(self.module, Factored):
            return (self,)
        return Slot(self.module, "first"), *(Slot(self.module.second, str(i)) for i in range(len(self.module.ranks)))

    def put(self, module: nn.Module) -> None:
        setattr(self.owner, self.name, module)


@dataclass(frozen=True, slots=True)
class AttentionSlots:
    """Products that are joined in one module have one slot under several names; where heads share their keys, equally
    many do."""

    query: Slot
    key: Slot
    value: Slot
    output: Slot
    norm: nn.LayerNorm
    head_size: int
    queries_per_key: int = 1

    @property
    def products(self) -> tuple[Slot, ...]:
        return self.query, self.key, self.value, self.output

    @property
    def heads(self) -> int:
        return self.output.linear.in_features // self.head_size

    @property
    def form(self) -> AttentionForm:
        return form_of(self.query.owner)

    @property
    def keeps(self) -> KeptTokens | None:
        """What of its positions goes on; None where all do."""
        return keeps_of(self.query.owner)


@dataclass(frozen=True, slots=True)
class FeedForwardSlots:
    up: Slot
    down: Slot
    norm: nn.LayerNorm

    @property
    def products(self) -> tuple[Slot, ...]:
        return self.up, self.down

    @property
    def width(self) -> int:
        return self.down.linear.in_features


@dataclass(frozen=True, slots=True)
class LayerParts:
    """One encoder layer; `index` is its place in the uncompressed model. One of its two blocks may be gone."""

    index: int
    module: nn.Module
    mixes: AttentionSlots | None
    feeds: FeedForwardSlots | None

    @property
    def of_attention(self) -> AttentionSlots:
        """Raises KeyError once it is removed."""
        if self.mixes is None:
            raise KeyError(f"layers.{self.index}.attention")
        return self.mixes

    @property
    def of_feed_forward(self) -> FeedForwardSlots:
        """Raises KeyError once it is removed."""
        if self.feeds is None:
            raise KeyError(f"layers.{self.index}.feed_forward")
        return self.feeds

    @property
    def attention(self) -> tuple[Slot, ...]:
        """Its products; none once it is removed."""
        return self.mixes.products if self.mixes else ()

    @property
    def feed_forward(self) -> tuple[Slot, ...]:
        """Its products; none once it is removed."""
        return self.feeds.products if self.feeds else ()

    @property
    def sharing(self) -> tuple[tuple[Slot, ...], ...]:
        """Its products, those of one input together."""
        attention = self.mixes and ((self.mixes.query, self.mixes.key, self.mixes.value), (self.mixes.output,))
        feed_forward = self.feeds and ((self.feeds.up,), (self.feeds.down,))
        return *(attention or ()), *(feed_forward or ())


def head_slot(model: nn.Module, path: str) -> Slot:
    owner, _, name = path.rpartition(".")
    try:
        slot = Slot(model.get_submodule(owner), name)
        assert isinstance(slot.linear, nn.Linear)
    except (AttributeError, AssertionError) as error:
        raise SpecError(f"model: no dense layer at {path!r}; is this a sequence classifier of its family?") from error
    return slot


def _linears(module: nn.Module) -> Iterator[tuple[str, Slot]]:
    """Products by their names, those of two factors as one."""
    inside = {id(one) for child in module.modules() if isinstance(child, Factored) for one in child.modules()}
    for name, child in module.named_modules():
        if isinstance(child, Factored) or (isinstance(child, nn.Linear) and id(child) not in inside):
            owner, _, last = name.rpartition(".")
            yield name, Slot(module.get_submodule(owner), last)


def find_stack(model: nn.Module) -> Slot:
    """The longest list of modules that all hold a query, a key and a value projection, or lost a block."""
    best: tuple[int, Slot] | None = None
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        complete = all(
            _lacks_a_block(child)
            or all(any(role.search(part) for part, _ in _linears(child)) for role in _ROLES.values())
            for child in module
        )
        if complete and (best is None or len(module) > best[0]):
            owner, _, last = name.rpartition(".")
            best = len(module), Slot(model.get_submodule(owner), last)
    if best is None:
        raise SpecError(
            "model: no stack of encoder layers found (a list of modules with query, key and value products)"
        )
    return best[1]


def _lacks_a_block(layer: nn.Module) -> bool:
    return any(isinstance(one, Nothing) for one in layer.modules())


def find_parts(index: int, module: nn.Module) -> LayerParts:
    """Raises SpecError for a layer of another form: one that never lost a block has both."""
    slots = dict(_linears(module))
    roles = {role: [name for name in slots if pattern.search(name)] for role, pattern in _ROLES.items()}
    named = {name for names in roles.values() for name in names}
    rest = [slot for name, slot in slots.items() if name not in named]
    norms = [child for child in module.modules() if isinstance(child, nn.LayerNorm)]
    mixes, lost = bool(named), _lacks_a_block(module)
    feeds = len(rest) > mixes
    of_each = all(len(names) == mixes for names in roles.values())
    if not of_each or len(rest) != mixes + 2 * feeds or len(norms) != mixes + feeds or mixes + feeds != 2 - lost:
        raise SpecError(
            f"model: layer {index} is no plain encoder layer: expected one query, key and value, three other products "
            f"and two normalisations, found {sorted(slots)} and {len(norms)} normalisations"
        )
    attention = feed_forward = None
    if mixes:
        query, key, value = (slots[roles[role][0]] for role in ("query", "key", "value"))
        head_size = int(query.owner.attention_head_size)  # type: ignore[arg-type]
        attention = AttentionSlots(query, key, value, rest[0], norms[0], head_size)
    if feeds:
        feed_forward = FeedForwardSlots(rest[-2], rest[-1], norms[-1])
    found = LayerParts(index, module, attention, feed_forward)
    if not _fit(found):
        raise SpecError(f"model: the products of layer {index} do not fit one another: {sorted(slots)}")
    return found


def _fit(layer: LayerParts) -> bool:
    """Whether the products of its blocks have each other's sizes."""
    sizes = [(one.linear.in_features, one.linear.out_features) for one in (*layer.attention, *layer.feed_forward)]
    if layer.mixes is not None and sizes[3][0] != sizes[0][1]:
        return False
    if layer.feeds is None:
        return True
    (width, channels), (inner, _) = sizes[-2:]
    return channels == inner and width == sizes[0][0]


@dataclass(frozen=True, slots=True)
class EmbeddingParts:
    """Tables that are added up, the normalisation of their sum, and the projection to the width of the layers, where
    there is one. Of the tables that are `constant` every text takes the first row."""

    word: Slot
    position: Slot
    constant: tuple[Slot, ...]
    norm: nn.LayerNorm
    projection: Slot | None


def find_embeddings(model: nn.Module, constant: tuple[str, ...], projection: str | None) -> EmbeddingParts:
    for module in model.modules():
        if hasattr(module, "word_embeddings") and hasattr(module, "position_embeddings"):
            _check_tables(module, constant)
            norm = next(child for child in module.children() if isinstance(child, nn.LayerNorm))
            rows = tuple(Slot(module, name) for name in constant if hasattr(module, name))
            parts = Slot(module, "word_embeddings"), Slot(module, "position_embeddings")
            return EmbeddingParts(*parts, rows, norm, _projection(model, projection))
    raise SpecError("model: no module holds word and position embeddings")


def _check_tables(module: nn.Module, constant: tuple[str, ...]) -> None:
    """Raises SpecError for a table that nobody would add."""
    known = {"word_embeddings", "position_embeddings", *constant}
    tables = [name for name, child in module.named_modules() if isinstance(child, nn.Embedding)]
    if strange := sorted(set(tables) - known):
        raise SpecError(f"model: its embeddings add {', '.join(strange)}, which this family has no row for in a text")


def _projection(model: nn.Module, path: str | None) -> Slot | None:
    if path is None:
        return None
    owner, _, name = path.rpartition(".")
    holder = model.get_submodule(owner)
    return Slot(holder, name) if hasattr(holder, name) else None
