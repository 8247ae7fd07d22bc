"""Every way of writing a graph answers alike: rules change how long it takes, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.anatomy.weights import random_weights
from autocompress.core.encoders import held_in, with_layers
from autocompress.core.lowering import RULES, Lowering, Rule
from autocompress.core.opsets import OPSETS, ExportSpec
from autocompress.core.parts import ModelParts
from autocompress.core.storage import PLAIN as UNROUNDED
from autocompress.core.storage import Storage
from autocompress.deploy.export import export_stock
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import bert_shape
from autocompress.devices.validation import random_shapes

LARGEST = bert_shape(hidden=64, heads=4, head_size=16, width=128, layers=4)
SHAPES = random_shapes(LARGEST, count=8, seed=3)
CHOICES: list[tuple[Rule, ...]] = [
    rules for size in range(1, len(RULES) + 1) for rules in itertools.combinations(RULES, size)
]
EVERYTHING = Lowering(fp32=tuple(RULES), int8=tuple(RULES))


def written(shape: ModelParts, seed: int, lowering: Lowering, *, every_token: bool = False) -> onnx.ModelProto:
    weights = random_weights(shape, positions=40, seed=seed)
    return write_graph(weights, every_token=every_token, lowering=lowering)


def logits(model: onnx.ModelProto, seed: int) -> list[NDArray[np.float32]]:
    """Of padded batches of random lengths, one of them a text without any token to attend to but the first."""
    session, generator = Session(model.SerializeToString()), np.random.default_rng(seed)
    found = []
    for batch, length in ((1, 1), (1, 33), (3, 7), (4, int(generator.integers(2, 41)))):
        ids = generator.integers(1, 900, (batch, length))
        real = generator.integers(1, length + 1, (batch, 1))
        real[0] = 1
        found.append(session.run(session.feed(ids, (np.arange(length) < real).astype(np.int64))))
    return found


def in_fp32(shape: ModelParts) -> ModelParts:
    return held_in(shape, UNROUNDED)


@pytest.mark.parametrize("rules", CHOICES, ids="+".join)
@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_no_rule_changes_an_answer(seed: int, rules: tuple[Rule, ...]) -> None:
    shape = SHAPES[seed]
    for one, tolerance in ((in_fp32(shape), 1e-5), (shape, 1e-3)):
        plain = logits(written(one, seed, Lowering()), seed)
        lowered = logits(written(one, seed, Lowering(fp32=rules, int8=rules)), seed)
        for expected, got in zip(plain, lowered, strict=True):
            np.testing.assert_allclose(got, expected, atol=tolerance)


@pytest.mark.parametrize("every_token", [False, True])
def test_a_model_of_both_precisions_takes_the_rules_of_each(every_token: bool) -> None:
    shape = LARGEST
    for layer in (0, 2):
        shape = shape.with_part(f"layers.{layer}.attention", lambda part: part.with_storage(Storage(8)))
    model = written(shape, 0, Lowering(int8=("attention_node",)), every_token=every_token)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Attention") == 2
    assert operators.count("Softmax") == 2
    for expected, got in zip(
        logits(written(shape, 0, Lowering(), every_token=every_token), 0), logits(model, 0), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(("opset", "lowering"), [(20, Lowering(fp32=("projections_apart",))), (23, EVERYTHING)])
def test_a_graph_is_valid_in_the_opset_that_it_names(opset: int, lowering: Lowering) -> None:
    model = written(in_fp32(LARGEST), 0, lowering)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert model.ir_version == OPSETS[opset].form
    assert all(node.domain == "" for node in model.graph.node), "standard operators alone"


@pytest.mark.parametrize("opset", OPSETS)
def test_an_older_opset_answers_alike(opset: int) -> None:
    """What it has no node for, it has several for: halves of bytes, GELU, a split into equal parts."""
    for bits in (8, 4):
        held = Storage(bits)  # type: ignore[arg-type]
        some = [LARGEST.of_layer("layers", index) for index in (0, 3)]
        layers = [(attention.with_storage(held), wide) for attention, wide in some]
        shape = with_layers(LARGEST, layers, words_in=held)
        weights = random_weights(shape, positions=40, seed=0)
        model = write_graph(weights, opset=opset)
        onnx.checker.check_model(model, full_check=True)
        assert ([entry.version for entry in model.opset_import], model.ir_version) == ([opset], OPSETS[opset].form)
        for expected, got in zip(logits(write_graph(weights), 0), logits(model, 0), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-4)


def test_an_opset_that_has_no_node_for_a_rule_or_for_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="an `Attention` node needs ONNX opset 23, got 20"):
        write_graph(random_weights(LARGEST, positions=40, seed=0), lowering=EVERYTHING, opset=20)
    with pytest.raises(ValueError, match="`opset` must be 17 to 23, got 13"):
        ExportSpec(opset=13)
    assert not EVERYTHING.without_attention_node().has_attention_node
    assert EVERYTHING.without_attention_node().int8 == ("projections_apart",)


def test_the_stock_export_is_written_in_the_opset_that_is_asked_for(bert: Anatomy, tmp_path: Path) -> None:
    export_stock(bert.model, tmp_path / "model.onnx", opset=17)
    model = onnx.load(tmp_path / "model.onnx")
    assert ([entry.version for entry in model.opset_import], model.ir_version) == ([17], 8)
    session, ids = Session(model.SerializeToString()), np.array([[2, 5, 3]])
    with torch.inference_mode():
        expected = bert.model(torch.from_numpy(ids)).logits.numpy()
    np.testing.assert_allclose(session.run(session.feed(ids, np.ones_like(ids))), expected, atol=1e-5)


def test_tensors_are_called_after_the_parts_that_they_are_of() -> None:
    model = written(LARGEST, 0, Lowering())
    names = {tensor.name for tensor in model.graph.initializer}
    assert {
        "embeddings.word.weight",
        "embeddings.norm.scale",
        "layers.0.attention.query_key_value.weight",
        "layers.3.attention.query.bias",
        "layers.3.feed_forward.up.bias",
        "layers.3.feed_forward.norm.bias",
        "head.0.weight",
    } <= names
    assert len(names) == len(model.graph.initializer)
    assert all(name.startswith(("constant_", "embeddings.", "layers.", "head.")) for name in names)
    assert any(node.name.startswith("layers.2.feed_forward.down/MatMul") for node in model.graph.node)
    assert model.producer_name == "autocompress"


def test_a_graph_without_layers_or_with_one_asks_for_no_mask_of_every_query() -> None:
    for layers in (0, 1):
        shape = with_layers(LARGEST, [LARGEST.of_layer("layers", index) for index in range(layers)])
        model = written(shape, 0, EVERYTHING)
        assert "Expand" not in {node.op_type for node in model.graph.node}
        assert np.isfinite(logits(model, 0)[-1]).all()


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown 'magic'"):
        Lowering(int8=("magic",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="twice"):
        Lowering(fp32=("attention_node", "attention_node"))
