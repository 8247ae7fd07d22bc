"""What stands before the layers: tables that tokens are looked up in, patches of an image, convolutions over sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from autocompress.anatomy.weights import ConvolutionWeights, EmbeddingWeights, PatchWeights, SoundWeights
from autocompress.core.audio_inputs import SOUND
from autocompress.core.image_inputs import PIXELS
from autocompress.core.text_inputs import IDS, MASK, TYPES
from autocompress.deploy.nodes import Graph

INPUTS: Final = (IDS, MASK)


def inputs_of(front: EmbeddingWeights | PatchWeights | SoundWeights) -> Sequence[onnx.ValueInfoProto]:
    """What a graph is called with."""
    if isinstance(front, PatchWeights):
        sizes = ["batch", front.kernel.shape[1], *front.size]
        return [helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, sizes)]
    if isinstance(front, SoundWeights):
        return [helper.make_tensor_value_info(SOUND, TensorProto.FLOAT, ["batch", front.samples or "samples"])]
    names = INPUTS if front.types is None else (*INPUTS, TYPES)
    return [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names]


def write_front(graph: Graph, front: EmbeddingWeights | PatchWeights | SoundWeights) -> str:
    """[batch, length, hidden]"""
    if isinstance(front, PatchWeights):
        return _patches(graph, front)
    return _sound(graph, front) if isinstance(front, SoundWeights) else _embeddings(graph, front)


def _embeddings(graph: Graph, embeddings: EmbeddingWeights) -> str:
    with graph.within("word"):
        added = graph.looked_up(embeddings.word, embeddings.bits, IDS)
    if embeddings.position is not None:
        with graph.within("position"):
            length, rows = graph.node("Shape", IDS, start=1, end=2), graph.array(embeddings.position, "weight")
            positions = graph.node("Slice", rows, graph.ints([0]), length, graph.ints([0]))
        added = graph.node("Add", added, positions)
    if embeddings.types is not None:
        with graph.within("type"):
            added = graph.node("Add", added, graph.node("Gather", graph.array(embeddings.types, "weight"), TYPES))
    normed = added if embeddings.norm is None else graph.norm(added, embeddings.norm)
    return graph.linear("projection", normed, embeddings.projection, 32) if embeddings.projection else normed


def _patches(graph: Graph, front: PatchWeights) -> str:
    """Squares are rows of a product: a convolution that moves by its own size is one, and as fast as one this way."""
    hidden, colours, side, _ = front.kernel.shape
    rows, columns = (pixels // side for pixels in front.size)
    squares = graph.node("Reshape", PIXELS, graph.ints([0, colours, rows, side, columns, side]))
    squares = graph.node("Transpose", squares, perm=[0, 2, 4, 1, 3, 5])
    squares = graph.node("Reshape", squares, graph.ints([0, rows * columns, colours * side * side]))
    kernel = np.ascontiguousarray(front.kernel.reshape(hidden, -1).T)
    patches = graph.node("MatMul", squares, graph.array(kernel, "weight"))
    patches = graph.node("Add", patches, graph.array(front.position, "position"))
    batch = graph.node("Shape", PIXELS, start=0, end=1)
    sizes = graph.node("Concat", batch, graph.ints([len(front.first), hidden]), axis=0)
    return graph.node("Concat", graph.node("Expand", graph.array(front.first, "first"), sizes), patches, axis=1)


def _sound(graph: Graph, front: SoundWeights) -> str:
    heard = graph.node("Unsqueeze", SOUND, graph.ints([1]))  # [batch, 1, samples]
    for place, convolution in enumerate(front.convolutions):
        with graph.within(str(place)):
            heard = graph.activation(
                front.activation, _normed(graph, _convolved(graph, convolution, heard), convolution)
            )
    hidden = graph.norm(graph.node("Transpose", heard, perm=[0, 2, 1]), front.norm)
    hidden = graph.linear("projection", hidden, front.projection, 32)
    with graph.within("position"):
        places = front.position.kernel.shape[2]
        around = (places // 2, places // 2 - (places % 2 == 0))  # as many places as before
        turned = graph.node("Transpose", hidden, perm=[0, 2, 1])
        told = graph.activation(front.activation, _convolved(graph, front.position, turned, pads=around))
        hidden = graph.node("Add", hidden, graph.node("Transpose", told, perm=[0, 2, 1]))
    if front.last_norm is None:
        return hidden
    with graph.within("last"):
        return graph.norm(hidden, front.last_norm)


def _convolved(graph: Graph, one: ConvolutionWeights, heard: str, *, pads: tuple[int, int] = (0, 0)) -> str:
    tensors = [graph.array(one.kernel, "weight")]
    tensors += [] if one.bias is None else [graph.array(one.bias, "bias")]
    return graph.node("Conv", heard, *tensors, strides=[one.stride], group=one.groups, pads=list(pads))


def _normed(graph: Graph, heard: str, one: ConvolutionWeights) -> str:
    """[batch, channels, time] -> the same."""
    if one.norm is None:
        return heard
    if not one.over_time:
        return graph.node(
            "Transpose", graph.norm(graph.node("Transpose", heard, perm=[0, 2, 1]), one.norm), perm=[0, 2, 1]
        )
    with graph.within("norm"):
        bias = np.zeros_like(one.norm.scale) if one.norm.bias is None else one.norm.bias
        scale, shift = graph.array(one.norm.scale, "scale"), graph.array(bias, "bias")
        return graph.node("InstanceNormalization", heard, scale, shift, epsilon=one.norm.epsilon)
