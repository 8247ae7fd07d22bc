"""Attention: softmax(q k' / sqrt(head size) + mask) v, heads joined and projected; rotary positions and windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from onnx import TensorProto

from autocompress.anatomy.weights import AttentionWeights, Linear, Rotary
from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.text_inputs import IDS, MASK
from autocompress.deploy.blocks.attention_form import FORMS
from autocompress.deploy.blocks.attention_form.mixed import MASKED, Mixed
from autocompress.deploy.nodes import Graph


@dataclass(frozen=True, slots=True)
class Masks:
    """What is added to the scores, nothing where it is empty. An `Attention` node repeats it over heads but not over
    queries, so it wants one `for_every` query, unless there is one query alone. By window there is one for every query,
    and one for the first alone."""

    for_one: str = ""  # [batch, 1, 1, length]
    for_every: str = ""  # [batch, 1, length, length]; empty where no node asks for it
    near: Mapping[int, tuple[str, str]] = field(
        default_factory=dict
    )  # [batch, 1, length, length], [batch, 1, 1, length]

    def of(self, block: AttentionWeights, *, last: bool, node: bool) -> str:
        """That of a block, of which the `last` layer computes the first query alone."""
        if block.window is not None:
            return self.near[block.window][last]
        return self.for_every if node and not last else self.for_one


def write_masks(graph: Graph, blocks: Iterable[AttentionWeights], *, every_query: bool) -> Masks:
    """Of texts: padding, and what lies outside of windows."""
    mask = graph.node("Cast", MASK, to=TensorProto.FLOAT)
    mask = graph.node("Sub", graph.scalar(1.0), mask)
    mask = graph.node("Mul", mask, graph.scalar(MASKED))
    mask = graph.node("Unsqueeze", mask, graph.ints([1, 2]))
    windows = sorted({block.window for block in blocks if block.window is not None})
    near = {window: _near(graph, mask, window) for window in windows}
    if not every_query:
        return Masks(mask, near=near)
    length, one = graph.node("Shape", IDS, start=1, end=2), graph.ints([1])
    every = graph.node("Expand", mask, graph.node("Concat", one, one, length, one, axis=0))
    return Masks(mask, every, near)


def _near(graph: Graph, mask: str, window: int) -> tuple[str, str]:
    """[batch, 1, length, length], and of that the first query's."""
    places = _places(graph)
    apart = graph.node("Sub", graph.node("Unsqueeze", places, graph.ints([1])), places)
    outside = graph.node("Greater", graph.node("Abs", apart), graph.scalar(float(window)))
    added = graph.node("Mul", graph.node("Cast", outside, to=TensorProto.FLOAT), graph.scalar(MASKED))
    every = graph.node("Add", mask, added)
    return every, graph.node("Slice", every, graph.ints([0]), graph.ints([1]), graph.ints([2]))


def _places(graph: Graph) -> str:
    """0, 1, ... length - 1, as fp32 [length]."""
    length = graph.node("Squeeze", graph.node("Shape", IDS, start=1, end=2))
    whole = graph.node("Range", graph.integer(0), length, graph.integer(1))
    return graph.node("Cast", whole, to=TensorProto.FLOAT)


@final
class Turns:
    """Cosines and sines of the angles of positions, made once for each set of frequencies."""

    def __init__(self, graph: Graph, blocks: Iterable[AttentionWeights]) -> None:
        self._made: dict[bytes, tuple[str, str]] = {}
        for block in blocks:
            if (rotary := block.rotary) is not None and rotary.frequencies.tobytes() not in self._made:
                with graph.within(str(len(self._made))):
                    self._made[rotary.frequencies.tobytes()] = self._make(graph, rotary)

    @staticmethod
    def _make(graph: Graph, rotary: Rotary) -> tuple[str, str]:
        """[length, 1, head size] each: cosines twice over; sines, those of the first half taken negative."""
        places = graph.node("Unsqueeze", _places(graph), graph.ints([1, 2]))
        angles = graph.node("Mul", places, graph.array(rotary.frequencies, "frequencies"))
        cosine, sine = graph.node("Cos", angles), graph.node("Sin", angles)
        if rotary.scale != 1:
            cosine, sine = (graph.node("Mul", one, graph.scalar(rotary.scale)) for one in (cosine, sine))
        return (
            graph.node("Concat", cosine, cosine, axis=-1),
            graph.node("Concat", graph.node("Neg", sine), sine, axis=-1),
        )

    def turned(self, graph: Graph, tensor: str, rotary: Rotary, heads: int) -> str:
        """[batch, length, heads * head size] -> [batch, length, heads, head size]: (a, b) becomes (a cos - b sin, b cos
        + a sin), halves of the channels taken together."""
        cosine, sine = self._made[rotary.frequencies.tobytes()]
        by_head = graph.node("Reshape", tensor, graph.ints([0, 0, heads, 2 * len(rotary.frequencies)]))
        first, second = graph.split(by_head, 2)
        swapped = graph.node("Concat", second, first, axis=-1)
        return graph.node("Add", graph.node("Mul", by_head, cosine), graph.node("Mul", swapped, sine))


def attend(
    graph: Graph, block: AttentionWeights, hidden: str, masks: Masks, turns: Turns, *, last: bool
) -> tuple[str, str]:
    """[batch, length, hidden] -> the same, or that of the first token alone; and the probabilities that it is mixed by
    [batch, heads, length, length], where the block keeps some of its positions: else nothing."""
    probabilities = ""
    parts, rules = _projections(graph, block, hidden, turns, last=last), graph.lowering.rules(block.bits)
    if block.form != FULL_ATTENTION:
        context = _of_form(graph, parts, block, masks.for_one, last=last)
    elif "attention_node" in rules and (block.keeps is None or last):
        flat = parts[:2]
        if block.rotary is not None:
            sizes = (graph.ints([0, 0, one.outputs]) for one in (block.query, block.key))
            flat = [graph.node("Reshape", part, inner) for part, inner in zip(flat, sizes, strict=True)]
        added = [mask for mask in (masks.of(block, last=last, node=True),) if mask]
        heads = {"q_num_heads": block.heads, "kv_num_heads": _keys(block)}
        context = graph.node("Attention", *flat, parts[2], *added, **heads, scale=1.0)
    else:
        context, found = _opened(graph, parts, block, masks.of(block, last=last, node=False))
        probabilities = "" if block.keeps is None or last else found
    return graph.linear("output", context, block.output, block.bits), probabilities


def _inner(block: AttentionWeights) -> int:
    return block.query.outputs


def _keys(block: AttentionWeights) -> int:
    return block.keys or block.heads


def _projections(graph: Graph, block: AttentionWeights, hidden: str, turns: Turns, *, last: bool) -> list[str]:
    """Queries, scaled, then keys and values, each [batch, length, heads * head size]; queries of the first token alone
    in the `last` layer. What is turned by rotary positions is [batch, length, heads, head size]; the first is not."""
    query = _scaled(block.query, np.float32((_inner(block) // block.heads) ** -0.5))
    if "projections_apart" in graph.lowering.rules(block.bits):
        first, others = (
            graph.linear("query", hidden, query, block.bits, first=last),
            {"key": block.key, "value": block.value},
        )
        parts = [first, *(graph.linear(name, hidden, part, block.bits) for name, part in others.items())]
    elif last:
        pair = graph.linears("key_value", hidden, [block.key, block.value], block.bits)
        parts = [graph.linear("query", hidden, query, block.bits, first=True), *pair]
    else:
        together = [query, block.key, block.value]
        if block.rotary is not None and all(part.behind is None for part in together):
            joined = graph.joined("query_key_value", hidden, together, block.bits)
            return _turned_together(graph, block, joined, turns)
        parts = graph.linears("query_key_value", hidden, together, block.bits)
    if block.rotary is None:
        return parts
    asked, asked_for, told = parts
    if not last:  # the first position is turned by nothing
        asked = turns.turned(graph, asked, block.rotary, block.heads)
    return [asked, turns.turned(graph, asked_for, block.rotary, _keys(block)), told]


def _turned_together(graph: Graph, block: AttentionWeights, joined: str, turns: Turns) -> list[str]:
    """Queries and keys side by side, as if they were heads of one."""
    assert block.rotary is not None
    inner, keys = _inner(block), block.key.outputs
    graph.node("Split", joined, graph.ints([inner + keys, keys]), outputs=2, axis=-1)
    both, value = graph.nodes[-1].output
    turned = turns.turned(graph, both, block.rotary, block.heads + _keys(block))
    graph.node("Split", turned, graph.ints([block.heads, _keys(block)]), outputs=2, axis=2)
    return [*graph.nodes[-1].output, value]


def _scaled(linear: Linear, scale: np.float32) -> Linear:
    if linear.behind is not None:
        return replace(linear, behind=_scaled(linear.behind, scale))
    bias = None if linear.bias is None else linear.bias * scale
    return replace(linear, weight=linear.weight * scale, bias=bias)


def _of_form(graph: Graph, parts: list[str], block: AttentionWeights, mask: str, *, last: bool) -> str:
    """[batch, length, heads * head size]; of the first token alone in the `last` layer."""
    counts = (block.heads, _keys(block), _keys(block))
    query, key, value = (_by_head(graph, part, block, count) for part, count in zip(parts, counts, strict=True))
    size = _inner(block) // block.heads
    mixed = Mixed(query, key, value, mask, block.form, block.heads, size, alone=last)
    return graph.node("Reshape", FORMS[block.form.name](graph, mixed), graph.ints([0, 0, _inner(block)]))


def _opened(graph: Graph, parts: list[str], block: AttentionWeights, mask: str) -> tuple[str, str]:
    """Operator by operator: [batch, length, heads * head size], and probabilities [batch, heads, length, length]."""
    inner = _inner(block)
    query_heads, key_heads, value_heads = (
        graph.node("Transpose", _by_head(graph, part, block, count), perm=order)
        for part, count, order in zip(
            parts,
            (block.heads, _keys(block), _keys(block)),
            ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]),
            strict=True,
        )
    )
    scores = graph.node("MatMul", query_heads, key_heads)
    scores = graph.node("Add", scores, mask) if mask else scores
    probabilities = graph.node("Softmax", scores, axis=-1)
    context = graph.node("Transpose", graph.node("MatMul", probabilities, value_heads), perm=[0, 2, 1, 3])
    return graph.node("Reshape", context, graph.ints([0, 0, inner])), probabilities


def _by_head(graph: Graph, part: str, block: AttentionWeights, count: int) -> str:
    """[batch, length, count * head size] -> [batch, length, heads, head size]: keys that are shared as often as they
    are read."""
    found = graph.node("Reshape", part, graph.ints([0, 0, count, _inner(block) // block.heads]))
    if count == block.heads:
        return found
    readers = [key for key in range(count) for _ in range(block.heads // count)]
    return graph.node("Gather", found, graph.ints(readers), axis=2)
