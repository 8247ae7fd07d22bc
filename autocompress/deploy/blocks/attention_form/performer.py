"""Attention by positive orthogonal random features (see `anatomy.attention_form.performer`)."""

from __future__ import annotations

import numpy as np

from autocompress.anatomy.attention_form.performer import LEAST, NOWHERE, directions
from autocompress.deploy.blocks.attention_form.linear import summed
from autocompress.deploy.blocks.attention_form.mixed import MASKED, Mixed
from autocompress.deploy.nodes import Graph


def performer(graph: Graph, mixed: Mixed) -> str:
    """As `Nodes`. The directions are in the file, once for all layers."""
    size, form = mixed.head_size, mixed.form
    known = directions(form.features, size, form.seed)
    query = graph.node("Transpose", mixed.query, perm=[0, 2, 1, 3])
    asking = graph.node("MatMul", query, graph.shared(known.T * np.float32(size**0.25)))
    asking = _feature(graph, asking, [-1])
    key = graph.node("Transpose", mixed.key, perm=[0, 2, 3, 1])  # [batch, heads, head size, length]
    square = graph.total(graph.node("Mul", key, key), 2)
    half = graph.node("Mul", square, graph.scalar(0.5 * size**-0.5))
    along = graph.node("MatMul", graph.shared(known * np.float32(size**-0.25)), key)
    asked = graph.node("Sub", along, half)
    if mixed.mask:
        asked = graph.node("Add", asked, graph.once("Mul", mixed.mask, graph.scalar(NOWHERE / MASKED)))
    return summed(graph, mixed, asking, _feature(graph, asked, [2, 3]))


def _feature(graph: Graph, exponent: str, axes: list[int]) -> str:
    """What is largest along the axes is 1."""
    less = graph.node("Sub", exponent, graph.largest(exponent, axes))
    return graph.node("Add", graph.node("Exp", less), graph.scalar(LEAST))
