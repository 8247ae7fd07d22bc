"""Local attention with global positions, in blocks of a window (see `anatomy.attention_form.local`). A text is filled
up to whole blocks inside of the graph, so that its length is free."""

from __future__ import annotations

from typing import final

import numpy as np
from onnx import TensorProto

from autocompress.deploy.blocks.attention_form.mixed import END, MASKED, Filled, Mixed, cut, of_all, weighed
from autocompress.deploy.nodes import Graph


def local(graph: Graph, mixed: Mixed) -> str:
    """As `Nodes`."""
    query, key, value, mask, count = mixed.query, mixed.key, mixed.value, mixed.mask, mixed.form.globals
    if mixed.alone:
        if not count:
            key, value = (cut(graph, one, 0, mixed.form.window + 1, 1) for one in (key, value))
            mask = cut(graph, mask, 0, mixed.form.window + 1, 3) if mask else ""
        return of_all(graph, query, key, value, mask)
    near = _Blocks(graph, mixed).near()
    if not count:
        return near
    first = of_all(graph, cut(graph, query, 0, count, 1), key, value, mask)
    return graph.node("Concat", first, cut(graph, near, count, END, 1), axis=1)


@final
class _Blocks:
    """The tensors of one attention, in blocks. Those that hang on the length alone are written once for all layers."""

    def __init__(self, graph: Graph, mixed: Mixed) -> None:
        self._graph, self._mixed, self._window = graph, mixed, mixed.form.window
        text = Filled.of(graph, mixed)
        self._length, self._filled, self._count = text.length, text.filled, text.count

    def near(self) -> str:
        """Of all queries [batch, length, heads, head size]; those of global positions see what is near them alone."""
        graph, mixed = self._graph, self._mixed
        own = graph.node("Transpose", self._by_block(mixed.query, beside=False), perm=[0, 1, 3, 2, 4])
        key = self._beside(mixed.key, [0, 1, 3, 4, 2], 4)
        value = self._beside(mixed.value, [0, 1, 3, 2, 4], 3)
        found = graph.node("Transpose", weighed(graph, own, key, value, self._mask()), perm=[0, 1, 3, 2, 4])
        by_place = graph.node("Reshape", found, graph.ints([0, -1, mixed.heads, mixed.head_size]))
        return graph.node("Slice", by_place, graph.ints([0]), self._length, graph.ints([1]))

    def _by_block(self, tensor: str, *, beside: bool) -> str:
        """[batch, length, heads, head size] -> [batch, blocks, window, heads, head size], with an empty block before
        and one behind where asked for."""
        before = self._window if beside else 0
        behind = self._graph.once("Add", self._filled, self._graph.ints([before])) if beside else self._filled
        starts, ends = self._graph.ints([0, before, 0, 0, 0]), self._graph.ints([0, 0])
        filled = self._graph.node("Pad", tensor, self._graph.once("Concat", starts, behind, ends, axis=0))
        sizes = [0, -1, self._window, self._mixed.heads, self._mixed.head_size]
        return self._graph.node("Reshape", filled, self._graph.ints(sizes))

    def _beside(self, tensor: str, order: list[int], axis: int) -> str:
        """Keys or values that a block sees: global ones, those before, its own and those behind, along an axis of what
        comes out in this order."""
        graph, count = self._graph, self._mixed.form.globals
        blocks = graph.node("Transpose", self._by_block(tensor, beside=True), perm=order)
        seen = [cut(graph, blocks, *ends, 1) for ends in ((0, -2), (1, -1), (2, END))]
        if count:
            first = graph.node("Unsqueeze", cut(graph, tensor, 0, count, 1), graph.ints([1]))
            first = graph.node("Transpose", first, perm=order)
            one = graph.ints([1])
            times = graph.once("Concat", one, self._count, graph.ints([1, 1, 1]), axis=0)
            seen.insert(0, graph.node("Expand", first, times))
        return graph.node("Concat", *seen, axis=axis)

    def _mask(self) -> str:
        """What is added to the scores of each block [batch, blocks, 1, window, globals + 3 windows]."""
        graph, window, count = self._graph, self._window, self._mixed.form.globals
        added = self._mixed.mask
        if not added:
            sizes = graph.once("Concat", graph.ints([1, 1, 1]), self._length, axis=0)
            added = graph.once("Expand", graph.scalar(0.0), sizes)
        apart = self._without_first(added) if count else added
        behind = graph.once("Add", self._filled, graph.ints([window]))
        pads = graph.once("Concat", graph.ints([0, 0, 0, window, 0, 0, 0]), behind, axis=0)
        padded = graph.once("Pad", apart, pads, graph.scalar(MASKED))
        blocks = graph.once("Reshape", padded, graph.ints([0, -1, 1, 1, window]))
        ends = ((0, -2), (1, -1), (2, END))
        seen = [graph.once("Slice", blocks, *(graph.ints([one]) for one in (*pair, 1))) for pair in ends]
        place, other = np.arange(window)[:, None], np.arange(3 * window)
        outside = (other < place) | (other > place + 2 * window)
        band = graph.shared(np.where(outside, np.float32(MASKED), np.float32(0)))
        beside = graph.once("Add", graph.once("Concat", *seen, axis=4), band)
        if not count:
            return beside
        first = graph.once("Slice", added, *(graph.ints([one]) for one in (0, count, 3)))
        times = graph.once("Concat", graph.ints([1]), self._count, graph.ints([1, window, 1]), axis=0)
        return graph.once(
            "Concat", graph.once("Expand", graph.once("Unsqueeze", first, graph.ints([1])), times), beside, axis=4
        )

    def _without_first(self, added: str) -> str:
        """The global positions are seen before, and once."""
        graph = self._graph
        end = graph.once("Squeeze", self._length)
        places = graph.once("Range", graph.integer(0), end, graph.integer(1))
        first = graph.once("Less", places, graph.integer(self._mixed.form.globals))
        masked = graph.once("Mul", graph.once("Cast", first, to=TensorProto.FLOAT), graph.scalar(MASKED))
        return graph.once("Add", added, masked)
