"""A live model read into parts, by its family's data and the sizes of its tensors.

Every parameter of the model ends in exactly one part, or the model is refused by naming what is left over: what a
family does not know of cannot be lost without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast, final

from torch import Tensor, nn

from autocompress.anatomy.attention_form import form_of
from autocompress.anatomy.factored import Factored
from autocompress.anatomy.int8 import Int8Embedding, Int8Linear
from autocompress.anatomy.kept_tokens import keeps_of
from autocompress.anatomy.narrowing import kept_hidden
from autocompress.anatomy.sparse import sparsity_of
from autocompress.core.parts import PLAIN, Matrix, Mixing, ModelParts, Part, Place, Storage, Table
from autocompress.core.storage import Activations
from autocompress.errors import SpecError, did_you_mean
from autocompress.families import Block, Family, Front, Stack

_SHOWN: Final = 5
_AT_SOURCES: Final = frozenset({"key", "value", "position_query", "position_key"})


def read_parts(
    model: nn.Module, families: Mapping[str, Family], *, kept: Mapping[str, Sequence[int]] | None = None
) -> ModelParts:
    """The parts of a transformers model, with or without a head; one on the meta device will do. `kept` are the layers
    that its stacks still have, by their places in the uncompressed model; all of them where nothing is said.

    Raises SpecError for a family that is not among `families`, for products that a layer lacks, and for tensors that
    belong to no part.
    """
    return _Reading(model, known_family(model, families), kept or {}).parts()


@final
class Layers(nn.ModuleList):
    """A list of layers, some of which may stand in it more than once; each is held, and named, once."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        unique = list({id(layer): layer for layer in layers}.values())
        self.places: list[int] = []
        super().__init__(unique)
        self.places = [next(i for i, one in enumerate(unique) if one is layer) for layer in layers]

    def __len__(self) -> int:
        return len(self.places or self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        held = list(self._modules.values())
        return iter([held[place] for place in self.places])

    def __getitem__(self, index: int) -> nn.Module:  # type: ignore[override]
        return list(self)[index]


def known_family(model: nn.Module, families: Mapping[str, Family]) -> Family:
    """Raises SpecError where none of them is the model's."""
    model_type = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    if model_type not in families:
        raise SpecError(f"model: the family {model_type!r} is not known; {did_you_mean(model_type, families)}")
    return families[model_type]


def base_of(model: nn.Module) -> nn.Module:
    """What a head stands on, or the model itself where it has none: paths of families start there."""
    base = getattr(model, str(getattr(model, "base_model_prefix", "")) or "_", model)
    return base if isinstance(base, nn.Module) else model


def stacks_of(model: nn.Module, family: Family) -> dict[str, nn.ModuleList]:
    """Lists of layers by stack, of those stacks that the model has. Raises SpecError where it has none."""
    base = base_of(model)
    found = {
        stack.name: cast(nn.ModuleList, one) for stack in family.stacks if (one := at(base, stack.path)) is not None
    }
    if not found:
        paths = ", ".join(stack.path for stack in family.stacks)
        raise SpecError(f"model: a {family.model_type} has its layers in {paths}, and here is no such module")
    return found


def blocks_of(family: Family, stack: Stack, layer: nn.Module, index: int) -> Iterator[Block]:
    """The blocks of a layer: of those that share a name, the first whose products are all there. Raises SpecError."""
    for name in dict.fromkeys(block.name for block in stack.blocks):
        forms = [block for block in stack.blocks if block.name == name]
        whole = [b for b in forms if all(at(layer, path) is not None for path in b.products.values())]
        if not whole:
            missing = [path for path in forms[0].products.values() if at(layer, path) is None]
            raise SpecError(
                f"model: layer {index} of {stack.path} has no {name} as a {family.model_type} has: it lacks "
                f"{', '.join(missing)}"
            )
        yield whole[0]


def products_of(block: Block, layer: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Roles, path and module of every product that a block has."""
    for roles, path in (*block.products.items(), *block.optional.items()):
        module = at(layer, path)
        if isinstance(module, nn.Module):
            yield roles, path, module


def head_modules(model: nn.Module, family: Family) -> list[nn.Module]:
    """What a pooler and a task add behind the stacks, module by module, each without any inside."""
    base = base_of(model)
    inside = {id(module) for module in base.modules()} if base is not model else set()
    poolers = [one for path in family.heads if isinstance(one := at(base, path), nn.Module)]
    added = [one for one in model.modules() if id(one) not in inside and not _has_children(one)] if inside else []
    return [*poolers, *added]


def is_product(module: nn.Module) -> bool:
    """Whether it multiplies by a matrix."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() > 1


def head_size_of(config: Any, stack: Stack) -> int:
    """Channels of one head."""
    given = getattr(config, stack.head_size, None) if stack.head_size else None
    return int(given or config.hidden_size // getattr(config, stack.heads))


@final
class _Reading:
    """One model on its way: `claimed` are the parameters that have found their part."""

    def __init__(self, model: nn.Module, family: Family, kept: Mapping[str, Sequence[int]]) -> None:
        self._model, self._family, self._kept = model, family, kept
        self._config: Any = model.config
        self._base = base_of(model)
        self._claimed: dict[int, str] = {}

    def parts(self) -> ModelParts:
        family = self._family
        lists = stacks_of(self._model, family)
        stacks = [stack for stack in family.stacks if stack.name in lists]
        found = [self._front(front) for front in family.fronts if not front.stack]
        for stack in stacks:
            found += [self._front(front) for front in family.fronts if front.stack == stack.name]
            found += self._layers(stack, lists[stack.name])
            found += self._common(stack)
        found += self._heads(stacks[-1].name)
        self._refuse_left_over()
        kept = tuple(part for part in found if part.matrices or part.vectors or part.tables or part.owner)
        width = len(kept_hidden(self._model, int(self._config.hidden_size)))
        return ModelParts(family.model_type, width, kept)

    # Before the layers

    def _front(self, front: Front) -> Part:
        strides = front.strides if isinstance(front.strides, tuple) else getattr(self._config, front.strides, ())
        products = [
            (path.rpartition(".")[2], one)
            for pattern in front.products
            for path, one in _matching(self._base, pattern)
            if isinstance(one, nn.Module)
        ]
        matrices, vectors = [], 0
        for place, (name, module) in enumerate(products):
            (matrix,) = self._matrices(name, module, front.name)
            if beside := self._numbers(module, front.name):  # a weight held as direction and magnitude
                vectors += beside - matrix.inputs * matrix.outputs
            shrunk = math.prod(strides[place + 1 :])
            matrices.append(replace(matrix, name=f"{name}.{place}", at="sources", each=shrunk))
        return Part(
            front.name,
            front.kind,
            tuple(matrices),
            vectors=vectors + self._vectors(self._base, front.vectors, front.name),
            tables=self._tables(self._base, front.tables, front.name),
            stack=front.stack,
        )

    # Layers

    def _layers(self, stack: Stack, modules: nn.ModuleList) -> list[Part]:
        as_named = stack.shared is None or isinstance(modules, Layers)
        count = len(modules) if as_named else int(getattr(self._config, str(stack.shared)))
        places = self._kept.get(stack.name, range(count))
        found: list[Part] = []
        owners: dict[tuple[int, str], Part] = {}
        for number, index in enumerate(places):
            layer = modules[number * len(modules) // count]
            for block in blocks_of(self._family, stack, layer, index):
                name = f"{stack.name}.{index}.{block.name}"
                owner = owners.get((id(layer), block.name))
                if owner is None:
                    part = self._block(stack, block, layer, name, index)
                    owners[id(layer), block.name] = part
                else:
                    part = replace(owner, name=name, owner=owner.name, layer=index)
                found.append(part)
        return found

    def _block(self, stack: Stack, block: Block, layer: nn.Module, name: str, index: int) -> Part:
        size = head_size_of(self._config, stack)
        matrices: list[Matrix] = []
        for roles, _, module in products_of(block, layer):
            matrices += self._matrices(roles, module, name, self._split(stack, roles, size))
        mixing = None
        if block.kind in ("attention", "cross_attention"):
            outputs = {matrix.name: matrix.outputs for matrix in matrices}
            query = next(path for roles, path in block.products.items() if "query" in roles.split("+"))
            owner = layer.get_submodule(query.rpartition(".")[0])
            mixing = Mixing(outputs["query"] // size, size, outputs["key"] // size, form_of(owner), keeps_of(owner))
            # What leaves the block is computed last, whatever a config adds
            matrices.sort(key=lambda matrix: matrix.name == "output")
        return Part(
            name,
            block.kind,
            tuple(matrices),
            vectors=self._vectors(layer, block.vectors, name),
            tables=self._tables(layer, block.tables, name),
            mixing=mixing,
            stack=stack.name,
            layer=index,
        )

    def _split(self, stack: Stack, roles: str, size: int) -> tuple[int, ...]:
        """How many outputs each role of a joined product has; nothing for those of equal sizes."""
        if roles != "query+key+value" or stack.key_value_heads is None:
            return ()
        keys = size * int(getattr(self._config, stack.key_value_heads))
        return (size * int(getattr(self._config, stack.heads)), keys, keys)

    def _common(self, stack: Stack) -> list[Part]:
        paths, name = self._family.ends.get(stack.name, ()), f"{stack.name}.common"
        tables = [path for path in paths if isinstance(at(self._base, path), nn.Embedding)]
        vectors = [path for path in paths if path not in tables]
        return [
            Part(
                name,
                "common",
                vectors=self._vectors(self._base, vectors, name),
                tables=self._tables(self._base, tables, name),
                stack=stack.name,
            )
        ]

    # Behind the layers

    def _heads(self, stack: str) -> list[Part]:
        """What a pooler and a task add. A product with the weights of a table is a part of its own, owned by it."""
        own, tied, vectors = [], [], 0
        for place, module in enumerate(head_modules(self._model, self._family)):
            if not is_product(module):
                vectors += self._numbers(module, "head")
                continue
            weight = module.weight
            owner, bias = self._claimed.get(id(weight)), getattr(module, "bias", None)
            if owner is not None and isinstance(bias, Tensor):  # which is the head's own, whatever the weight is
                vectors += self._numbers(bias, "head")
            (matrix,) = self._matrices(f"dense.{place}", module, owner or "head")
            if owner is None:
                own.append(matrix)
            else:
                whole = replace(matrix, bias=False)
                tied.append(Part(f"head.{place}", "head", (whole,), owner=owner, stack=stack))
        if self._base is not self._model:
            vectors += sum(self._numbers(p, "head") for p in self._model.parameters(recurse=False))
        return [Part("head", "head", tuple(own), vectors=vectors, stack=stack), *tied]

    # Tensors

    def _matrices(self, roles: str, module: nn.Module, part: str, sizes: Sequence[int] = ()) -> list[Matrix]:
        """A product as matrices, one for each role that is joined in it with a plus, of these `sizes` or of equal."""
        names = roles.split("+")
        if isinstance(module, Factored):
            self._claimed.update({id(tensor): part for tensor in module.parameters()})
            return [
                replace(_matrix(name, second, _storage(module.first)), inputs=module.in_features, rank=rank)
                for name, second, rank in zip(names, module.seconds, module.ranks, strict=True)
            ]
        weight = module.weight
        assert isinstance(weight, Tensor)
        inputs, outputs = math.prod(weight.shape[1:]), int(weight.shape[0])
        if hasattr(module, "nf"):  # transformers' Conv1D, a product whose weight lies the other way round
            inputs, outputs = outputs, inputs
        bias = getattr(module, "bias", None)
        self._claimed.update({id(tensor): part for tensor in (weight, bias) if isinstance(tensor, nn.Parameter)})
        shares = sizes or [outputs // len(names)] * len(names)
        storage = _storage(module)
        return [
            Matrix(name, inputs, share, _place(name), bias is not None, storage, sparsity=sparsity_of(module))
            for name, share in zip(names, shares, strict=True)
        ]

    def _vectors(self, within: nn.Module, paths: Sequence[str], part: str) -> int:
        return sum(self._numbers(one, part) for path in paths for _, one in _matching(within, path))

    def _tables(self, within: nn.Module, paths: Sequence[str], part: str) -> tuple[Table, ...]:
        found = []
        for path in paths:
            one = at(within, path)
            weight = one.weight if isinstance(one, nn.Module) else one
            if isinstance(weight, Tensor) and id(weight) not in self._claimed:
                self._claimed[id(weight)] = part
                width = int(weight.shape[-1])
                held = Storage(one.bits) if isinstance(one, Int8Embedding) else PLAIN
                found.append(Table(path.rpartition(".")[2], weight.numel() // width, width, held))
        return tuple(found)

    def _numbers(self, one: nn.Module | Tensor, part: str) -> int:
        """How many numbers of a module or a parameter had no part yet; they have one from now on."""
        tensors = list(one.parameters()) if isinstance(one, nn.Module) else [one]
        fresh = [tensor for tensor in tensors if id(tensor) not in self._claimed]
        self._claimed.update({id(tensor): part for tensor in fresh})
        return sum(tensor.numel() for tensor in fresh)

    def _refuse_left_over(self) -> None:
        left = [name for name, tensor in self._model.named_parameters() if id(tensor) not in self._claimed]
        if left:
            more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            raise SpecError(
                f"model: {len(left)} tensors belong to no part of a {self._family.model_type}: "
                f"{', '.join(left[:_SHOWN])}{more}; its family's data does not know this form of it"
            )


def at(module: nn.Module, path: str) -> nn.Module | Tensor | None:
    """A module or parameter by path, or None."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module | Tensor) else None


def _matching(module: nn.Module, pattern: str) -> Iterator[tuple[str, nn.Module | Tensor]]:
    """What lies at a path, in every module of a list where a star stands."""
    before, star, after = pattern.partition(".*.")
    if not star:
        one = at(module, pattern)
        if one is not None:
            yield pattern, one
        return
    listed = at(module, before)
    for name, child in listed.named_children() if isinstance(listed, nn.Module) else ():
        one = at(child, after)
        if one is not None:
            yield f"{before}.{name}.{after}", one


def _matrix(role: str, linear: nn.Linear, storage: Storage) -> Matrix:
    bias = linear.bias is not None
    return Matrix(role, linear.in_features, linear.out_features, _place(role), bias, storage)


def _storage(product: nn.Module) -> Storage:
    if not isinstance(product, Int8Linear):
        return PLAIN
    activations: Activations = "dynamic" if product.limits is None else "static"
    return Storage(product.bits, activations, product.calibration, product.smoothing)


def _place(role: str) -> Place:
    return "sources" if role in _AT_SOURCES else "targets"


def _has_children(module: nn.Module) -> bool:
    return next(module.children(), None) is not None
