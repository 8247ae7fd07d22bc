"""Models put into a form that a cut does not break, in place and once: attention that is computed openly, products that
are linear layers, one entry of a list for every layer, scores by position that every layer picks its own heads of.

Answers stay what they were. A setting that makes an answer depend on every layer there is, is refused.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from autocompress.anatomy.attention_form import form_of
from autocompress.anatomy.blueprint import Layers, at, base_of, blocks_of, products_of, stacks_of
from autocompress.anatomy.int8 import SharedEmbedding
from autocompress.anatomy.kept_tokens import left_of
from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.errors import SpecError
from autocompress.families import Block, Family, Stack

USUAL_ATTENTION = "usual_attention"
"""Where a model keeps the name of the implementation that it came with."""

HEADS = "kept_heads"
"""The buffer of an attention module, or of its own table of scores, with the heads that it has left."""


def into_plain_form(model: nn.Module, family: Family) -> None:
    """Raises SpecError for what it cannot be put into."""
    _refuse_readers_of_all_layers(model)
    _attend_openly(model)
    lists = stacks_of(model, family)
    for stack in family.stacks:
        if stack.name not in lists:
            continue
        layers = _one_entry_a_layer(model, stack, lists[stack.name])
        for index, layer in enumerate(layers):
            for block in blocks_of(family, stack, layer, index):
                for _, path, module in products_of(block, layer):
                    if hasattr(module, "nf"):
                        put(layer, path, linear_of(module))
                if block.position_bias:
                    _own_bias(block, holder(layer, block), holder(layers[0], block))


def holder(layer: nn.Module, block: Block) -> nn.Module:
    """The module whose forward pass mixes positions: it holds the query."""
    path = next(path for roles, path in block.products.items() if "query" in roles.split("+"))
    return layer.get_submodule(path.rpartition(".")[0])


def put(module: nn.Module, path: str, child: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    setattr(module.get_submodule(owner), name, child)


def linear_of(product: nn.Module) -> nn.Linear:
    """Transformers' Conv1D, whose weight lies the other way round, as a linear layer over the same memory."""
    weight, bias = product.weight, product.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, nn.Parameter)
    linear = nn.Linear(weight.shape[0], weight.shape[1], device="meta")
    linear.weight = nn.Parameter(weight.detach().T, requires_grad=weight.requires_grad)
    linear.bias = bias
    return linear


def count_layers(model: nn.Module, stack: Stack, kept: list[int], layers: nn.ModuleList) -> None:
    """Tells a stack which of its layers are left: the config of the module that holds it, and the layers."""
    base: Any = base_of(model)
    holding: Any = base.get_submodule(stack.path.rpartition(".")[0])
    if stack.shared is not None:
        holding.config = copy.copy(holding.config)  # the model's says what it was made as
        _tell(holding.config, stack.shared, len(kept))
        _tell(holding.config, "num_hidden_groups", len(kept))
    if stack.listed and (entries := getattr(base.config, stack.listed, None)):  # caches are made as it says, too
        _tell(base.config, stack.listed, [entries[place] for place in kept])
    for place, layer in enumerate(layers):
        for module in layer.modules():
            if isinstance(getattr(module, "layer_idx", None), int):  # where a cache keeps its keys and values
                module.layer_idx = place  # type: ignore[assignment]


def _tell(config: Any, name: str, value: Any) -> None:
    """Past the checks of the config's class, which compare fields that change one after the other."""
    config.__dict__[getattr(config, "attribute_map", {}).get(name, name)] = value


def _refuse_readers_of_all_layers(model: nn.Module) -> None:
    if getattr(getattr(model, "config", None), "use_weighted_layer_sum", False):
        raise SpecError(
            "model: its config has `use_weighted_layer_sum: true`, so its head reads every layer and none can be taken "
            "out (allowed: false); take a checkpoint whose head reads the last one"
        )


def _attend_openly(model: nn.Module) -> None:
    """Fused attention reads sizes of its own and is exported with a guard for rows that are masked wholly (a tenth of
    the time). Sub-modules may have copies of the config."""
    chosen = str(getattr(getattr(model, "config", None), "_attn_implementation", "eager"))
    if not hasattr(model, USUAL_ATTENTION):
        setattr(model, USUAL_ATTENTION, chosen)
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation") and form_of(module) == FULL_ATTENTION and left_of(module) is None:
            config._attn_implementation = "eager"  # type: ignore[union-attr]


def _one_entry_a_layer(model: nn.Module, stack: Stack, layers: nn.ModuleList) -> nn.ModuleList:
    """Layers that are computed several times stand in the list as often."""
    if stack.shared is None or isinstance(layers, Layers):
        return layers
    base: Any = base_of(model)
    count = int(getattr(base.config, stack.shared))
    layers = Layers([layers[place * len(layers) // count] for place in range(count)])
    put(base, stack.path, layers)
    count_layers(model, stack, list(range(count)), layers)
    return layers


class HeadTable(SharedEmbedding):
    """A table with one column a head, of which a layer reads those of the heads that it has left; the table itself is
    one for all layers."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(table)
        self.register_buffer(HEADS, None, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        found = nn.functional.embedding(positions, self.weight)
        heads = getattr(self, HEADS)
        return found if heads is None else found[..., heads]


def _own_bias(block: Block, attention: nn.Module, first: nn.Module) -> None:
    """Every layer finds the scores of its own heads, or picks them out of what it is given."""
    table = at(first, block.bias_table) if block.bias_table else None
    if isinstance(table, nn.Embedding) and not isinstance(at(attention, block.bias_table), HeadTable):
        setattr(attention, block.bias_table, HeadTable(table))
        setattr(attention, f"has_{block.bias_table}", True)
    hook = _pick if block.position_bias == "given" else _find_anew
    if hook not in attention._forward_pre_hooks.values():
        attention.register_forward_pre_hook(hook, with_kwargs=True)
        attention.register_buffer(HEADS, None, persistent=False)


def keep_bias_heads(block: Block, attention: nn.Module, heads: Tensor) -> None:
    """Of the scores by position, those of these heads from now on."""
    owner = at(attention, block.bias_table) if block.bias_table else attention
    if owner is None or not hasattr(owner, HEADS):
        return
    before = getattr(owner, HEADS)
    setattr(owner, HEADS, heads if before is None else before[heads])


def _find_anew(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forgets scores that another layer found, for its own heads."""
    return args, {**kwargs, "position_bias": None}


def _pick(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """[batch, all heads, queries, keys] -> those of the heads that the module has left."""
    heads = getattr(module, HEADS)
    if heads is None:
        return args, kwargs
    given = [one[:, heads] if isinstance(one, Tensor) and place == 2 else one for place, one in enumerate(args)]
    if isinstance(bias := kwargs.get("position_bias"), Tensor):
        kwargs = {**kwargs, "position_bias": bias[:, heads]}
    return tuple(given), kwargs
