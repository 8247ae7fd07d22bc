"""Weights that are zero and stay so: which they are, through training, in files and in what is counted."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from autocompress import operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.int8 import Int8Linear, rounded_rows
from autocompress.anatomy.moments import powers
from autocompress.anatomy.sparse import Criterion, held, made_sparse, sparse
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, parameters, passes, unpacked, weight_bytes
from autocompress.core.lowering import PLAIN
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.signature import signature
from autocompress.core.sparsity import PATTERNS, Pattern, Sparsity
from autocompress.core.storage import Bits, Rounded
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.training_spec import FinalistSpec, TrainingSpec
from autocompress.core.wording import describe
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.nodes import Graph
from autocompress.deploy.session import Session
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.errors import CandidateError
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.importance import Importance, no_preference
from autocompress.report import explain_policy
from autocompress.tasks import TextClassification
from tests.conftest import build_model

SHARE = 0.7


def sparsity(pattern: str, share: float = SHARE) -> Sparsity:
    name: Pattern = next(one for one in PATTERNS if one == pattern)
    return Sparsity(name, {"1:4": 0.75, "2:4": 0.5, "4:8": 0.5}.get(pattern, share))


def steps(pattern: str, bits: int = 32, layers: Sequence[int] = range(3)) -> CompressionPolicy:
    """Of all blocks."""
    held = sparsity(pattern)
    asked = {"pattern": pattern, "sparsity": held.share}
    rounded = [Step("quantize", f"layers.{layer}", {"bits": bits}) for layer in layers if bits != 32]
    return CompressionPolicy((*(Step("prune_weights", f"layers.{layer}", asked) for layer in layers), *rounded))


def text() -> dict[str, Tensor]:
    ids = torch.randint(5, 90, (1, 11), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def applied(policy: CompressionPolicy, anatomy: Anatomy) -> Anatomy:
    kept, _ = operators.effective(policy, anatomy.shape())
    operators.apply(kept, anatomy, no_preference(anatomy.shape()))
    return anatomy


def table(outputs: int, inputs: int) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))


# Which


@pytest.mark.parametrize("pattern", PATTERNS)
def test_of_a_matrix_as_many_weights_are_left_as_are_counted_and_stand_where_the_pattern_says(pattern: str) -> None:
    weight, held = table(64, 96), sparsity(pattern)
    found = made_sparse(weight, torch.rand(96), held, "wanda")
    there = found != 0
    assert torch.equal(found[there], weight[there])
    assert int(there.sum()) == held.left(96, 64)
    assert there.float().mean() == pytest.approx(1 - held.share, abs=0.04)
    if held.group is not None:
        left, of = held.group
        assert (there.reshape(-1, of).sum(1) == left).all()
    rows, columns = held.block
    blocks = there.reshape(64 // rows, rows, 96 // columns, columns).float().mean((1, 3))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}, "a block goes or stays as a whole"


@pytest.mark.parametrize("criterion", ["wanda", "magnitude"])
def test_single_weights_are_compared_in_their_output_by_wanda_and_in_the_matrix_by_magnitude(
    criterion: Criterion,
) -> None:
    weight, power = table(8, 10) * torch.arange(1, 9)[:, None], torch.linspace(0.1, 4, 10)
    there = made_sparse(weight, power, Sparsity("unstructured", 0.7), criterion) != 0
    if criterion == "magnitude":
        assert set(there.flatten().nonzero().flatten().tolist()) == set(
            weight.abs().flatten().topk(24).indices.tolist()
        )
        return
    scores = weight.abs() * power.sqrt()
    for row, score in zip(there, scores, strict=True):
        assert set(row.nonzero().flatten().tolist()) == set(score.topk(3).indices.tolist())


def test_the_blocks_that_cost_outputs_least_go() -> None:
    weight = torch.ones(4, 8)
    weight[:, 4:] = 1.5
    power = torch.cat([torch.full((4,), 4.0), torch.ones(4)])
    plain, weighed = (made_sparse(weight, power, Sparsity("4x1", 0.5), one) for one in ("magnitude", "wanda"))
    assert plain[:, :4].eq(0).all()
    assert weighed[:, 4:].eq(0).all(), "small weights of large inputs stay"


def test_no_weights_of_as_many_lose_less_of_an_output_where_inputs_are_independent() -> None:
    torch.manual_seed(0)
    weight, values = table(6, 12), torch.randn(4000, 12) * torch.logspace(0, -1.5, 12)
    lost = {
        criterion: (
            values @ (made_sparse(weight, values.square().mean(0), sparsity("unstructured"), criterion) - weight).T
        )
        .square()
        .sum()
        for criterion in ("wanda", "magnitude")
    }
    assert lost["wanda"] < 0.5 * lost["magnitude"]


def test_how_large_inputs_are_is_seen_of_real_positions() -> None:
    ids = torch.randint(5, 90, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1:, 6:] = 0
    anatomy = anatomy_of(build_model("bert"))
    up, given = anatomy.layers[0].of_feed_forward.up.module, {"input_ids": ids, "attention_mask": mask}
    seen: list[Tensor] = []
    watching = up.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][mask.bool()]))
    with torch.inference_mode():
        anatomy.model(**given)
    watching.remove()
    (name,) = (name for name, module in anatomy.model.named_modules() if module is up)
    found = powers(anatomy.model, {name: anatomy._products()[name]}, [given])[name]
    assert torch.allclose(found, seen[0].square().mean(0), atol=1e-5)
    assert powers(anatomy.model, anatomy._products(), []) == {}
    many = {argument: tensor.repeat(16, 1) for argument, tensor in given.items()}
    some = powers(anatomy.model, {name: anatomy._products()[name]}, [many])[name]
    few = powers(anatomy.model, {name: anatomy._products()[name]}, [{key: one[::2] for key, one in many.items()}])[name]
    assert torch.allclose(some, few, rtol=1e-5), "every second of 64 texts"


# In files


@pytest.mark.parametrize("bits", [32, 8, 4, 2, "ternary", 1])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_file_gives_back_the_very_numbers(pattern: str, bits: Bits) -> None:
    weight = made_sparse(table(64, 96), None, sparsity(pattern), "magnitude")
    weight[:32, :32] = 0  # of what is left some may be zero by itself
    graph = Graph(PLAIN, None)
    with graph.within("part"):
        if bits == 32:
            graph.product("x", weight.numpy().T, None, bits, sparsity=sparsity(pattern))
            given, expected = graph.nodes[-1].input[1], weight.numpy().T
        else:
            given, scales = graph.integer_rows(weight.numpy(), bits, sparsity(pattern))
            integers, known = rounded_rows(weight, bits, there=held(weight != 0, sparsity(pattern)))
            expected = integers.numpy()
            assert np.allclose(expected * scales, (integers * known).numpy())
    graph.node("Identity", given)
    answer = graph.nodes[-1].output[0]
    element = TensorProto.FLOAT if bits == 32 else TensorProto.INT8
    model = graph.model(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 96])],
        [helper.make_tensor_value_info(answer, element, None)],
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run([answer], {"x": np.zeros((1, 96), np.float32)})
    assert np.array_equal(found, expected)


def executed(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "executed.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(folder / "executed.onnx").graph.node)


def beside_weights(model: onnx.ModelProto, anatomy: Anatomy) -> int:
    """Bytes of a file's tensors that nobody counts, but for constants, of which all products share a few."""
    stored = sum(len(one.raw_data) for one in model.graph.initializer if not one.name.startswith("constant_"))
    return stored - weight_bytes(anatomy.shape())


@pytest.mark.parametrize("bits", [32, 8, 4, 2])
def test_a_sparse_model_is_run_by_the_kernels_of_a_dense_one_and_its_file_is_as_large_as_counted(
    bits: int, tmp_path: Path
) -> None:
    whole = anatomy_of(build_model("bert"), texts=[text()])
    dense = applied(CompressionPolicy(steps("2:4", bits).steps[3:]), whole.copy())
    plain = write_graph(dense.weights())
    for pattern in ("unstructured", "1:4", "32x32"):
        _, expected = operators.effective(steps(pattern, bits), whole.shape())
        student = applied(steps(pattern, bits), whole.copy())
        assert student.shape() == expected
        model = write_graph(student.weights())
        assert beside_weights(model, student) == pytest.approx(beside_weights(plain, dense), abs=8)
        assert weight_bytes(expected) < weight_bytes(dense.shape())
        given = text()
        with torch.inference_mode():
            known = student.model(**given).logits.numpy()
        session = Session(model.SerializeToString())
        answers = session.run(session.feed(*(one.numpy() for one in given.values())))
        assert np.abs(answers - known).max() < (1e-5 if bits == 32 else 1e-3)
    assert executed(model, tmp_path) == executed(plain, tmp_path), "zeros are put back once, as the file is loaded"


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_puts_zeros_back_too() -> None:
    student = applied(steps("1x4", 4), anatomy_of(build_model("bert")))
    graph, given = write_graph(student.weights()).SerializeToString(), [one.numpy() for one in text().values()]
    sessions = [Session(graph, runtime=runtime) for runtime in ("onnxruntime", "openvino")]
    expected, found = (session.run(session.feed(*given)) for session in sessions)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


# Through training


@pytest.mark.parametrize("rounded", [None, 8, 1])
def test_no_step_moves_a_zero_whatever_its_decay(rounded: Rounded | None) -> None:
    torch.manual_seed(0)
    product: nn.Linear = sparse(nn.Linear(16, 8), (8,), None, sparsity("2:4"), "magnitude")
    product = Int8Linear(product, bits=rounded) if rounded else product
    before = product.weight.detach().clone()
    optimizer = torch.optim.AdamW(product.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        product(torch.randn(2, 5, 16)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(product.weight == 0, before == 0)
    assert (product.weight[before != 0] != before[before != 0]).all()


def test_zeros_survive_the_training_of_finalists(small_task: TextClassification, tmp_path: Path) -> None:
    setup = Setup.of(build_model("bert"), Importance({}, {}), small_task, precision="fp32")
    training = TrainingSpec(epochs=1, batch_size=16, learning_rate=1e-2, precision="fp32", weight_decay=0.1)
    spec = FinalistSpec(training=training, quantization_aware="never")
    policy, shape = operators.effective(steps("2:4", 8), setup.teacher().shape())
    Recovery(setup, Lessons.of(setup, spec.transfer, seed=0), spec, seed=0)(policy, folder=tmp_path)
    weights, _ = kept_weights(tmp_path / CHECKPOINT)
    before = applied(policy, setup.origin(policy).copy()).model.state_dict()
    held = [name for name in weights if ".layer." in name and name.endswith("weight") and weights[name].dim() == 2]
    assert len(held) == 6 * 3
    for name in held:
        there = weights[name] != 0
        assert (there.reshape(-1, 4).sum(1) == 2).all()
        assert torch.equal(there, before[name] != 0)
        assert not torch.equal(weights[name], before[name]), "what is left is trained"
    deployed = deployed_student(setup, policy, weights)
    assert deployed.shape() == shape
    assert deployed.own_copy().shape() == shape
    assert all(torch.equal(deployed.model.state_dict()[name], weights[name]) for name in held)


# What is counted and said


def test_a_sparse_matrix_is_computed_and_priced_as_a_dense_one_and_stored_as_what_is_left() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    policy, shape = operators.effective(steps("unstructured"), whole)
    (load,) = passes(whole, Workload(1, 16, 1))
    assert macs(shape, [load]) == macs(whole, [load])
    assert [signature(part) for part in shape.blocks()] == [signature(part) for part in whole.blocks()]
    assert unpacked(shape) == whole
    block = 4 * 64 * 64 + 2 * 64 * 96
    assert parameters(whole) - parameters(shape) == 3 * (4 * 64 * 45 + 96 * 45 + 64 * 67)
    assert weight_bytes(whole) - weight_bytes(shape) == 3 * (4 * (4 * 64 * 45 + 96 * 45 + 64 * 67) - block // 8)
    assert parts_from_json(json.loads(json.dumps(parts_to_json(shape)))) == shape
    assert "sparsity" not in str(parts_to_json(whole))
    assert ", 70 % zeros (unstructured) in 6 of 6 blocks, fp32" in describe(shape)
    told = explain_policy(CompressionPolicy((*policy.steps[:1], *steps("1:4").steps[1:2])), whole).summary
    assert "70 to 75 % zeros (1:4, unstructured) in 4 of 6 blocks" in told


def test_a_pattern_that_has_a_share_need_not_be_told_it() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    plain, told = (
        operators.effective(CompressionPolicy((Step("prune_weights", "layers.0", asked),)), whole)[0]
        for asked in ({"pattern": "2:4"}, {"pattern": "2:4", "sparsity": 0.5, "importance": "wanda"})
    )
    assert plain == told


@pytest.mark.parametrize(
    ("pattern", "share", "message"),
    [
        (
            "32x32",
            0.5,
            "prune_weights on layers.0.feed_forward, up: its 41 outputs x 64 inputs are no whole blocks of 32x32",
        ),
        ("2:4", 0.5, "prune_weights on layers.0.feed_forward, down: its 41 inputs are no multiple of 4"),
        ("2:4", 0.7, "prune_weights: 2:4 is a `sparsity` of 0.5, got 0.7"),
        ("1x4", 0.9999, "on layers.0.attention, query: a `sparsity` of 0.9999 leaves none of its weights"),
        ("4x1", 1e-4, "on layers.0.attention, query: a `sparsity` of 0.0001 leaves all of its weights"),
        ("unstructured", 1.0, "`sparsity` must lie between 0 and 1, got 1"),
    ],
)
def test_a_pattern_that_does_not_fit_is_an_infeasible_candidate_with_its_reason(
    pattern: str, share: float, message: str
) -> None:
    whole = anatomy_of(build_model("bert")).shape()
    narrow = Step("prune_channels", "layers.0.feed_forward", {"channels": 41, "importance": "magnitude"})
    asked = Step("prune_weights", "layers.0", {"pattern": pattern, "sparsity": share})
    with pytest.raises(CandidateError, match=re.escape(message)):
        operators.effective(CompressionPolicy((narrow, asked)), whole)


def test_factors_are_not_made_sparse_and_nothing_is_twice() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    sparse, ranked = steps("2:4", layers=[0]).steps, Step("low_rank", "layers.0", {"rank": 0.2})
    with pytest.raises(
        CandidateError, match="on layers.0.attention: its matrices are two factors; make them sparse, or"
    ):
        operators.effective(CompressionPolicy((ranked, *sparse)), whole)
    with pytest.raises(
        CandidateError, match="on layers.0.attention: its matrices are sparse already; let one step say"
    ):
        operators.effective(CompressionPolicy((*sparse, *sparse)), whole)
