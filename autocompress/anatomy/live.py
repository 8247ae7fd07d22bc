"""A live model of any family, with surgery by the names of its parts."""

from __future__ import annotations

import collections
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn

from autocompress.anatomy.blueprint import (
    Layers,
    at,
    base_of,
    blocks_of,
    head_modules,
    head_size_of,
    is_product,
    known_family,
    read_parts,
    stacks_of,
)
from autocompress.anatomy.blueprint import products_of as products_in
from autocompress.anatomy.calibration import Batches
from autocompress.anatomy.factored import Factoring, factored
from autocompress.anatomy.finding import Slot
from autocompress.anatomy.forms import count_layers, holder, into_plain_form, keep_bias_heads, put
from autocompress.anatomy.heads import reads_first_alone
from autocompress.anatomy.int8 import Int8Embedding, Int8Linear, tell_padding
from autocompress.anatomy.kept_rows import KeptRows
from autocompress.anatomy.narrowing import KEPT_HIDDEN, Reading, Stream, kept_hidden, narrow
from autocompress.anatomy.settling import Group, Settling, is_settled, settled
from autocompress.anatomy.sparse import Criterion, sparse
from autocompress.core.parts import ModelParts, Storage
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import Rounded
from autocompress.errors import CandidateError
from autocompress.families import FAMILIES, Block, Family, Stack

_OUTPUTS: Final = frozenset({"query", "key", "value", "position_query", "position_key", "gate", "up"})
"""Roles whose outputs belong to heads or channels; the inputs of the others do."""
_KEPT: Final = "autocompress_layers"
"""Where a model notes which layers it has left, by stack, for whoever opens it again."""
_KEYS: Final = frozenset({"key", "value"})
_POSITIONS: Final = frozenset({"position_query", "position_key"})
_INSIDE: Final = frozenset({"output", "down"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block of a layer is."""

    stack: Stack
    index: int
    block: Block
    layer: nn.Module


@dataclass(frozen=True, slots=True)
class Multiplied:
    """A product of a block: the roles that are joined in it, and where it is."""

    roles: tuple[str, ...]
    slot: Slot


@final
class LiveModel:
    """A transformer and its parts, by name: `layers.3.attention`. `model` is changed in place by what is kept and
    quantized; tensors are never written to, so that copies may share them.

    Cutting part of what several layers share cuts it for all of them, by the name of the first that is left.
    """

    def __init__(
        self,
        model: nn.Module,
        families: Mapping[str, Family] = FAMILIES,
        *,
        linked: bool = False,
        batches: Batches = (),
        known: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Puts the model into a form that cuts do not break (see `forms`); its answers stay what they are.

        With `linked`, slices stay part of the tensors they are cut from: gradients reach those. What must be calibrated
        is so on `batches`, or was once and is `known` (see `settled`).

        Raises SpecError for a family that is not known, a part that is not where it belongs, or a form that cannot be
        cut.
        """
        self.family = known_family(model, families)
        self.model = model
        self._families, self._linked = families, linked
        self._settling = Settling(batches, known)
        into_plain_form(model, self.family)
        if not hasattr(model, _KEPT):  # else it was opened, and maybe cut, before
            every = {name: tuple(range(len(layers))) for name, layers in stacks_of(model, self.family).items()}
            setattr(model, _KEPT, every)
        self.parts()

    # Copies

    def copy(self, *, linked: bool = False) -> LiveModel:
        """The same model in new modules with the same tensors: milliseconds and no memory.

        With `linked`, what is sliced off the copy stays connected to these tensors: gradients reach them.
        """
        tensors = {id(t): t for t in (*self.model.parameters(), *self.model.buffers())}
        return self._over(copy.deepcopy(self.model, memo=dict(tensors)), linked=linked)

    def own_copy(self) -> LiveModel:
        """The same model with tensors of its own."""
        return self._over(copy.deepcopy(self.model))

    def _over(self, model: nn.Module, *, linked: bool = False) -> LiveModel:
        copied = copy.copy(self)
        copied.model, copied._linked = model, linked
        copied._settling = self._settling.anew()
        return copied

    # What it is

    @property
    def _kept(self) -> dict[str, tuple[int, ...]]:
        """The layers that every stack has left."""
        found: dict[str, tuple[int, ...]] = getattr(self.model, _KEPT)
        return found

    def parts(self) -> ModelParts:
        """What the model is now. Raises SpecError."""
        return read_parts(self.model, self._families, kept=self._kept)

    @property
    def read(self) -> int | None:
        """At how many positions the last layer is computed once it is deployed, by `ModelParts.read`: at the first
        where the head reads that alone and the layer's weights are not those of others, which compute all."""
        name = self.family.stacks[-1].name
        layers = list(stacks_of(self.model, self.family).get(name, ()))
        alone = bool(layers) and sum(layer is layers[-1] for layer in layers) == 1
        return 1 if self.family.reads_first and alone and reads_first_alone(self.model) else None

    def one_row(self) -> frozenset[str]:
        """The paths of the products that are computed for the first position alone, the last layer's queries apart,
        which share what is quantized with its keys."""
        if self.read is None:
            return frozenset()
        stack = self.family.stacks[-1]
        last = stacks_of(self.model, self.family)[stack.name][-1]
        blocks = blocks_of(self.family, stack, last, 0)
        groups = [group for block in blocks for group in self._groups_of(Place(stack, 0, block, last))]
        slots = {id(slot.module) for group in groups if group.one_row for slot in group.slots}
        return frozenset(name for name, module in self.model.named_modules() if id(module) in slots)

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, each once, and what calibration found. A model of the same config that was cut and
        quantized alike takes it with `load`."""
        named: dict[str, Tensor] = dict(self.model.named_parameters())
        lasting = self.model.state_dict().keys()
        named |= {name: tensor for name, tensor in self.model.named_buffers() if name in lasting}
        return {**{name: tensor.detach() for name, tensor in named.items()}, **self.settled()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises RuntimeError for tensors that are missing, left over or of other sizes."""
        wanted = self.state().keys() - self.settled().keys()
        given = {name: tensor for name, tensor in state.items() if not is_settled(name)}
        if strange := wanted ^ given.keys():
            raise RuntimeError(f"the state is of another model: {', '.join(sorted(strange)[:5])}")
        self.model.load_state_dict(given, strict=False)

    def products(self, name: str) -> list[Multiplied]:
        """The products of a block. Raises KeyError for a part that is not there, or is no block."""
        return _multiplied(self._place(name))

    def token_tables(self) -> dict[str, Slot]:
        """Where token ids are looked up, by path: in one table all, which several modules may hold. Images and sounds
        have none."""
        try:
            first = base_of(self.model).get_input_embeddings()  # type: ignore[operator]
        except NotImplementedError:
            return {}
        found = {}
        for path, module in self.model.named_modules():
            if isinstance(first, nn.Embedding) and isinstance(module, nn.Embedding) and module.weight is first.weight:
                owner, _, name = path.rpartition(".")
                found[path] = Slot(self.model.get_submodule(owner), name)
        return found

    def layers(self, stack: str) -> tuple[int, ...]:
        """The layers that a stack has left, by their places in the uncompressed model."""
        return self._kept[stack]

    # Surgery

    def keep_layers(self, stack: str, indices: Iterable[int]) -> None:
        """Only these layers of a stack stay, in their order. Raises CandidateError where none would."""
        asked, before, layers = set(indices), self._kept[stack], stacks_of(self.model, self.family)[stack]
        kept = [place for place, index in enumerate(before) if index in asked]
        if not kept:
            raise CandidateError(f"{stack}: one layer must stay")
        left = (Layers if isinstance(layers, Layers) else nn.ModuleList)([layers[place] for place in kept])
        (data,) = (one for one in self.family.stacks if one.name == stack)
        put(base_of(self.model), data.path, left)
        count_layers(self.model, data, kept, left)
        self._kept[stack] = tuple(before[place] for place in kept)

    def keep_heads(self, name: str, heads: Sequence[int]) -> None:
        """Only these of the heads that an attention has now stay, in the given order. Keys that are shared stay where
        one of their queries does.

        Raises CandidateError where keys would be shared by unequal numbers of queries, and KeyError for no attention.
        """
        place = self._own_place(name)
        if place.block.kind not in ("attention", "cross_attention"):
            raise KeyError(name)
        size = head_size_of(self.model.config, place.stack)
        products = self.products(name)
        counts = self.head_counts(products, size)
        keys, shared = _kept_keys(name, heads, *counts)
        by_role = {"query": (heads, counts[0]), "key": (keys, counts[1])}
        for product in products:
            self._cut_roles(
                product,
                [by_role["key" if role in _KEYS else "query"] for role in product.roles],
                size,
            )
        owner = holder(place.layer, place.block)
        told = {"heads": len(heads), "channels": len(heads) * size, "queries": shared}
        for attribute, counted in place.block.counters.items():
            setattr(owner, attribute, told[counted])
        keep_bias_heads(place.block, owner, torch.tensor(list(heads)))

    def keep_channels(self, name: str, channels: Sequence[int]) -> None:
        """Only these of a feed-forward block's channels stay, in the given order: of both products of its input where
        it is gated. Raises KeyError for no such block."""
        place = self._own_place(name)
        if place.block.kind not in ("feed_forward", "gated"):
            raise KeyError(name)
        for product in self.products(name):
            width = product.slot.linear.out_features // len(product.roles)
            self._cut_roles(product, [(channels, width)] * len(product.roles), 1)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The channels that its stream has left, by their places in the uncompressed model."""
        return kept_hidden(self.model, int(cast(Any, self.model.config).hidden_size))

    def keep_hidden(self, channels: Sequence[int]) -> None:
        """Only these of the channels that the stream has now stay, in the given order; what the others said is guessed
        from these (`narrowing`), on the batches and as the model is now. Of models of one post-norm stack behind an
        embedding, whose head stands on one dense layer (`core.narrowing` says of which families)."""
        left = tuple(self.hidden[channel] for channel in channels)
        narrow(self.model, self._stream(), channels, self._settling.batches)
        setattr(self.model, KEPT_HIDDEN, left)

    def keep_rows(self, tokens: Sequence[int]) -> None:
        """Only the rows of these tokens of the uncompressed model stay, in the given order, where tokens are looked up.
        Raises KeyError where they are not."""
        slots = list(self.token_tables().values())
        if not slots:
            raise KeyError("embeddings")
        left = KeptRows(cast(nn.Embedding, slots[0].module), tokens)
        for slot in slots:
            slot.put(left)

    def _stream(self) -> Stream:
        base, (front,) = base_of(self.model), self.family.fronts
        fronts = [one for path in front.products if isinstance(one := at(base, path), nn.Conv2d)]
        singles = [path for path in (*front.vectors, *front.tables) if isinstance(at(base, path), nn.Parameter)]
        named = [path.rpartition(".") for path in singles]
        last = (product for place in self._blocks() for product in _multiplied(place) if product.roles[0] in _INSIDE)
        return Stream(
            tuple(one for path in front.tables if isinstance(one := at(base, path), nn.Embedding)),
            (*fronts, *(product.slot.linear for product in last)),
            tuple(self._readings()),
            tuple((base.get_submodule(owner), name) for owner, _, name in named),
        )

    def _readings(self) -> Iterator[Reading]:
        """A post-norm block's norm is read by the next block, that of a pre-norm block by its own."""
        base, (front,), (stack,) = base_of(self.model), self.family.fronts, self.family.stacks
        norms = (at(base, path) for path in front.vectors)
        source = next((one for one in norms if isinstance(one, nn.Module)), None)
        is_pre = stack.order == "pre"
        if is_pre and source is not None:
            yield Reading(source, ())
        for place in self._blocks():
            own = at(place.layer, place.block.vectors[0])
            norm = own if isinstance(own, nn.Module) and not isinstance(own, nn.Identity) else source
            source = norm if is_pre else source
            products = (product for product in _multiplied(place) if product.roles[0] not in _INSIDE)
            yield Reading(cast(nn.Module, source), tuple(product.slot.linear for product in products))
            source = source if is_pre else norm
        source = base.get_submodule(self.family.ends[stack.name][0]) if is_pre else source
        head = next(one for one in head_modules(self.model, self.family) if is_product(one))
        yield Reading(cast(nn.Module, source), (cast(nn.Linear, head),))

    def _cut_roles(self, product: Multiplied, kept: Sequence[tuple[Sequence[int], int]], size: int) -> None:
        """Of a product that joins several roles, for each of them the units kept and the number there is, in outputs or
        inputs of `size` each."""
        channels, start = [], 0
        for units, count in kept:
            channels += [start + unit * size + place for unit in units for place in range(size)]
            start += count * size
        wanted = torch.tensor(channels)
        outputs = product.roles[0] in _OUTPUTS
        product.slot.put(
            self._cut(product.slot.linear, outputs=wanted) if outputs else self._cut(product.slot.linear, inputs=wanted)
        )

    def _cut(self, linear: nn.Linear, *, outputs: Tensor | None = None, inputs: Tensor | None = None) -> nn.Linear:
        """The product with these outputs or inputs only."""
        weight: Tensor = linear.weight
        bias: Tensor | None = linear.bias
        if outputs is not None:
            weight, bias = weight[outputs], None if bias is None else bias[outputs]
        if inputs is not None:
            weight = weight[:, inputs]
        # no memory is filled just to be replaced
        cut = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        for name, tensor in (("weight", weight), ("bias", bias)):
            if tensor is None:
                continue
            if self._linked:
                delattr(cut, name)
                setattr(cut, name, tensor)
            else:
                setattr(cut, name, nn.Parameter(tensor.detach().contiguous()))
        return cut

    @staticmethod
    def head_counts(products: Sequence[Multiplied], size: int) -> tuple[int, int]:
        """Heads and key heads."""
        found = {}
        for product in products:
            for role in product.roles:
                found[role] = product.slot.linear.out_features // len(product.roles) // size
        return found["query"], found["key"]

    def _place(self, name: str) -> Place:
        """Raises KeyError for a part that is not there, or is no block of a layer."""
        for stack in self.family.stacks:
            number, _, block_name = name.removeprefix(stack.name + ".").partition(".")
            if not name.startswith(stack.name + ".") or not number.isdigit():
                continue
            if int(number) not in self._kept.get(stack.name, ()):
                raise KeyError(name)
            index = int(number)
            layer = stacks_of(self.model, self.family)[stack.name][self._kept[stack.name].index(index)]
            for block in blocks_of(self.family, stack, layer, index):
                if block.name == block_name:
                    return Place(stack, index, block, layer)
        raise KeyError(name)

    def _own_place(self, name: str) -> Place:
        """Raises CandidateError for a part that has no weights of its own."""
        place = self._place(name)
        layers, kept = stacks_of(self.model, self.family)[place.stack.name], self._kept[place.stack.name]
        first = next(index for index, layer in zip(kept, layers, strict=True) if layer is place.layer)
        if first != place.index:
            raise CandidateError(f"{name}: its weights are those of layer {first}; cut that one")
        return place

    def factor(self, names: Iterable[str], method: Factoring) -> None:
        """The products of these blocks are held as two factors from now on, as far as the method takes them apart:
        after heads and channels are cut, and before anything is quantized. Roles that are joined in a module are taken
        apart each for itself. The method is told what the batches show of them, as the model is when the first product
        is taken apart.

        Raises CandidateError for a part that has no weights of its own, KeyError for one that is no block.
        """
        seen = self._settling.moments(self.model, self._groups())
        paths = {id(module): path for path, module in self.model.named_modules()}
        for place in [self._own_place(name) for name in names]:
            for product in _multiplied(place):
                linear, roles = product.slot.linear, len(product.roles)
                known = seen.get(paths[id(linear)])
                product.slot.put(factored(linear, (linear.out_features // roles,) * roles, method, known))

    def make_sparse(self, names: Iterable[str], sparsity: Sparsity, criterion: Criterion) -> None:
        """Of the products of these blocks the weights that matter least are zero from now on, and stay so: after heads
        and channels are cut, and before anything is quantized. Of roles that are joined in a module each has its own
        share. How much inputs matter is told by the batches, as the model is when the first product is made sparse by
        it.

        Raises CandidateError for a part that has no weights of its own, KeyError for one that is no block.
        """
        powers = self._settling.powers(self.model, self._groups()) if criterion == "wanda" else {}
        paths = {id(module): path for path, module in self.model.named_modules()}
        for place in [self._own_place(name) for name in names]:
            for product in _multiplied(place):
                linear, roles = product.slot.linear, len(product.roles)
                power = powers.get(paths[id(linear)])
                product.slot.put(sparse(linear, (linear.out_features // roles,) * roles, power, sparsity, criterion))

    # Precision

    def quantize_embeddings(self, bits: Rounded) -> None:
        """The rows that tokens are looked up in are rounded from now on. Raises KeyError where there are none."""
        tables = list(self.token_tables().values())
        if not tables:
            raise KeyError("embeddings")
        for slot in tables:
            slot.put(Int8Embedding(cast(nn.Embedding, slot.module), bits=bits))

    def quantize(self, names: Iterable[str], storage: Storage) -> None:
        """The products of these blocks compute in int8 from now on, with weights stored as the storage says. With a
        calibration the range of their inputs is fixed by what the batches show, as the model is when the first product
        is quantized so.

        Raises CandidateError when that takes examples and there are none, KeyError for a part that is no block.
        """
        if storage.bits == 32:
            return
        if not any(isinstance(module, Int8Linear) for module in self.model.modules()):
            self.model.register_forward_pre_hook(tell_padding, with_kwargs=True)
        for place in [self._own_place(name) for name in names]:
            for group in self._groups_of(place):
                self._settling.round(self.model, group, self._groups(), storage)

    def settled(self) -> dict[str, Tensor]:
        """What calibration found, by the names of products: with it the same storage gives the same answers where there
        are no examples. Limits are two values, a relief is one for each input."""
        return settled(self.model)

    def _groups(self) -> list[Group]:
        """All products of blocks, those of one input together."""
        return [group for place in self._blocks() for group in self._groups_of(place)]

    def _blocks(self) -> Iterator[Place]:
        """All blocks, those that several layers share once."""
        lists = stacks_of(self.model, self.family)
        for stack in self.family.stacks:
            layers = dict(zip(map(id, lists.get(stack.name, ())), lists.get(stack.name, ()), strict=True))
            for layer in layers.values():
                yield from (Place(stack, 0, block, layer) for block in blocks_of(self.family, stack, layer, 0))

    def _groups_of(self, place: Place) -> list[Group]:
        """The products of a block, those of one input together."""
        last = self.read is not None and place.layer is stacks_of(self.model, self.family)[place.stack.name][-1]
        mixes = place.block.kind in ("attention", "cross_attention")
        slots: dict[tuple[str, str], list[Slot]] = {}
        behind = []
        for product in _multiplied(place):
            what, masked_by = _input(product.roles[0], place)
            slot, *seconds = product.slot.multiplied
            slots.setdefault((what, masked_by), []).append(slot)
            alone = last and (not mixes or what == "inside" or product.roles == ("query",))
            behind += [Group((second,), masked_by, one_row=alone) for second in seconds]
        return [
            *(
                Group(tuple(group), masked_by, one_row=last and not (mixes and what != "inside"))
                for (what, masked_by), group in slots.items()
            ),
            *behind,
        ]


def _multiplied(place: Place) -> list[Multiplied]:
    found = []
    for roles, path, _ in products_in(place.block, place.layer):
        owner, _, name = path.rpartition(".")
        found.append(Multiplied(tuple(roles.split("+")), Slot(place.layer.get_submodule(owner), name)))
    return found


def _input(role: str, place: Place) -> tuple[str, str]:
    """What goes into a product of this role, and the model's argument that masks it."""
    if role in _POSITIONS:
        return "positions", ""
    if role in _KEYS and place.block.kind == "cross_attention":
        return "memory", place.stack.memory_masked_by
    return ("inside" if role in _INSIDE else "stream"), place.stack.masked_by


def _kept_keys(name: str, heads: Sequence[int], count: int, keys: int) -> tuple[list[int], int]:
    """The key heads that the kept queries read, and how many queries read each. Raises CandidateError."""
    shared = count // keys
    readers = collections.Counter(head // shared for head in heads)
    order = list(dict.fromkeys(head // shared for head in heads))
    runs = [head // shared for head in heads] == [key for key in order for _ in range(readers[key])]
    if len(set(readers.values())) != 1 or not runs:
        raise CandidateError(
            f"{name}: {count} heads share {keys} keys, and equally many must stay of each key, side by side; got heads "
            f"{', '.join(map(str, heads))}"
        )
    return order, readers[order[0]]
