"""What a head that reads the first row leaves to compute, on small graphs written by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper as arrays
from onnx import TensorProto, helper

from autocompress.deploy.first_row import first_row_alone
from autocompress.deploy.session import Session

ROWS, WIDTH = 5, 4
WEIGHT = np.arange(WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH) / 7 - 1


def graph_of(*nodes: onnx.NodeProto, shaped: dict[str, tuple[int | str, ...]]) -> onnx.ModelProto:
    """`x` [batch, rows, width] -> `answer`; `shaped` says what lies between."""
    free = ["batch", ROWS, WIDTH]
    known = {"weight": WEIGHT, "first": np.array(0), "order": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", WIDTH])],
        [arrays.from_array(array, name) for name, array in known.items()],
        value_info=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims)) for name, dims in shaped.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    return model


def node(operator: str, inputs: str, output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def answers(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model)
    x = np.random.default_rng(0).standard_normal((2, ROWS, WIDTH)).astype(np.float32)
    return Session(model.SerializeToString()).run({"x": x})


FULL = ("batch", ROWS, WIDTH)
HEAD = node("Gather", "last first", "answer", axis=1)


def test_rows_that_nobody_reads_are_cut_off_where_all_of_them_are_still_needed() -> None:
    model = graph_of(
        node("MatMul", "x weight", "inner"),
        node("Softmax", "inner", "bent", axis=-1),
        node("Add", "bent x", "last"),
        HEAD,
        shaped={"inner": FULL, "bent": FULL, "last": FULL},
    )
    found, _ = first_row_alone(model)
    assert [one.op_type for one in found.graph.node] == ["Slice", "MatMul", "Softmax", "Add", "Gather"]
    assert np.allclose(answers(found), answers(model), atol=1e-6)


def test_what_mixes_rows_or_is_not_known_is_computed_whole() -> None:
    mixing = {
        "Softmax": node("Softmax", "x", "inner", axis=1),
        "CumSum": node("CumSum", "x first", "inner"),
        "InstanceNormalization": node("LpNormalization", "x", "inner", axis=1, p=2),
    }
    for name, mixed in mixing.items():
        model = graph_of(mixed, node("Tanh", "inner", "last"), HEAD, shaped={"inner": FULL, "last": FULL})
        found, _ = first_row_alone(model)
        assert [one.op_type for one in found.graph.node][1:] == ["Slice", "Tanh", "Gather"], name
        assert np.allclose(answers(found), answers(model), atol=1e-6), name


def test_a_head_that_reads_another_row_or_all_leaves_a_graph_as_it_is() -> None:
    told = {"last": FULL, "inner": FULL}
    second = [node("Tanh", "x", "last"), node("Gather", "last second", "answer", axis=1)]
    model = graph_of(*second, shaped=told)
    model.graph.initializer.append(arrays.from_array(np.array(1), "second"))
    mean = graph_of(
        node("Tanh", "x", "last"), helper.make_node("ReduceMean", ["last", "rows"], ["answer"], keepdims=0), shaped=told
    )
    mean.graph.initializer.append(arrays.from_array(np.array([1]), "rows"))
    for one in (model, mean):
        found, products = first_row_alone(one)
        assert [a.op_type for a in found.graph.node] == [a.op_type for a in one.graph.node]
        assert not products


def test_a_tensor_that_another_reads_whole_is_computed_once() -> None:
    model = graph_of(
        node("Tanh", "x", "last"),
        node("Gather", "last first", "one", axis=1),
        helper.make_node("ReduceMax", ["last", "rows"], ["most"], keepdims=0),
        node("Add", "one most", "answer"),
        shaped={"last": FULL},
    )
    model.graph.initializer.append(arrays.from_array(np.array([1]), "rows"))
    found, _ = first_row_alone(model)
    assert [one.op_type for one in found.graph.node] == ["Tanh", "Gather", "ReduceMax", "Add"]
    assert np.allclose(answers(found), answers(model), atol=1e-6)
