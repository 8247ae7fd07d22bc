"""A live model of any family as an ONNX graph: traced by torch's exporter, but for its products.

What lies between the products (attention scores, masks, positions, normalisations, convolutions) is the family's own
code and is traced as it is; each product and each table of tokens is a hole in the trace, which is then filled by the
nodes of the written form (`nodes`), in fp32 or quantized. So one trace serves every precision, its int8 products are
those that the runtime fuses, weights are named as the model's parameters, and no family needs a graph of its own.

torch.onnx.export with `dynamo=True` is the form that torch maintains; it needs onnxscript, as the stock export does.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocompress.anatomy.heads import AUDIO, head_of
from autocompress.anatomy.int8 import Int8Embedding, Int8Linear, SharedEmbedding
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.sparse import sparsity_of
from autocompress.core.lowering import PLAIN
from autocompress.core.opsets import PLAIN_OPSET
from autocompress.deploy.first_row import DOMAIN, NAME, PRODUCT, TABLE, WHOLE_INPUT, first_row_alone
from autocompress.deploy.nodes import Graph

logger = logging.getLogger(__name__)

_TALKATIVE: Final = ("torch.onnx", "onnxscript", "torch.__trace")
"""They list optional libraries, how they convert old opsets, and every step of a trace, for whoever records it."""

_AVERAGED: Final = "projector"
"""The product whose results a classifier of sounds averages over time."""

Axes = Mapping[str, Mapping[int, str]]
"""By input, the axes whose size is free, by their names; those of one name are of one size."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A model's graph with holes where its products and token tables are; `one_row` are the paths of the products that
    it computes for the first row alone, as its head reads no other."""

    model: onnx.ModelProto
    one_row: frozenset[str]


def trace(
    live: LiveModel,
    example: Mapping[str, Tensor],
    axes: Axes,
    *,
    outputs: Sequence[str] = ("logits",),
    opset: int = PLAIN_OPSET,
    first_row: bool = True,
) -> Trace:
    """The graph of a model, with holes where its products and token tables are: for `fill`.

    `example` is what it is called with, on sizes that are not special (2 or more on every free axis); `outputs` are
    named as the model's own. Without `first_row` every layer computes every position, whatever the head reads.
    """
    caller = _Caller(_holed(live.copy()), tuple(example), tuple(outputs))
    sizes = {name: torch.export.Dim(name) for free in axes.values() for name in free.values()}
    dynamic = tuple({axis: sizes[name] for axis, name in axes.get(given, {}).items()} for given in example)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            caller,
            tuple(example.values()),
            dynamo=True,
            dynamic_shapes={"given": dynamic},
            opset_version=opset,
            input_names=list(example),
            output_names=list(outputs),
            verbose=False,
        )
    if live.read is None or not first_row:
        return Trace(program.model_proto, frozenset())
    found = Trace(*first_row_alone(program.model_proto))
    if left := sorted(live.one_row() - found.one_row):
        logger.warning("the last layer computes every position: %s is not reached from the head's first", left[0])
    return found


def fill(trace: Trace, live: LiveModel) -> onnx.ModelProto:
    """A trace with the products of a model that is cut as it was then, in the precision that it has now."""
    traced = trace.model
    (opset,) = (one.version for one in traced.opset_import if not one.domain)
    graph = Graph(PLAIN, opset)
    varying = {one.name for one in traced.graph.input}
    for node in traced.graph.node:
        if varies := not varying.isdisjoint(node.input):
            varying.update(node.output)
        if node.domain != DOMAIN:
            graph.nodes.append(_bare(node))
            continue
        about = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        name = about[NAME].decode()
        with graph.within(name):
            module = live.model.get_submodule(name)
            if node.op_type == TABLE:
                graph.looked_up(_array(module.weight), _bits(module), node.input[0])
            else:
                _product(graph, module, node.input[0], first=WHOLE_INPUT in about, constant=not varies)
        graph.nodes[-1].output[0] = node.output[0]
    for tensor in traced.graph.initializer:
        graph.keep(_bare(tensor))
    return graph.model(list(map(_bare, traced.graph.input)), list(map(_bare, traced.graph.output)))


def _bare(proto: Any) -> Any:
    """A copy without what the exporter notes beside: lines of code with the paths of this machine."""
    copied = type(proto)()
    copied.CopyFrom(proto)
    copied.ClearField("doc_string")
    copied.ClearField("metadata_props")
    return copied


def _product(graph: Graph, module: nn.Module, tensor: str, *, first: bool, constant: bool) -> None:
    limits = relief = None
    if isinstance(module, Int8Linear):
        limits = None if module.limits is None else (float(module.limits[0]), float(module.limits[1]))
        relief = None if module.relief is None else _array(module.relief)
    bias = None if module.bias is None else _array(module.bias)
    weight = np.ascontiguousarray(_array(module.weight).T)
    graph.product(
        tensor,
        weight,
        bias,
        _bits(module),
        limits=limits,
        relief=relief,
        sparsity=sparsity_of(module),
        first=first,
        constant=constant,
    )


def _bits(module: nn.Module) -> Any:
    return module.bits if isinstance(module, Int8Linear | Int8Embedding) else 32


def _array(tensor: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().float().numpy()
    return found


class _Caller(nn.Module):
    """Calls a model with its inputs by name, and gives some of its outputs."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.inputs, given, strict=True)))
        return tuple(found[name] for name in self.outputs)


class _HoledProduct(nn.Linear):
    """A linear layer whose product is left out of a trace; its weight stays, as some models look at it."""

    def __init__(self, linear: nn.Linear, path: str) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.path = linear.in_features, linear.out_features, path
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        return _hole(PRODUCT, inputs, self.path, (*inputs.shape[:-1], self.out_features))


class _OfTheMean(nn.Module):
    """A product that is computed of the mean over positions, as its results are averaged: the same numbers."""

    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        self.product = product

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.product(inputs.mean(1, keepdim=True))
        return found


class _HoledTable(SharedEmbedding):
    """The same for rows by token."""

    def __init__(self, table: nn.Embedding, path: str) -> None:
        super().__init__(table)
        self.path = path

    def forward(self, ids: Tensor) -> Tensor:
        return _hole(TABLE, ids, self.path, (*ids.shape, self.embedding_dim))


def _hole(kind: str, given: Tensor, path: str, shape: Sequence[int]) -> Tensor:
    found: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{kind}", (given,), attrs={NAME: path}, dtype=torch.float32, shape=shape, version=1
    )
    return found


def _holed(live: LiveModel) -> nn.Module:
    """In place. Weights that are held in another form, as direction and magnitude, are multiplied out."""
    model = live.model.eval()
    model.config.use_cache = False  # type: ignore[union-attr]
    tables = live.token_tables()
    for slot in tables.values():
        slot.put(_HoledTable(cast(nn.Embedding, slot.module), next(iter(tables))))
    for path, module in list(model.named_modules()):
        holder, _, name = path.rpartition(".")
        if parametrize.is_parametrized(module):
            setattr(model.get_submodule(holder), name, _multiplied_out(module))
        elif isinstance(module, nn.Linear):
            hole = _HoledProduct(module, path)
            averaged = path == _AVERAGED and head_of(model) == AUDIO
            setattr(model.get_submodule(holder), name, _OfTheMean(hole) if averaged else hole)
    return model


def _multiplied_out(module: nn.Module) -> nn.Module:
    """A module with plain weights in place of those that are held as direction and magnitude. Torch's own way changes
    a class that all copies of the module share."""
    plain: nn.Module = object.__new__(parametrize.type_before_parametrizations(module))
    nn.Module.__init__(plain)
    plain.__dict__.update({name: value for name, value in module.__dict__.items() if not name.startswith("_")})
    for name, tensor in module.named_parameters(recurse=False):
        plain.register_parameter(name, tensor)
    for name in cast(nn.ModuleDict, module.parametrizations):
        plain.register_parameter(name, nn.Parameter(getattr(module, name).detach()))
    return plain
