"""What stands behind the layers: dense layers on the first position or on the mean, or the mean itself."""

from __future__ import annotations

from onnx import TensorProto

from autocompress.anatomy.weights import EmbeddingWeights, EncoderWeights
from autocompress.core.text_inputs import MASK
from autocompress.deploy.nodes import Graph


def write_head(graph: Graph, weights: EncoderWeights, hidden: str) -> None:
    """[batch, positions, hidden] -> [batch, classes], or that of each position; without dense layers [batch, hidden],
    of length 1."""
    if weights.reads in ("each", "late"):
        pooled = hidden
    elif weights.reads == "first":
        pooled = graph.node("Gather", hidden, graph.integer(0), axis=1)  # [batch, hidden]
    elif not weights.head:
        _of_length_one(graph, _total(graph, hidden))
        return
    else:
        pooled = _mean(graph, weights, hidden)
    for position, linear in enumerate(weights.head):
        if position and weights.head_activation:
            pooled = graph.activation(weights.head_activation, pooled)
        if position and weights.head_norm is not None:
            pooled = graph.norm(pooled, weights.head_norm)
        with graph.within(str(position)):
            if weights.reads in ("each", "late"):
                pooled = graph.product(pooled, linear.weight, linear.bias, 32)
                continue
            tensors = [graph.array(linear.weight, "weight")]
            tensors += [] if linear.bias is None else [graph.array(linear.bias, "bias")]
            pooled = graph.node("Gemm", pooled, *tensors)
    if weights.reads == "late":
        _mean(graph, weights, pooled)


def _mean(graph: Graph, weights: EncoderWeights, hidden: str) -> str:
    """Over real positions [batch, hidden]."""
    if not isinstance(weights.embeddings, EmbeddingWeights):
        return graph.mean(hidden, 1)
    count = graph.node("ReduceSum", graph.node("Cast", MASK, to=TensorProto.FLOAT), graph.ints([1]), keepdims=1)
    return graph.node("Div", _total(graph, hidden), count)


def _total(graph: Graph, hidden: str) -> str:
    """The sum over real tokens [batch, hidden]."""
    mask = graph.node("Unsqueeze", graph.node("Cast", MASK, to=TensorProto.FLOAT), graph.ints([1]))
    return graph.node("Squeeze", graph.node("MatMul", mask, hidden), graph.ints([1]))


def _of_length_one(graph: Graph, total: str) -> None:
    """The number of tokens does not matter to what has length 1 afterwards."""
    squares = graph.node("ReduceSum", graph.node("Mul", total, total), graph.ints([1]), keepdims=1)
    graph.node("Div", total, graph.node("Sqrt", squares))
