"""An encoder's weights as an ONNX graph, written node by node, block by block (`blocks`).

Writing the graph ourselves, instead of tracing the module, decides what the runtime gets to see: q, k and v are one
product, the attention scale is folded into the query, the mask is made once, embeddings are gathered from the precision
they are stored in, and a tensor that feeds several int8 products is quantized once. The last layer computes what the
head reads, the first position or all, and nothing else; its keys and values still come from all. Every operator is
standard ONNX, so that any runtime can read the file. Batch and length stay dynamic.

What is left to choose, a `Lowering` says: a profile measured it on the device.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import onnx
from onnx import TensorProto, helper

from autocompress.anatomy.weights import EmbeddingWeights, EncoderWeights, LayerWeights
from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.deploy.blocks.attention import Masks, Turns, attend, write_masks
from autocompress.deploy.blocks.feed_forward import feed
from autocompress.deploy.blocks.fronts import inputs_of, write_front
from autocompress.deploy.blocks.head import write_head
from autocompress.deploy.blocks.kept_tokens import keep_most_attended
from autocompress.deploy.nodes import BY_SQUARE, NORM, Graph


def write_graph(
    weights: EncoderWeights, *, every_token: bool = False, lowering: Lowering = PLAIN, opset: int | None = None
) -> onnx.ModelProto:
    """The model `(token ids, attention mask) [batch, length] int64 -> logits [batch, classes] float32`, or [batch,
    length, classes] where the head reads each token; of pairs of texts it takes their token types too, of images their
    pixels, of sounds their samples.

    With `every_token` the last layer computes all positions like any other: what profiling compares with. `opset` is
    the version of ONNX that it is written in, the oldest that it can be where none is given: an older one has no node
    for some of what the graph does, and gets several for it.
    """
    graph, every_token = Graph(lowering, opset), every_token or weights.reads != "first"
    inner = weights.layers if every_token else weights.layers[:-1]
    attentions = [layer.attention for layer in weights.layers if layer.attention]
    plain = [layer.attention for layer in inner if layer.attention and layer.attention.form == FULL_ATTENTION]
    used = {rule for block in plain for rule in graph.lowering.rules(block.bits)}
    masks = Masks()
    if isinstance(weights.embeddings, EmbeddingWeights):
        with graph.within("mask"):
            masks = write_masks(graph, attentions, every_query="attention_node" in used)
    with graph.within("rotary"):
        turns = Turns(graph, attentions)
    with graph.within("embeddings"):
        hidden = write_front(graph, weights.embeddings)  # [batch, length, hidden]
    for place, layer in enumerate(weights.layers):
        last = place == len(weights.layers) - 1 and not every_token
        with graph.within(f"layers.{place}"):
            hidden, masks = _layer(graph, layer, hidden, masks, turns, weights, last=last)
    with graph.within("head"):
        hidden = hidden if weights.last_norm is None else graph.norm(hidden, weights.last_norm, "last_norm")
        write_head(graph, weights, hidden)
    graph.nodes[-1].output[0] = "logits"
    classes = weights.head[-1].weight.shape[1] if weights.head else "hidden"
    answered = ["batch", "length", classes] if weights.reads == "each" else ["batch", classes]
    return graph.model(
        inputs_of(weights.embeddings),
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, answered)],
    )


def _layer(
    graph: Graph, layer: LayerWeights, hidden: str, masks: Masks, turns: Turns, weights: EncoderWeights, *, last: bool
) -> tuple[str, Masks]:
    """[batch, length, hidden] -> the same, or [batch, 1, hidden] after the `last` layer; and the masks of what is left
    of the positions."""
    is_pre = weights.order == "pre"
    if block := layer.attention:
        with graph.within("attention"):
            seen = graph.norm(hidden, block.norm) if is_pre and block.norm else hidden
            attended, probabilities = attend(graph, block, seen, masks, turns, last=last)
            hidden = graph.first(hidden) if last else hidden
            hidden = graph.node("Add", attended, hidden)
            hidden = graph.norm(hidden, block.norm) if block.norm and not is_pre else hidden
        if block.keeps is not None and not last:
            with graph.within("kept_tokens"):
                hidden, masks = keep_most_attended(graph, block.keeps, probabilities, hidden, masks)
    elif last:
        hidden = graph.first(hidden)
    if wide := layer.feed_forward:
        with graph.within("feed_forward"):
            seen = graph.norm(hidden, wide.norm) if is_pre else hidden
            hidden = graph.node("Add", feed(graph, wide, seen, weights.activation), hidden)
            hidden = hidden if is_pre else graph.norm(hidden, wide.norm)
    return hidden, masks


class Place(NamedTuple):
    """Where a result stands in a written graph. `block` is 0 for the embeddings and the mask, then counts the attention
    and the feed-forward block of each layer in turn, and the head; `is_norm` holds for the normalisation of a block and
    the sum before it."""

    block: int
    is_norm: bool


_BLOCK: Final = re.compile(r"layers\.\d+\.(attention|feed_forward)|head")
"""What the names of nodes begin with that belong to a block behind the first."""


def _is_norm(node: onnx.NodeProto) -> bool:
    """Whether it is a normalisation, or one of those that make up one by the mean square."""
    return node.op_type == NORM or ("norm/" in node.name and node.op_type in BY_SQUARE)


def written_places(model: onnx.ModelProto) -> dict[str, Place]:
    """The place of every result of a graph of `write_graph`, by its name: a block's nodes are named after it, and stand
    together. Those of a traced graph are counted by its normalisations, which end the blocks of post-norm stacks."""
    norms = {name for node in model.graph.node if _is_norm(node) for name in (node.input[0], node.output[0])}
    found, block, within = {}, 0, ""
    is_named = any(_BLOCK.match(node.name) for node in model.graph.node)
    for node in model.graph.node:
        if (begins := _BLOCK.match(node.name)) is not None and begins.group() != within:
            block, within = block + 1, begins.group()
        found.update({name: Place(block, name in norms) for name in node.output})
        block += not is_named and node.op_type == NORM
    return found
