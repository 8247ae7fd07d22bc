"""Static int8: what calibration finds on texts, and that the file computes what was scored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.anatomy.calibration import Calibration, Inputs, limits, relief
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.errors import CandidateError
from autocompress.importance import Importance
from autocompress.operators import apply, effective
from autocompress.tasks import Examples, batches

ImportanceOf = Callable[[Anatomy], Importance]
METHODS: tuple[Calibration, ...] = ("min-max", "percentile", "entropy")


def with_texts(anatomy: Anatomy, examples: Examples) -> Anatomy:
    texts = [batch.inputs for batch in batches(examples, 8)]
    return Anatomy(anatomy.model, FAMILIES, texts=texts)


def policy(**settings: object) -> CompressionPolicy:
    return CompressionPolicy(tuple(Step("quantize", f"layers.{i}", settings) for i in range(3)))  # type: ignore[arg-type]


def farthest(anatomy: Anatomy, examples: Examples) -> float:
    """Between what is scored and what the file answers, as a share of the largest answer."""
    session = Session(write_graph(anatomy.weights()).SerializeToString())
    apart, largest = 0.0, 0.0
    for ids in examples.tokens:
        with torch.inference_mode():
            scored = anatomy.model(input_ids=torch.from_numpy(ids)[None]).logits.numpy()
        deployed = session.run(session.feed(ids[None], np.ones_like(ids)[None]))
        assert deployed.argmax() == scored.argmax()
        apart, largest = max(apart, float(np.abs(deployed - scored).max())), max(largest, float(np.abs(scored).max()))
    return apart / largest


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("smoothing", [None, 0.5])
@pytest.mark.parametrize("calibration", [None, *METHODS])
def test_scoring_numerics_are_those_of_the_deployed_graph(
    bits: int,
    smoothing: float | None,
    calibration: Calibration | None,
    bert: Anatomy,
    make_examples: Callable[..., Examples],
) -> None:
    anatomy = with_texts(bert, make_examples(24))
    slots = [slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)]
    anatomy.quantize(slots, bits=bits, calibration=calibration, smoothing=smoothing)  # type: ignore[arg-type]
    # runtimes round the last bit of a scale differently, which can move an activation by one of 255 steps
    assert farthest(anatomy, make_examples(12, seed=1)) < 0.03


def test_a_static_file_is_in_the_form_that_runtimes_read_as_int8(
    bert: Anatomy,
    make_examples: Callable[..., Examples],
    importance_of: ImportanceOf,
    tmp_path: Path,
) -> None:
    anatomy = with_texts(bert, make_examples(24))
    kept, shape = effective(policy(bits=8, activations="static"), anatomy.shape())
    apply(kept, anatomy, importance_of(bert))
    assert anatomy.shape() == shape
    assert shape["layers.0.attention"].storages[0].activations == "static"
    written = write_graph(anatomy.weights())
    operators = [node.op_type for node in written.graph.node]
    assert operators.count("QuantizeLinear") == 4 * 3
    assert "DynamicQuantizeLinear" not in operators
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    onnxruntime.InferenceSession(written.SerializeToString(), options)
    executed = [node.op_type for node in onnx.load(tmp_path / "executed.onnx").graph.node]
    assert executed.count("MatMulIntegerToFloat") == 4 * 3 + 1, "the last layer's query is a product of its own"
    assert "DequantizeLinear" not in executed


def test_what_calibration_found_travels_with_the_weights(
    bert: Anatomy, make_examples: Callable[..., Examples], importance_of: ImportanceOf
) -> None:
    importance, plain = importance_of(bert), bert.copy()
    anatomy = with_texts(bert, make_examples(24))
    static = policy(bits=8, activations="static", smoothing=0.4, calibration="percentile")
    apply(static, anatomy, importance)
    again = Anatomy(plain.model, FAMILIES, settled=anatomy.settled())
    apply(static, again, importance)
    (batch,) = batches(make_examples(8, seed=2), 8)
    with torch.inference_mode():
        ours, theirs = (one.model(**batch.inputs).logits for one in (anatomy, again))
    assert torch.equal(ours, theirs)


def test_a_later_step_with_another_calibration_or_smoothing_counts_and_travels_too(
    bert: Anatomy, importance_of: ImportanceOf, make_examples: Callable[..., Examples]
) -> None:
    importance, shape = importance_of(bert), bert.shape()
    first = {"bits": 8, "activations": "static", "calibration": "min-max", "smoothing": 0.5}
    for second in ({**first, "calibration": "percentile"}, {**first, "smoothing": 0.9}, {"bits": 8}):
        steps = (
            *(Step("quantize", f"layers.{layer}", first) for layer in shape.layers("layers")),
            Step("quantize", "layers.0.attention", second),
        )
        kept, expected = effective(CompressionPolicy(steps), shape)
        assert kept.steps == steps, second
        student = with_texts(bert, make_examples(24)).copy()
        apply(kept, student, importance)
        assert student.shape() == expected
        first_one, second_one = (student.shape()[f"layers.{layer}.attention"].storages for layer in (0, 1))
        assert first_one != second_one
        again = Anatomy(bert.copy().model, FAMILIES, settled=student.settled())
        apply(kept, again, importance)
        (batch,) = batches(make_examples(8, seed=2), 8)
        with torch.inference_mode():
            ours, theirs = (one.model(**batch.inputs).logits for one in (student, again))
        assert torch.equal(ours, theirs)


def test_static_needs_texts(bert: Anatomy, importance_of: ImportanceOf) -> None:
    with pytest.raises(CandidateError, match="calibrated on training texts, and there are none"):
        apply(policy(bits=8, activations="static"), bert, importance_of(bert))


def test_outliers_are_cut_off_by_percentile_and_entropy_and_kept_by_min_max() -> None:
    counts = np.zeros(2048)
    counts[1024:1124] = 10_000 * np.exp(-np.arange(100) / 20)  # all values lie near 0, but for one
    counts[-1] = 1.0
    seen = Inputs(-1.0, 1.0, counts, torch.ones(4))
    assert limits(seen, "min-max").tolist() == [-1.0, 1.0]
    for method in ("percentile", "entropy"):
        low, high = limits(seen, method).tolist()
        assert low <= 0 <= 0.03 <= high < 0.6


def test_relief_evens_out_an_outlier_channel() -> None:
    channels, weight = torch.tensor([100.0, 1.0, 0.0]), torch.ones(5, 3)
    found = relief(channels, [weight], 0.5)
    assert torch.allclose(channels * found, torch.tensor([10.0, 1.0, 0.0]))
    assert torch.allclose((weight / found)[0], torch.tensor([10.0, 1.0, 1.0]))
