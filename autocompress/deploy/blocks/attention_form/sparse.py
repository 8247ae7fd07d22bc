"""Attention of blocks, some of them drawn at random (see `anatomy.attention_form.sparse`). A text is filled up to whole
blocks inside of the graph, so that its length is free; what is drawn is found once for all layers of one seed."""

from __future__ import annotations

from typing import final

import numpy as np
from onnx import TensorProto

from autocompress.anatomy.attention_form.sparse import PRIME, factors
from autocompress.deploy.blocks.attention_form.mixed import END, MASKED, Filled, Mixed, cut, of_all, weighed
from autocompress.deploy.nodes import Graph


def sparse(graph: Graph, mixed: Mixed) -> str:
    """As `Nodes`."""
    if mixed.alone:
        return of_all(graph, mixed.query, mixed.key, mixed.value, mixed.mask)
    count = mixed.form.globals
    first = of_all(graph, cut(graph, mixed.query, 0, count, 1), mixed.key, mixed.value, mixed.mask)
    return graph.node("Concat", first, cut(graph, _Blocks(graph, mixed).found(), count, END, 1), axis=1)


@final
class _Blocks:
    """The tensors of one attention, in blocks. Those that hang on the length alone are written once."""

    def __init__(self, graph: Graph, mixed: Mixed) -> None:
        self._graph, self._mixed, self._window = graph, mixed, mixed.form.window
        text = Filled.of(graph, mixed)
        self._length, self._filled, self._count = text.length, text.filled, text.count
        self._batch = graph.once("Shape", mixed.mask or mixed.query, start=0, end=1)
        self._added = mixed.mask or self._nothing()
        self._taken, self._fresh = self._choice()

    def _nothing(self) -> str:
        graph, one = self._graph, self._graph.ints([1])
        sizes = graph.once("Concat", self._batch, one, one, self._length, axis=0)
        return graph.once("Expand", graph.scalar(0.0), sizes)

    def found(self) -> str:
        """Of all queries [batch, length, heads, head size]; those of global positions are not to be read."""
        graph, mixed = self._graph, self._mixed
        own = graph.node("Transpose", self._by_block(mixed.query), perm=[0, 1, 3, 2, 4])
        key = graph.node("Transpose", self._seen(mixed.key), perm=[0, 1, 3, 4, 2])
        value = graph.node("Transpose", self._seen(mixed.value), perm=[0, 1, 3, 2, 4])
        found = graph.node("Transpose", weighed(graph, own, key, value, self._mask()), perm=[0, 1, 3, 2, 4])
        by_place = graph.node("Reshape", found, graph.ints([0, -1, mixed.heads, mixed.head_size]))
        return graph.node("Slice", by_place, graph.ints([0]), self._length, graph.ints([1]))

    def _by_block(self, tensor: str) -> str:
        """[batch, length, heads, head size] -> [batch, blocks, window, heads, head size]"""
        graph = self._graph
        pads = graph.once("Concat", graph.ints([0, 0, 0, 0, 0]), self._filled, graph.ints([0, 0]), axis=0)
        sizes = [0, -1, self._window, self._mixed.heads, self._mixed.head_size]
        return graph.node("Reshape", graph.node("Pad", tensor, pads), graph.ints(sizes))

    def _seen(self, tensor: str) -> str:
        """Keys or values that a block sees, global ones first: [batch, blocks, seen, heads, size]."""
        graph, mixed, one = self._graph, self._mixed, self._graph.ints([1])
        near = graph.node("GatherND", self._by_block(tensor), self._taken, batch_dims=1)
        sizes = [0, 0, self._window * (3 + mixed.form.blocks), mixed.heads, mixed.head_size]
        near = graph.node("Reshape", near, graph.ints(sizes))
        first = graph.node("Unsqueeze", cut(graph, tensor, 0, mixed.form.globals, 1), one)
        times = graph.once("Concat", one, self._count, graph.ints([1, 1, 1]), axis=0)
        return graph.node("Concat", graph.node("Expand", first, times), near, axis=2)

    def _choice(self) -> tuple[str, str]:
        """The blocks that each block sees [batch, blocks, 3 + draws, 1], those outside of the text moved into it, and
        what is added to the scores of those that are outside, or seen already [batch, blocks, 3 + draws, 1]."""
        graph, form = self._graph, self._mixed.form
        places = graph.once("Range", graph.integer(0), graph.once("Squeeze", self._count), graph.integer(1))
        places = graph.once("Unsqueeze", places, graph.ints([0, 2]))  # [1, blocks, 1]
        known = factors(form.blocks, form.seed)
        numbers = graph.once("Mul", graph.once("Add", places, graph.integer(1)), graph.shared(known[0]))
        numbers = graph.once("Mod", graph.once("Add", numbers, graph.shared(known[1])), graph.integer(PRIME))
        drawn = graph.once("Mod", numbers, self._own_blocks())  # [batch, blocks, draws]
        beside = graph.once("Add", places, graph.shared(np.array([-1, 0, 1], np.int64)))
        three = graph.once("Concat", self._batch, graph.ints([1, 1]), axis=0)
        wanted = graph.once("Concat", graph.once("Expand", beside, three), drawn, axis=2)
        last = graph.once("Sub", self._count, graph.integer(1))
        taken = graph.once("Max", graph.once("Min", wanted, last), graph.integer(0))
        outside = self._number(graph.once("Not", graph.once("Equal", taken, wanted)))
        near = graph.once("Less", graph.once("Abs", graph.once("Sub", drawn, places)), graph.integer(2))
        seen = graph.once("Add", self._number(near), self._again(drawn))
        zeros = graph.once("Mul", graph.once("Cast", beside, to=TensorProto.FLOAT), graph.scalar(0.0))
        seen = graph.once("Concat", graph.once("Expand", zeros, three), seen, axis=2)
        twice = graph.once("Min", graph.once("Add", outside, seen), graph.scalar(1.0))
        axis = graph.ints([3])
        fresh = graph.once("Mul", graph.once("Unsqueeze", twice, axis), graph.scalar(MASKED))
        return graph.once("Unsqueeze", taken, axis), fresh

    def _again(self, drawn: str) -> str:
        """How often each of the drawn blocks was drawn for the same one before [batch, blocks, draws]."""
        graph, draws = self._graph, self._mixed.form.blocks
        rows, columns = (graph.once("Unsqueeze", drawn, graph.ints([axis])) for axis in (3, 2))
        earlier = graph.shared(np.tril(np.ones((draws, draws), np.float32), -1))
        same = graph.once("Mul", self._number(graph.once("Equal", rows, columns)), earlier)
        return graph.once("ReduceSum", same, graph.ints([3]), keepdims=0)

    def _own_blocks(self) -> str:
        """How many blocks each text has [batch, 1, 1], padding apart."""
        graph, window = self._graph, self._window
        real = graph.once("Cast", graph.once("Greater", self._added, graph.scalar(MASKED / 2)), to=TensorProto.INT64)
        length = graph.once("ReduceSum", real, graph.ints([2, 3]), keepdims=0)
        whole = graph.once("Div", graph.once("Add", length, graph.integer(window - 1)), graph.integer(window))
        return graph.once("Unsqueeze", graph.once("Max", whole, graph.integer(1)), graph.ints([2]))

    def _mask(self) -> str:
        """What is added to the scores of each block [batch, blocks, 1, 1, globals + seen]."""
        graph, form = self._graph, self._mixed.form
        places = graph.once("Range", graph.integer(0), graph.once("Squeeze", self._length), graph.integer(1))
        first = graph.once("Less", places, graph.integer(form.globals))
        apart = graph.once("Add", self._added, graph.once("Mul", self._number(first), graph.scalar(MASKED)))
        pads = graph.once("Concat", graph.ints([0, 0, 0, 0, 0, 0, 0]), self._filled, axis=0)
        padded = graph.once("Pad", apart, pads, graph.scalar(MASKED))
        blocks = graph.once("Reshape", padded, graph.ints([0, -1, self._window]))
        near = graph.once("Add", graph.once("GatherND", blocks, self._taken, batch_dims=1), self._fresh)
        near = graph.once("Reshape", near, graph.ints([0, 0, 1, 1, self._window * (3 + form.blocks)]))
        given = graph.once("Slice", self._added, *(graph.ints([one]) for one in (0, form.globals, 3)))
        given = graph.once("Unsqueeze", given, graph.ints([1]))
        one = graph.ints([1])
        times = graph.once("Concat", one, self._count, graph.ints([1, 1, 1]), axis=0)
        return graph.once("Concat", graph.once("Expand", given, times), near, axis=4)

    def _number(self, flag: str) -> str:
        return self._graph.once("Cast", flag, to=TensorProto.FLOAT)
