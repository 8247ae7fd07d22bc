"""Traced graphs of models whose head reads the first row alone: what serves that row only is computed for it only.

Which rows of a tensor are wanted is followed from the head back to the inputs, node by node: for one row of its result
most nodes take one row of what goes in, maybe along another axis. So the last layer's queries, outputs, feed-forward
block and norms come to run on one row, and its keys and values on all, whatever the family's own code is. A node that
is not known here is computed whole, and the row is cut out of its result.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN: Final = "autocompress"
PRODUCT, TABLE = "Product", "Table"
"""Holes of a trace (see `traced`)."""
NAME, WHOLE_INPUT = "name", "whole_input"
"""Attributes of a hole: its module's path; set where its input is there for all rows, and it is computed for one."""

_EACH: Final = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Dropout", "Equal", "Erf", "Exp", "Floor", "Gelu"),
        *("Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not"),
        *("Or", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh", "Where"),
    )
)
"""Nodes that treat every number alike."""
_ALONG: Final = frozenset({"LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax"})
"""Nodes that mix along one axis."""

Dims = tuple[int | str, ...]
"""Sizes of a tensor: numbers, or the names of free ones."""


@dataclass(frozen=True, slots=True)
class Only:
    """Of a tensor, what lies at place 0 of an axis."""

    axis: int


Wants = Sequence[Only | None]
"""What a node takes of each of its inputs for one row of its result; None is all of it."""


def first_row_alone(traced: onnx.ModelProto) -> tuple[onnx.ModelProto, frozenset[str]]:
    """The same answers by as few rows as they take, and the paths of the products in it that are computed for the first
    row alone. Where the head reads more, the same graph and none."""
    return _Rewriting(traced.graph).rewritten(traced)


@final
@dataclass(slots=True)
class _Demand:
    """Of one tensor: whether all of it is wanted, and along which axes its first row is."""

    whole: bool = False
    axes: set[int] = field(default_factory=set)

    @property
    def alone(self) -> int | None:
        """The axis of which nothing but the first row is wanted, by anybody."""
        return next(iter(self.axes)) if not self.whole and len(self.axes) == 1 else None


@final
class _Rewriting:
    """One graph on its way."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._dims: dict[str, Dims] = {name: tuple(array.shape) for name, array in self._known.items()}
        for one in (*graph.value_info, *graph.input, *graph.output):
            if one.type.tensor_type.HasField("shape"):
                sizes = one.type.tensor_type.shape.dim
                self._dims[one.name] = tuple(size.dim_param or size.dim_value for size in sizes)
        self._demands: dict[str, _Demand] = collections.defaultdict(_Demand)
        self._modes: dict[str, tuple[int, Wants]] = {}
        self._new: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._cut: dict[tuple[str, int], str] = {}

    def rewritten(self, traced: onnx.ModelProto) -> tuple[onnx.ModelProto, frozenset[str]]:
        for one in self._graph.output:
            self._demands[one.name].whole = True
        for node in reversed(self._graph.node):
            self._follow(node)
        products = []
        for node in self._graph.node:
            if _id(node) in self._modes:
                axis, wants = self._modes[_id(node)]
                products += [_name(node)] if node.op_type == PRODUCT else []
                self._write_one(node, axis, wants)
            elif any(name in self._demands for name in node.output):
                self._new.append(node)  # also what reads the first row, where it is the only one there
        found = onnx.ModelProto()
        found.CopyFrom(traced)
        del found.graph.node[:], found.graph.value_info[:], found.graph.initializer[:]
        found.graph.node.extend(self._new)
        used = {name for node in self._new for name in node.input}
        kept = (*self._graph.initializer, *self._constants.values())
        found.graph.initializer.extend(one for one in kept if one.name in used)
        return found, frozenset(products)

    # Backwards: what is wanted

    def _follow(self, node: onnx.NodeProto) -> None:
        wanted = [self._demands[name] for name in node.output if name in self._demands]
        if not wanted:
            return
        axes = {one.alone for one in wanted}
        axis = axes.pop() if len(axes) == 1 else None
        wants = None if axis is None else self._wants(node, axis)
        if axis is not None and wants is not None:
            self._modes[_id(node)] = (axis, wants)
        else:
            for one in wanted:
                one.whole = True
            wants = [self._reads_first(node), *(None for _ in node.input[1:])]
        for name, want in zip(node.input, wants, strict=True):
            if not name:
                continue
            if want is None:
                self._demands[name].whole = True
            else:
                self._demands[name].axes.add(want.axis)

    def _reads_first(self, node: onnx.NodeProto) -> Only | None:
        """What the head does: takes the first of many rows."""
        if node.op_type != "Gather" or len(self._dims.get(node.input[0], ())) != 3 or _integer(node, "axis") != 1:
            return None
        place = self._known.get(node.input[1])
        return Only(1) if place is not None and place.shape == () and int(place) == 0 else None

    def _wants(self, node: onnx.NodeProto, axis: int) -> Wants | None:
        """None where a node is not known, or mixes along the axis."""
        shapes = [self._dims.get(name, () if not name else None) for name in node.input]
        made = self._dims.get(node.output[0])
        if made is None or any(shape is None for shape in shapes):
            return None
        rule = _RULES.get(node.op_type) if node.op_type not in _EACH else _each
        if node.domain == DOMAIN:
            rule = _product if node.op_type == PRODUCT else None
        elif node.op_type in _ALONG:
            rule = _along
        if rule is None:
            return None
        return rule(_Seen(node, [shape for shape in shapes if shape is not None], made, self._known), axis)

    # Forwards: what is written

    def _write_one(self, node: onnx.NodeProto, axis: int, wants: Wants) -> None:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        if node.op_type == PRODUCT and self._demands[node.input[0]].whole and axis == 1:
            copied.attribute.append(helper.make_attribute(WHOLE_INPUT, 1))
        else:
            for place, want in enumerate(wants):
                if want is not None and node.input[place]:
                    copied.input[place] = self._row(node.input[place], want.axis)
        if node.op_type in ("Reshape", "Expand"):
            copied.input[1] = self._sizes(node, axis)
            del copied.attribute[:]
        self._new.append(copied)

    def _row(self, name: str, axis: int) -> str:
        """A tensor's first row, cut out of it where all of it is there."""
        if self._demands[name].alone == axis and not self._is_given(name):
            return name
        if (name, axis) not in self._cut:
            self._cut[name, axis] = f"{name}/first_{axis}"
            ends = [self._ints(values) for values in ([0], [1], [axis])]
            self._new.append(helper.make_node("Slice", [name, *ends], [self._cut[name, axis]]))
        return self._cut[name, axis]

    def _is_given(self, name: str) -> bool:
        return name in self._known or any(one.name == name for one in self._graph.input)

    def _sizes(self, node: onnx.NodeProto, axis: int) -> str:
        """What a result with one row is shaped like."""
        made = self._dims[node.output[0]]
        sizes = [1 if place == axis else size for place, size in enumerate(made)]
        if sum(isinstance(size, str) for size in sizes) <= (node.op_type == "Reshape"):
            return self._ints([size if isinstance(size, int) else -1 for size in sizes])
        before, behind = (
            self._add("Slice", node.input[1], self._ints([start]), self._ints([end]))
            for start, end in ((0, axis), (axis + 1, len(made)))
        )
        return self._add("Concat", before, self._ints([1]), behind, axis=0)

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"sizes/{operator}_{len(self._new)}"
        self._new.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _ints(self, values: list[int]) -> str:
        name = f"rows/{'_'.join(map(str, values))}"
        self._constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name


@dataclass(frozen=True, slots=True)
class _Seen:
    """A node with the sizes of what goes in and of what comes out first, and the tensors that are known."""

    node: onnx.NodeProto
    given: Sequence[Dims]
    made: Dims
    known: Mapping[str, Any]

    def axes(self) -> list[int] | None:
        """The second input of a node that takes its axes there, none below 0; None where they are not known."""
        found = self.known.get(self.node.input[1])
        rank = max(len(self.made), len(self.given[0]))
        return None if found is None else [int(one) % rank for one in np.ravel(found)]


_Rule = Callable[[_Seen, int], Wants | None]


def _id(node: onnx.NodeProto) -> str:
    """What tells nodes apart: no two have the same results."""
    return str(node.output[0])


def _name(node: onnx.NodeProto) -> str:
    return str(next(one.s.decode() for one in node.attribute if one.name == NAME))


def _integer(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def _rest(seen: _Seen) -> list[None]:
    return [None] * (len(seen.given) - 1)


def _each(seen: _Seen, axis: int) -> Wants:
    """Of what is repeated along the axis, all."""
    places = [axis - len(seen.made) + len(shape) for shape in seen.given]
    return [
        Only(place) if place >= 0 and shape[place] != 1 else None
        for place, shape in zip(places, seen.given, strict=True)
    ]


def _along(seen: _Seen, axis: int) -> Wants | None:
    mixed = _integer(seen.node, "axis", -1) % len(seen.made)
    apart = mixed > axis if "Normalization" in seen.node.op_type else mixed != axis
    return [Only(axis), *_rest(seen)] if apart else None


def _product(seen: _Seen, axis: int) -> Wants | None:
    return [Only(axis)] if axis < len(seen.made) - 1 else None


def _transpose(seen: _Seen, axis: int) -> Wants:
    order = next((list(one.ints) for one in seen.node.attribute if one.name == "perm"), None)
    return [Only(order[axis] if order else len(seen.made) - 1 - axis)]


def _matmul(seen: _Seen, axis: int) -> Wants | None:
    left, right = map(len, seen.given)
    if axis == len(seen.made) - 2 and left > 1 and right > 1:
        return [Only(left - 2), None]
    if axis == len(seen.made) - 1 and left > 1 and right > 1:
        return [None, Only(right - 1)]
    return None


def _reshape(seen: _Seen, axis: int) -> Wants | None:
    """Where the axis has a counterpart: the same size, and as many numbers before and behind it."""
    came, made = seen.given[0], seen.made
    for place, size in enumerate(came):
        if size == made[axis] and _count(came[:place]) == _count(made[:axis]):
            behind = _count(came[place + 1 :]) == _count(made[axis + 1 :])
            return [Only(place), None] if behind else None
    return None


def _count(sizes: Iterable[int | str]) -> tuple[int, list[str]]:
    """The product of sizes, of which some have names: `4*batch`, `length`."""
    number, names = 1, []
    for size in sizes:
        for factor in str(size).split("*"):
            if factor.strip().isdigit():
                number *= int(factor)
            else:
                names.append(factor.strip())
    return number, sorted(names)


def _expand(seen: _Seen, axis: int) -> Wants:
    place = axis - len(seen.made) + len(seen.given[0])
    return [Only(place) if place >= 0 and seen.given[0][place] != 1 else None, None]


def _unsqueeze(seen: _Seen, axis: int) -> Wants | None:
    added = seen.axes()
    if added is None or axis in added:
        return None
    return [Only(axis - sum(one < axis for one in added)), None]


def _squeeze(seen: _Seen, axis: int) -> Wants | None:
    dropped = seen.axes() if len(seen.node.input) > 1 else None
    if dropped is None:
        return None
    left = [place for place in range(len(seen.given[0])) if place not in dropped]
    return [Only(left[axis]), None]


def _slice(seen: _Seen, axis: int) -> Wants | None:
    axes = seen.known.get(seen.node.input[3]) if len(seen.node.input) > 3 else None
    if axes is None or axis in [int(one) % len(seen.made) for one in np.ravel(axes)]:
        return None
    return [Only(axis), *_rest(seen)]


def _concat(seen: _Seen, axis: int) -> Wants | None:
    joined = _integer(seen.node, "axis") % len(seen.made)
    return None if joined == axis else [Only(axis) for _ in seen.given]


def _split(seen: _Seen, axis: int) -> Wants | None:
    cut = _integer(seen.node, "axis") % len(seen.made)
    return None if cut == axis else [Only(axis), *_rest(seen)]


def _gather_elements(seen: _Seen, axis: int) -> Wants:
    along = _integer(seen.node, "axis") % len(seen.made)
    return [None if along == axis else Only(axis), Only(axis)]


_RULES: Final[Mapping[str, _Rule]] = {
    "Concat": _concat,
    "Expand": _expand,
    "GatherElements": _gather_elements,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
