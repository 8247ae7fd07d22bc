"""Weights in 2 bits, of three values and of two: what a file holds, what is scored, what runtimes make of it, and how
they are trained."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from autocompress import operators
from autocompress.anatomy import Anatomy
from autocompress.anatomy.few_bits import DIGITS, LEVELS, in_bytes, leveled, multiplied, packed
from autocompress.anatomy.int8 import Int8Linear
from autocompress.anatomy.weights import random_weights
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.config import load_device
from autocompress.core.cost import unpacked, weight_bytes
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.prediction import predictor_of
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.storage import FEW_BITS, Bits, FewBits, Storage
from autocompress.core.training_spec import FinalistSpec, TrainingSpec
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.errors import CandidateError
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.importance import Importance
from autocompress.tasks import Examples, TextClassification


def table(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.345), ("ternary", 0.44), (1, 0.60)])
@pytest.mark.parametrize("columns", [96, 17])
def test_few_bits_unpack_to_an_int8_matrix_as_near_as_their_levels_allow(
    bits: FewBits, expected: float, columns: int
) -> None:
    weights = table(64, columns)
    whole, scales = multiplied(weights, bits)
    assert whole.shape == weights.shape
    assert whole.abs().max() <= 127
    assert torch.equal(whole, whole.round())
    error = (whole * scales - weights).norm() / weights.norm()
    assert error < expected, "of a normal distribution: 0.343, 0.436 and 0.603 with one step for all"


def test_steps_are_those_of_their_sources() -> None:
    block = torch.tensor([[0.5, -1.0, 3.0, -0.1] * 8])
    binary, scale = multiplied(block, 1)
    assert torch.allclose(binary * scale, 1.15 * block.sign(), rtol=1e-3), "the mean size"
    ternary, scale = multiplied(block, "ternary")
    above = torch.where(block.abs() > 0.75 * 1.15, 2.0 * block.sign(), torch.zeros(1))
    assert torch.allclose(ternary * scale, above, rtol=1e-3), "the mean of what is above 0.75 of the mean size"
    four, scale = multiplied(torch.tensor([[3.0, -1.0, 1.0, -3.0] * 8]), 2)
    assert torch.allclose(four * scale, torch.tensor([[3.0, -1.0, 1.0, -3.0] * 8]), rtol=1e-3)


@pytest.mark.parametrize("bits", FEW_BITS)
def test_bytes_hold_what_was_rounded(bits: FewBits) -> None:
    weights = table(5, 64)
    codes, multipliers, _ = packed(weights, bits)
    assert codes.shape == (5, {2: 16, "ternary": 13, 1: 8}[bits])
    assert multipliers.shape == (5, 2)
    levels, _, _ = leveled(weights, bits)
    assert np.array_equal(DIGITS[bits][codes].reshape(5, -1)[:, :64], levels.flatten(1).numpy())
    assert np.array_equal(
        DIGITS[bits][in_bytes(np.array(LEVELS[bits]), bits)].reshape(-1)[: len(LEVELS[bits])], LEVELS[bits]
    )


def test_rows_of_zeros_stay_zero_whatever_their_levels() -> None:
    for bits in FEW_BITS:
        whole, scales = multiplied(torch.zeros(3, 64), bits)
        assert not (whole * scales).any()
        assert torch.isfinite(scales).all()


@pytest.mark.parametrize("bits", FEW_BITS)
def test_scoring_numerics_are_those_of_the_deployed_graph(
    bits: FewBits, bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    bert.keep_channels(1, range(41))  # not a whole number of blocks
    for layer in bert.layers:
        bert.quantize([*layer.attention, *layer.feed_forward], bits=bits)
    bert.quantize_embeddings(bits=bits)
    graph = write_graph(bert.weights()).SerializeToString()
    runtimes = ["onnxruntime"] + (["openvino"] if bits == "ternary" else [])
    sessions = [Session(graph, runtime=runtime) for runtime in runtimes]
    for ids in make_examples(6).tokens:
        with torch.inference_mode():
            scored = bert.model(input_ids=torch.from_numpy(ids)[None]).logits.numpy()
        for session in sessions:
            deployed = session.run(session.feed(ids[None], np.ones_like(ids)[None]))
            assert np.abs(deployed - scored).max() < 0.02 * np.abs(scored).max()


def shape(bits: Bits, embeddings: Bits) -> ModelParts:
    layers = (encoder_layer(i, 64, heads=2, head_size=32, channels=128, held=Storage(bits)) for i in range(2))
    return encoder(64, layers, words=3000, others=66, head=(64, 3), words_in=Storage(embeddings))


def file(which: ModelParts) -> onnx.ModelProto:
    return write_graph(random_weights(which, positions=64, seed=0))


@pytest.mark.parametrize("bits", FEW_BITS)
def test_layers_run_the_kernels_of_8_bits_and_their_file_is_as_large_as_counted(bits: FewBits, tmp_path: Path) -> None:
    def executed(which: ModelParts) -> Counter[str]:
        path = tmp_path / "executed.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(file(which).SerializeToString(), options)
        return Counter(node.op_type for node in onnx.load(path).graph.node)

    assert executed(shape(bits, 8)) == executed(shape(8, 8)), "all unpacking is done once, when the file is loaded"
    assert unpacked(shape(bits, bits)) == shape(8, bits)
    tensors = file(shape(bits, bits)).graph.initializer
    stored = sum(len(one.raw_data) for one in tensors if not one.name.startswith("constant_"))
    assert weight_bytes(shape(bits, bits)) == pytest.approx(stored, rel=0.01)


# Trained


def test_a_student_is_trained_with_the_roundings_that_it_is_deployed_with(
    bert: Anatomy, small_task: TextClassification, importance_of: Callable[[Anatomy], Importance], tmp_path: Path
) -> None:
    steps = [Step("quantize", f"layers.{i}", {"bits": bits}) for i, bits in enumerate((2, "ternary", 8))]
    policy = CompressionPolicy((*steps, Step("quantize", "embeddings", {"bits": 1})))
    assert not operators.only_rounded(policy)
    setup = Setup.of(bert.model, importance_of(bert), small_task, precision="fp32")
    training = TrainingSpec(epochs=1, batch_size=16, learning_rate=2e-3, precision="fp32", dropout=0.0)
    spec = FinalistSpec(training=training)
    recovery = Recovery(setup, Lessons.of(setup, spec.transfer, seed=0), spec, seed=0)
    found = recovery(policy, folder=tmp_path)
    weights, _ = kept_weights(tmp_path / CHECKPOINT)
    student = deployed_student(setup, policy, weights)
    assert recovery._score(student.model) == found.score, "no other model was trained than is deployed"
    assert student.shape() == operators.effective(policy, bert.shape())[1]
    before = bert.word_embeddings.weight
    assert not torch.equal(student.word_embeddings.weight, before), "a table in few bits is trained too"
    shortly = recovery.shortly(policy, steps=2)
    products = [one for one in shortly.model.modules() if isinstance(one, Int8Linear)]
    assert {one.bits for one in products} == {2, "ternary", 8}
    assert not torch.equal(shortly.word_embeddings.weight, before)


@pytest.mark.parametrize("more", [{"activations": "static"}, {"smoothing": 0.5}])
def test_what_follows_from_a_model_before_its_training_is_refused_beside_few_bits(
    more: dict[str, Setting], bert: Anatomy
) -> None:
    policy = CompressionPolicy((Step("quantize", "layers.0", {"bits": 2, **more}),))
    with pytest.raises(
        CandidateError, match=f"quantize on layers.0.attention: `{next(iter(more))}.*bits: 2.*of 4 or 8"
    ):
        operators.effective(policy, bert.shape())
    dynamic = Step("quantize", "layers.0", {"bits": 2, "activations": "dynamic"})
    operators.effective(CompressionPolicy((dynamic,)), bert.shape())


def test_a_space_does_not_begin_with_what_has_to_be_trained() -> None:
    def space(*choices: Bits) -> SearchSpace:
        step = StepSpace("quantize", "embeddings", {"bits": Choice(choices)}, per="step")
        return SearchSpace("few", 1, (step,))

    (step,) = operators.in_many_bits(space(8, 4, 2, "ternary", 1)).steps
    assert step.knobs["bits"] == Choice((8, 4))
    assert operators.in_many_bits(space(2, 1)) == space(2, 1), "there is no other"


def test_rows_in_fewer_bits_than_4_are_priced_as_those_in_4() -> None:
    load = Workload(1, 128, 1)
    predict = predictor_of(load_device("xeon-2core"), hidden=384, head_size=32, workload=load)

    def told(bits: Bits) -> float:
        layers = [encoder_layer(0, 384, heads=12, head_size=32, channels=1536, held=Storage(bits))]
        return predict(encoder(384, layers, words=3000, others=66, words_in=Storage(bits))).value

    assert told(1) == told("ternary") == told(2) == told(4)
