"""Graphs that compute next to nothing but one thing, for finding out how fast a machine can go at all."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autocompress.core.opsets import OPSETS, PLAIN_OPSET
from autocompress.core.storage import Bits


def product_graph(size: int, *, bits: Bits) -> bytes:
    """`x [size, size] -> y [size, size]`: one product with a constant matrix, fp32, or unsigned by signed int8 into
    int32."""
    generator = np.random.default_rng(0)
    if bits == 8:
        weight = generator.integers(-127, 127, (size, size)).astype(np.int8)
        node, inputs, outputs = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    else:
        weight = generator.standard_normal((size, size)).astype(np.float32)
        node, inputs, outputs = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(node, ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", inputs, [size, size])],
        [helper.make_tensor_value_info("y", outputs, [size, size])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return _written(graph)


def idle_graph(nodes: int) -> bytes:
    """`x [1] -> y [1]`: so many nodes, one after the other, that compute one number each. What they take is the
    runtime's own time: to call a node, and to find memory for its result."""
    names = ["x", *(f"x{place}" for place in range(1, nodes)), "y"]
    graph = helper.make_graph(
        [helper.make_node("Sqrt", [before], [after]) for before, after in zip(names, names[1:], strict=False)],
        "idle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    return _written(graph)


def _written(graph: onnx.GraphProto) -> bytes:
    imports, form = [helper.make_opsetid("", PLAIN_OPSET)], OPSETS[PLAIN_OPSET].form
    model = helper.make_model(graph, opset_imports=imports, ir_version=form)
    return bytes(model.SerializeToString())
