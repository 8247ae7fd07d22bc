"""Feed-forward blocks: two products with an activation between them, or three where one of two gates the other."""

from __future__ import annotations

from autocompress.anatomy.weights import FeedForwardWeights
from autocompress.deploy.nodes import Graph


def feed(graph: Graph, block: FeedForwardWeights, hidden: str, activation: str) -> str:
    """[batch, length, hidden] -> the same."""
    if block.gate is None:
        wide = graph.activation(activation, graph.linear("up", hidden, block.up, block.bits))
    else:
        gate, up = graph.linears("gate_up", hidden, [block.gate, block.up], block.bits)
        wide = graph.node("Mul", graph.activation(activation, gate), up)
    return graph.linear("down", wide, block.down, block.bits)
