"""Half layers: the file answers as the model that was scored, whatever else is done to it, and students learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from autocompress import operators
from autocompress.anatomy import FAMILIES, Anatomy, anatomy_of
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.space import SearchSpace, StepSpace
from autocompress.core.training_spec import DistillationSpec, TrainingSpec
from autocompress.core.wording import describe, halves
from autocompress.deploy.forms import forms_of
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import Objective, predict, train
from autocompress.importance import VARIANCE, Importance, attention_maps, measure_importance
from autocompress.tasks import Examples, TextClassification, batches
from tests.families.given import telling

HALVES = ("layers.0.feed_forward", "layers.1.attention")
SPACE = SearchSpace(
    "halves", 1, tuple(StepSpace("remove_block", f"layers.*.{one}", name=one) for one in ("attention",))
)


def cut(anatomy: Anatomy, importance: Importance, *more: Step, gone: tuple[str, ...] = HALVES) -> Anatomy:
    policy = CompressionPolicy((*(Step("remove_block", target) for target in gone), *more))
    kept, shape = operators.effective(policy, anatomy.shape())
    student = anatomy.copy()
    operators.apply(kept, student, importance)
    assert student.shape() == shape
    return student


def farthest(student: Anatomy, examples: Examples) -> float:
    """Between what is scored and what the file answers, as a share of the largest answer."""
    session = Session(write_graph(student.weights()).SerializeToString())
    ids, mask = (batch := batches(examples, len(examples))[0]).inputs["input_ids"], batch.mask
    with torch.inference_mode():
        scored = student.model(**batch.inputs).logits.numpy()
    deployed = session.run(session.feed(ids.numpy(), mask.numpy()))
    return float(np.abs(deployed - scored).max() / np.abs(scored).max())


@pytest.fixture
def importance(bert: Anatomy, small_task: TextClassification) -> Importance:
    criteria = [VARIANCE, "magnitude", "combined"]
    return measure_importance(bert, batches(small_task.examples("train"), 16), criteria)


@pytest.mark.parametrize("gone", [HALVES, ("layers.2.attention",), ("layers.2.feed_forward", "layers.1.feed_forward")])
def test_the_file_answers_as_the_model(
    gone: tuple[str, ...], bert: Anatomy, importance: Importance, make_examples: Callable[..., Examples]
) -> None:
    assert farthest(cut(bert, importance, gone=gone), make_examples(8)) < 1e-5
    assert forms_of(cut(bert, importance, gone=gone)) == ("written",)
    rounded = [Step("quantize", f"layers.{i}", {"bits": 8}) for i in range(3)]
    student = cut(bert, importance, *rounded, gone=gone)
    for row in range(8):  # ranges are those of a batch, whose padding the two treat otherwise
        assert farthest(student, make_examples(8).take([row])) < 0.03


def test_what_is_left_is_narrowed_factored_made_sparse_and_calibrated(
    bert: Anatomy, importance: Importance, make_examples: Callable[..., Examples]
) -> None:
    whole = Anatomy(bert.model, FAMILIES, texts=[batch.inputs for batch in batches(make_examples(24), 8)])
    student = cut(
        whole,
        importance,
        Step("prune_heads", "layers.0.attention", {"heads": 2, "importance": "magnitude"}),
        Step("prune_heads", "layers.1.attention", {"heads": 2, "importance": "magnitude"}),
        Step("prune_hidden", "*", {"hidden_size": 48}),
        Step("low_rank", "layers.1.feed_forward", {"rank": 0.3}),
        Step("prune_weights", "layers.2", {"sparsity": 0.5}),
        Step("quantize", "layers.2", {"bits": 8, "activations": "static"}),
    )
    assert [part.name for part in student.shape().blocks()] == [
        *("layers.0.attention", "layers.1.feed_forward", "layers.2.attention", "layers.2.feed_forward")
    ]
    for row in range(8):
        assert farthest(student, make_examples(8).take([row])) < 0.03


def test_a_student_without_some_blocks_learns_maps_of_those_that_attend(
    bert: Anatomy, importance: Importance, small_task: TextClassification
) -> None:
    student = cut(bert, importance).own_copy()
    student.model.requires_grad_(True)
    examples = small_task.examples("train")
    logits = predict(bert.model, batches(examples, 16), precision="fp32")
    spec = DistillationSpec(attention=1.0, relations=1.0, hidden=1.0)
    objective = Objective.of(student, bert, torch.from_numpy(logits), spec, task=small_task)
    batch = batches(examples, 16)[0]
    before = float(objective(student.model, batch).detach())
    how = TrainingSpec(epochs=2, batch_size=16, learning_rate=1e-3, precision="fp32")
    train(student.model, examples, objective, spec=how, score=lambda _: 0.0, seed=0)
    assert float(objective(student.model, batch).detach()) < before
    assert len(attention_maps(student, batch)) == 2


def test_what_is_gone_is_said(bert: Anatomy, importance: Importance) -> None:
    shape = cut(bert, importance).shape()
    assert halves(shape) == "1 layer without attention, 1 without feed-forward"
    assert describe(shape).startswith("3 layers (0, 1, 2), heads 4, feed-forward 96, 1 layer without attention, 1 with")
    assert halves(bert.shape()) == ""
    gone = (*HALVES, "layers.2.feed_forward")
    assert halves(cut(bert, importance, gone=gone).shape()) == "1 layer without attention, 2 without feed-forward"


def test_other_families_are_refused_when_the_space_is_read() -> None:
    shape = anatomy_of(telling("ViTForImageClassification").float()).shape()
    with pytest.raises(
        ValueError, match="remove_block: of a vit whole layers go, by `remove_layer` .half ones: bert, r"
    ):
        operators.bound(SPACE, shape)
