"""Linear attention by elu + 1 (see `anatomy.attention_form.linear`)."""

from __future__ import annotations

from onnx import TensorProto

from autocompress.anatomy.attention_form.linear import LEAST
from autocompress.deploy.blocks.attention_form.mixed import MASKED, Mixed
from autocompress.deploy.nodes import Graph


def linear(graph: Graph, mixed: Mixed) -> str:
    """As `Nodes`."""
    asking = _feature(graph, graph.node("Transpose", mixed.query, perm=[0, 2, 1, 3]))
    asked = _feature(graph, graph.node("Transpose", mixed.key, perm=[0, 2, 3, 1]))
    return summed(graph, mixed, asking, asked)


def _feature(graph: Graph, tensor: str) -> str:
    return graph.node("Add", graph.node("Elu", tensor), graph.scalar(1.0))


def summed(graph: Graph, mixed: Mixed, asking: str, asked: str) -> str:
    """Features of queries [batch, heads, queries, features] and of keys [batch, heads, features, length]: for each of
    the queries the mean of values, weighed by products of features, [batch, queries, heads, head size]."""
    told, real = graph.node("Transpose", mixed.value, perm=[0, 2, 1, 3]), there(graph, mixed)
    if mixed.mask:
        told = graph.node("Mul", told, real)
    found = graph.node("MatMul", asking, graph.node("MatMul", asked, told))
    weight = graph.node("MatMul", asking, graph.node("MatMul", asked, real))
    mean = graph.node("Div", found, graph.node("Add", weight, graph.scalar(LEAST)))
    return graph.node("Transpose", mean, perm=[0, 2, 1, 3])


def there(graph: Graph, mixed: Mixed) -> str:
    """1 where a position is there, 0 where it is padding: [batch, 1, length, 1]."""
    if not mixed.mask:
        length = graph.node("Shape", mixed.key, start=1, end=2)
        one = graph.ints([1])
        return graph.node("Expand", graph.scalar(1.0), graph.node("Concat", one, one, length, one, axis=0))
    real = graph.once("Cast", graph.once("Greater", mixed.mask, graph.scalar(MASKED / 2)), to=TensorProto.FLOAT)
    return graph.once("Transpose", real, perm=[0, 1, 3, 2])
