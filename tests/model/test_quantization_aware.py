"""Training with the roundings of deployment: the same numbers forward, gradients as if there were none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.anatomy.int8 import Int8Linear
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.training_spec import FinalistSpec, QuantizationAware, TrainingSpec
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import AWARE, CHECKPOINT, kept_weights
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.importance import Importance
from autocompress.tasks import Examples, TextClassification, batches

QUANTIZED = CompressionPolicy(
    (Step("remove_layer", "layers.1"), *(Step("quantize", f"layers.{i}", {"bits": 4}) for i in (0, 2)))
)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("static", [False, True])
def test_what_is_trained_computes_what_the_deployed_graph_computes(
    bits: int, static: bool, bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    texts = [batch.inputs for batch in batches(make_examples(24), 8)]
    anatomy = Anatomy(bert.model, FAMILIES, texts=texts)
    slots = [slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)]
    anatomy.quantize(slots, bits=bits, calibration="min-max" if static else None)  # type: ignore[arg-type]
    anatomy.quantize_embeddings(bits=bits)  # type: ignore[arg-type]
    session = Session(write_graph(anatomy.weights()).SerializeToString())
    anatomy.model.train()
    for module in anatomy.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for ids in make_examples(8, seed=1).tokens:
        trained = anatomy.model(input_ids=torch.from_numpy(ids)[None]).logits
        deployed = session.run(session.feed(ids[None], np.ones_like(ids)[None]))
        assert np.abs(deployed - trained.detach().numpy()).max() < 0.03 * np.abs(deployed).max()
    trained.sum().backward()
    assert all(slot.linear.weight.grad is not None and slot.linear.weight.grad.any() for slot in slots)


def test_gradients_pass_through_roundings_but_not_through_what_static_limits_cut_off() -> None:
    linear = nn.Linear(3, 1)
    module = Int8Linear(linear, limits=torch.tensor([-1.0, 1.0])).train()
    inputs = torch.tensor([[[0.5, -0.3, 4.0]]], requires_grad=True)
    module(inputs).sum().backward()
    assert inputs.grad is not None
    rounded = linear.weight.detach()[0]
    assert torch.allclose(inputs.grad[0, 0, :2], rounded[:2], atol=0.01)
    assert inputs.grad[0, 0, 2] == 0


@pytest.mark.parametrize(("when", "loss", "trained"), [("always", 0.0, True), ("lossy", 1.0, False)])
def test_a_finalist_goes_on_with_its_roundings_where_it_is_asked_for(
    when: QuantizationAware,
    loss: float,
    trained: bool,
    bert: Anatomy,
    small_task: TextClassification,
    importance_of: Callable[[Anatomy], Importance],
    tmp_path: Path,
) -> None:
    setup = Setup.of(bert.model, importance_of(bert), small_task, precision="fp32")
    training = TrainingSpec(epochs=2, batch_size=16, learning_rate=2e-3, precision="fp32", dropout=0.0)
    spec = FinalistSpec(training=training, quantization_aware=when, quantization_loss=loss)
    told: list[tuple[int, float]] = []
    recovery = Recovery(setup, Lessons.of(setup, spec.transfer, seed=0), spec, seed=0)
    found = recovery(QUANTIZED, folder=tmp_path, on_epoch=lambda epoch, score, _: told.append((epoch, score)))
    weights, history = kept_weights(tmp_path / CHECKPOINT)
    assert history == found
    student = deployed_student(setup, QUANTIZED, weights)
    if (tmp_path / AWARE).exists():
        assert trained
        assert told[-1] == (2, found.score)
        assert len(told) == 3
        assert recovery._score(student.model) == found.score, "what was trained last is what is deployed"
    else:
        assert len(told) == 2
        assert found.score == told[-1][1]
    plain = Recovery(setup, recovery.lessons, replace(spec, quantization_aware="never"), seed=0)
    assert plain(QUANTIZED, folder=tmp_path / "plain").scores == tuple(score for _, score in told[:2])
