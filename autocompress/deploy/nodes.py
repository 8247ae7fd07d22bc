"""Nodes and initializers of an ONNX graph, as ONNX Runtime is quick with them: products in fp32, int8 or stored in
fewer bits, tables, normalisations, activations of every opset."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autocompress.anatomy import few_bits
from autocompress.anatomy.int4 import packed
from autocompress.anatomy.int8 import quantize_rows, steps
from autocompress.anatomy.weights import Linear, Norm
from autocompress.core.lowering import Lowering
from autocompress.core.opsets import ATTENTION_OPSET, OPSETS, PLAIN_OPSET
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import BLOCK, Bits, Rounded
from autocompress.deploy.unpacking import few_integers, levels_of, sparse_fp32, sparse_integers

NORM = "LayerNormalization"
BY_SQUARE = frozenset({"Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul"})
"""The nodes of a normalisation by the mean square."""
_BY_TANH = {"approximate": "tanh"}
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", _BY_TANH),
    "gelu_pytorch_tanh": ("Gelu", _BY_TANH),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
"""The node of each activation (`anatomy.ACTIVATIONS` and those of heads), and its attributes."""


class Graph:
    """Nodes and initializers, named after the part of the model that they are in."""

    def __init__(self, lowering: Lowering, opset: int | None) -> None:
        """Raises ValueError for a lowering that the version of ONNX has no nodes for."""
        rules = {*lowering.fp32, *lowering.int8}
        if opset is not None and opset < ATTENTION_OPSET and "attention_node" in rules:
            raise ValueError(f"an `Attention` node needs ONNX opset {ATTENTION_OPSET}, got {opset}")
        self.lowering = lowering
        self._asked, self._opset = opset, opset or PLAIN_OPSET
        self._within: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._small: dict[tuple[str, bytes], str] = {}
        self._quantized: dict[tuple[str, ...], tuple[str, str, str]] = {}
        self._multiplied: dict[str, tuple[str, NDArray[np.float32]]] = {}
        self._uses: collections.Counter[str] = collections.Counter()
        self._written: dict[tuple[str, ...], str] = {}

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        first = f"{'.'.join(self._within)}/{operator}_{len(self.nodes)}"
        names = [first + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names[0]

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """What is written meanwhile is named after this part of the model: `layers.0.attention.output.weight`."""
        self._within.append(part)
        yield
        self._within.pop()

    def split(self, tensor: str, parts: int, *, sizes: Sequence[int] = ()) -> list[str]:
        """Along the last axis, into equal parts or into those of these sizes."""
        if len(set(sizes)) > 1:
            self.node("Split", tensor, self.ints(list(sizes)), outputs=parts, axis=-1)
            return list(self.nodes[-1].output)
        number = {"num_outputs": parts} if self._opset >= 18 else {}  # before, equal parts are what is meant
        self.node("Split", tensor, outputs=parts, axis=-1, **number)
        return list(self.nodes[-1].output)

    def activation(self, name: str, tensor: str) -> str:
        if name == "silu":
            return self.node("Mul", tensor, self.node("Sigmoid", tensor))
        operator, attributes = ACTIVATIONS[name]
        if operator != "Gelu" or self._opset >= 20:
            return self.node(operator, tensor, **attributes)
        if attributes:  # by tanh(sqrt(2 / pi) (x + 0.044715 x^3))
            cube = self.node("Mul", self.node("Mul", tensor, tensor), tensor)
            inner = self.node("Add", tensor, self.node("Mul", cube, self.scalar(0.044715)))
            bent = self.node("Tanh", self.node("Mul", inner, self.scalar((2 / np.pi) ** 0.5)))
        else:
            bent = self.node("Erf", self.node("Div", tensor, self.scalar(2**0.5)))
        both = self.node("Add", bent, self.scalar(1.0))
        return self.node("Mul", self.node("Mul", tensor, both), self.scalar(0.5))

    def array(self, array: NDArray[np.generic], name: str) -> str:
        """A tensor of the part that is being written."""
        return self._stored(array, ".".join((*self._within, name)))

    def _stored(self, array: NDArray[np.generic], name: str) -> str:
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        assert name not in self._initializers or self._initializers[name] == tensor, f"two tensors are called {name}"
        self._initializers[name] = tensor
        return name

    def keep(self, tensor: onnx.TensorProto) -> None:
        """A tensor that was stored elsewhere, under its name."""
        assert tensor.name not in self._initializers, f"two tensors are called {tensor.name}"
        self._initializers[tensor.name] = tensor

    def shared(self, array: NDArray[np.generic]) -> str:
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._small:
            self._small[key] = self._stored(array, f"constant_{len(self._small)}")
        return self._small[key]

    def ints(self, values: list[int]) -> str:
        return self.shared(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        return self.shared(np.array(value, np.int64))

    def scalar(self, value: float) -> str:
        return self.shared(np.array(value, np.float32))

    def byte(self, value: int) -> str:
        return self.shared(np.array(value, np.uint8))

    def norm(self, tensor: str, norm: Norm, name: str = "norm") -> str:
        with self.within(name):
            if norm.by_square:
                return self._norm_by_square(tensor, norm)
            tensors = [self.array(norm.scale, "scale")]
            tensors += [] if norm.bias is None else [self.array(norm.bias, "bias")]
            return self.node(NORM, tensor, *tensors, axis=-1, epsilon=norm.epsilon)

    def _norm_by_square(self, tensor: str, norm: Norm) -> str:
        """In the nodes that runtimes know it by: ONNX has one for it from opset 23 on."""
        square = self.mean(self.node("Pow", tensor, self.scalar(2.0)), -1, keep=True)
        root = self.node("Sqrt", self.node("Add", square, self.scalar(norm.epsilon)))
        return self.node("Mul", self.node("Div", tensor, root), self.array(norm.scale, "scale"))

    def mean(self, tensor: str, axis: int, *, keep: bool = False) -> str:
        """Over one axis, which goes unless it is to be kept."""
        if self._opset >= 18:
            return self.node("ReduceMean", tensor, self.ints([axis]), keepdims=int(keep))
        return self.node("ReduceMean", tensor, axes=[axis], keepdims=int(keep))

    def total(self, tensor: str, axis: int) -> str:
        """Over one axis, which stays."""
        return self.node("ReduceSum", tensor, self.ints([axis]), keepdims=1)

    def largest(self, tensor: str, axes: list[int]) -> str:
        """Over some axes, which stay."""
        if self._opset >= 18:
            return self.node("ReduceMax", tensor, self.ints(axes), keepdims=1)
        return self.node("ReduceMax", tensor, axes=axes, keepdims=1)

    def first(self, tensor: str) -> str:
        """[batch, length, ...] -> [batch, 1, ...]"""
        return self.node("Slice", tensor, self.ints([0]), self.ints([1]), self.ints([1]))

    def linear(self, name: str, tensor: str, part: Linear, bits: Bits, *, first: bool = False) -> str:
        """x W + b, of the `first` token alone, if asked for; in two products where it is held as two factors."""
        if part.behind is None:
            return self.joined(name, tensor, [part], bits, first=first)
        with self.within(name):
            few = self.joined("first", tensor, [part], bits, first=first and not part.over_all)
            return self.linear("second", few, part.behind, bits, first=first and part.over_all)

    def linears(self, name: str, tensor: str, parts: list[Linear], bits: Bits) -> list[str]:
        """Several products of the same x: one, whose result is split. Of those that are held as two factors the first
        ones are part of it."""
        if all(part.behind is None for part in parts):
            sizes = [part.outputs for part in parts]
            return self.split(self.joined(name, tensor, parts, bits), len(parts), sizes=sizes)
        with self.within(name):
            joined = self.joined("first", tensor, parts, bits)
            pieces = self.split(joined, len(parts), sizes=[part.weight.shape[1] for part in parts])
            return [
                piece if part.behind is None else self.linear(f"second.{place}", piece, part.behind, bits)
                for place, (part, piece) in enumerate(zip(parts, pieces, strict=True))
            ]

    def joined(self, name: str, tensor: str, parts: list[Linear], bits: Bits, *, first: bool = False) -> str:
        """Several products of the same x at once, side by side in the last axis; of factors, the first ones."""
        with self.within(name):
            return self._linear(tensor, parts, bits, first=first)

    def _linear(self, tensor: str, parts: list[Linear], bits: Bits, *, first: bool) -> str:
        weight = np.concatenate([part.weight for part in parts], axis=1)
        biases = [np.zeros(part.weight.shape[1], np.float32) if part.bias is None else part.bias for part in parts]
        bias = None if all(part.bias is None for part in parts) else np.concatenate(biases)
        relief, limits = parts[0].relief, parts[0].limits  # products of one input share them
        sparsity = parts[0].sparsity  # and so this, as those of one block do
        return self.product(tensor, weight, bias, bits, limits=limits, relief=relief, sparsity=sparsity, first=first)

    def product(
        self,
        tensor: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        bits: Bits,
        *,
        limits: tuple[float, float] | None = None,
        relief: NDArray[np.float32] | None = None,
        sparsity: Sparsity | None = None,
        first: bool = False,
        constant: bool = False,
    ) -> str:
        """x W + b with W [inputs, outputs], of the `first` token alone if asked for. In int8 with activations as they
        come or between `limits`, and with a `relief` of the inputs. With a `sparsity` zeros are put back as the file is
        loaded. Written twice, it has one weight. A `constant` x depends on no input."""
        if bits == 32:
            held = self.array(weight, "weight") if sparsity is None else sparse_fp32(self, weight.T, sparsity)
            product = self.node("MatMul", self.first(tensor) if first else tensor, held)
        else:
            if relief is not None:
                tensor, weight = self.once("Mul", tensor, self.shared(relief)), weight / relief[:, None]
            columns, scales = self._columns(weight, bits, sparsity)
            if constant:
                product = self._constant_product(tensor, columns, scales[:, 0], limits)
            elif limits is None:
                product = self._dynamic_product(tensor, columns, scales[:, 0], first=first)
            else:
                product = self._static_product(tensor, columns, scales[:, 0], limits, first=first)
        return product if bias is None else self.node("Add", product, self.array(bias, "bias"))

    def _columns(
        self, weight: NDArray[np.float32], bits: Rounded, sparsity: Sparsity | None
    ) -> tuple[str, NDArray[np.float32]]:
        """[inputs, outputs] -> int8 of the same shape, and scales [outputs, 1].

        Of a weight that is used again, a slice that is all of it, and another one every time: ONNX Runtime makes
        unsigned weights of signed ones where the CPU asks for it, and does so wrongly where several nodes share one.
        """
        place = ".".join(self._within)
        if place not in self._multiplied:
            self._multiplied[place] = self.integer_rows(np.ascontiguousarray(weight.T), bits, sparsity)
        rows, scales = self._multiplied[place]
        self._uses[place] += 1
        if (use := self._uses[place]) > 1:
            rows = self.node("Slice", rows, self.ints([0]), self.ints([len(scales) + use]), self.ints([0]))
        return self.node("Transpose", rows, perm=[1, 0]), scales

    def _zero_points(self, count: int) -> str:
        """Of weights, which are symmetric."""
        use = self._uses[".".join(self._within)]
        return self.array(np.zeros(count, np.int8), "zero_point" if use == 1 else f"zero_point.{use}")

    def looked_up(self, table: NDArray[np.float32], bits: Bits, ids: str) -> str:
        """Rows of a table, called `weight`, by token ids [batch, length]: [batch, length, columns]."""
        if bits == 32:
            return self.node("Gather", self.array(table, "weight"), ids)
        if bits == 8:
            rows, scales = quantize_rows(table)
            found = self.node("Gather", self.array(rows, "weight"), ids)
            found = self.node("Cast", found, to=TensorProto.FLOAT)
            return self.node("Mul", found, self.node("Gather", self.array(scales, "scale"), ids))
        whole = torch.from_numpy(table)
        tensors: tuple[NDArray[Any], ...]
        tensors = tuple(one.numpy() for one in packed(whole)) if bits == 4 else few_bits.packed(whole, bits)
        names = ("codes", "multipliers", "scale")
        codes, multipliers, steps_ = (self.array(tensors[i], name) for i, name in enumerate(names))
        found = self.node("Gather", codes, ids)
        if bits == 4:
            signed = self.node("DequantizeLinear", self.halves(found), self.scalar(1.0), self.byte(8))
        else:
            signed = self.node("Cast", levels_of(self, found, bits), to=TensorProto.FLOAT)
            signed = self.node("Reshape", signed, self.ints([0, 0, -1]))
            filled = tensors[1].shape[1] * BLOCK
            signed = self.node("Slice", signed, self.ints([0]), self.ints([filled]), self.ints([2]))
        blocks = self.node("Reshape", signed, self.ints([0, 0, -1, BLOCK]))
        by = self.node("Cast", self.node("Gather", multipliers, ids), to=TensorProto.FLOAT)
        step = self.node("Mul", by, self.node("Gather", steps_, ids))
        unpacked = self.node("Mul", blocks, self.node("Unsqueeze", step, self.ints([-1])))
        unpacked = self.node("Reshape", unpacked, self.ints([0, 0, -1]))
        if (columns := table.shape[1]) % BLOCK:
            unpacked = self.node("Slice", unpacked, self.ints([0]), self.ints([columns]), self.ints([2]))
        return unpacked

    def integer_rows(
        self, table: NDArray[np.float32], bits: Rounded, sparsity: Sparsity | None = None
    ) -> tuple[str, NDArray[np.float32]]:
        """[rows, columns] -> int8 of the same shape, and scales [rows, 1].

        What is stored in fewer bits, or without its zeros, is unpacked by nodes that depend on no input: a runtime runs
        them once, as it loads the file, and none later.
        """
        if sparsity is not None:
            return sparse_integers(self, table, bits, sparsity)
        if bits == 8:
            integers, scales = quantize_rows(table)
            return self.array(integers, "weight"), scales
        if bits != 4:
            return few_integers(self, table, bits)
        codes, multipliers, scale = (tensor.numpy() for tensor in packed(torch.from_numpy(table)))
        both = self.node("Cast", self.halves(self.array(codes, "codes")), to=TensorProto.INT32)
        blocks = self.node("Reshape", both, self.ints([len(table), -1, BLOCK]))
        signed = self.node("Sub", blocks, self.shared(np.array(8, np.int32)))
        by = self.node("Cast", self.array(multipliers[..., None], "multipliers"), to=TensorProto.INT32)
        whole = self.node("Reshape", self.node("Mul", signed, by), self.ints([len(table), -1]))
        cut = self.node("Slice", whole, self.ints([0]), self.ints([table.shape[1]]), self.ints([1]))
        return self.node("Cast", cut, to=TensorProto.INT8), scale

    def halves(self, codes: str) -> str:
        """uint8 [..., n] -> [..., 2 n]: the low halves of all, then the high ones. What is shifted out is cleared
        before: OpenVINO shifts by dividing, and rounds."""
        high = codes
        if self._opset >= 18:
            low, high = (self.node("BitwiseAnd", codes, self.byte(kept)) for kept in (15, 240))
        else:  # what is shifted out of a byte is gone
            left = self.node("BitShift", codes, self.byte(4), direction="LEFT")
            low = self.node("BitShift", left, self.byte(4), direction="RIGHT")
        return self.node("Concat", low, self.node("BitShift", high, self.byte(4), direction="RIGHT"), axis=-1)

    def _dynamic_product(self, tensor: str, columns: str, scales: NDArray[np.float32], *, first: bool) -> str:
        """Activations in 8 bits as they come (one scale and zero point for the whole tensor), weights in signed 8 bits
        with a scale an output channel. In this form ONNX Runtime fuses the four nodes into one kernel."""
        if (tensor,) not in self._quantized:
            self.node("DynamicQuantizeLinear", tensor, outputs=3)
            values, scale, zero = self.nodes[-1].output
            self._quantized[tensor,] = (values, scale, zero)
        values, scale, zero = self._quantized[tensor,]
        zeros = self._zero_points(len(scales))
        product = self.node("MatMulInteger", self.first(values) if first else values, columns, zero, zeros)
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        return self.node("Mul", product, self.node("Mul", scale, self.array(scales, "scale")))

    def _constant_product(
        self, tensor: str, columns: str, scales: NDArray[np.float32], limits: tuple[float, float] | None
    ) -> str:
        """The same integers multiplied in fp32: ONNX Runtime computes it once, as it loads the file, and with kernels
        for whole numbers that overflow on CPUs without VNNI, whatever its session was told."""
        if limits is None:
            self.node("DynamicQuantizeLinear", tensor, outputs=3)
            values, scale, zero = self.nodes[-1].output
        else:
            found = steps(*(torch.tensor(limit, dtype=torch.float32) for limit in limits))
            scale, zero = self.scalar(float(found[0])), self.shared(found[1].numpy().astype(np.uint8))
            values = self.node("QuantizeLinear", tensor, scale, zero)
        whole, shift, weight = (self.node("Cast", one, to=TensorProto.FLOAT) for one in (values, zero, columns))
        product = self.node("MatMul", self.node("Sub", whole, shift), weight)
        return self.node("Mul", product, self.node("Mul", scale, self.array(scales, "scale")))

    def _static_product(
        self, tensor: str, columns: str, scales: NDArray[np.float32], limits: tuple[float, float], *, first: bool
    ) -> str:
        """The same with the scale and zero point of activations fixed, in the form of QuantizeLinear and
        DequantizeLinear around a plain product: what runtimes agree to read as int8."""
        found = steps(*(torch.tensor(limit, dtype=torch.float32) for limit in limits))
        scale, zero = self.scalar(float(found[0])), self.shared(found[1].numpy().astype(np.uint8))
        key = (tensor, scale, zero)
        if key not in self._quantized:
            self._quantized[key] = (self.node("QuantizeLinear", tensor, scale, zero), scale, zero)
        values = self._quantized[key][0]
        inputs = self.node("DequantizeLinear", self.first(values) if first else values, scale, zero)
        zeros = self._zero_points(len(scales))
        weight = self.node("DequantizeLinear", columns, self.array(scales, "scale"), zeros, axis=1)
        return self.node("MatMul", inputs, weight)

    def once(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node that is written once for the same inputs."""
        key = (operator, *inputs, *map(str, attributes.items()))
        if key not in self._written:
            self._written[key] = self.node(operator, *inputs, **attributes)
        return self._written[key]

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """What was written, as a file's content."""
        graph = helper.make_graph(self.nodes, "encoder", inputs, outputs, list(self._initializers.values()))
        needs_attention = any(node.op_type == "Attention" for node in self.nodes)
        opset = self._asked or (ATTENTION_OPSET if needs_attention else PLAIN_OPSET)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            producer_name="autocompress",
            producer_version=_version(),
        )
        model.ir_version = OPSETS[opset].form
        return model


def _version() -> str:
    try:
        return metadata.version("autocompress")
    except metadata.PackageNotFoundError:  # run from a folder, without being installed
        return ""
