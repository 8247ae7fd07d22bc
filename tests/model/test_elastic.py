"""The elastic model: what it trains, that gradients find their way, that it resumes."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from autocompress import operators
from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.core.device import Estimate, Workload
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.core.shape import ModelShape, macs
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.spec import (
    Asset,
    Bound,
    DistillationSpec,
    ElasticSpec,
    TextSpec,
    TrainingSpec,
    TransferSpec,
)
from autocompress.distill import answers, predict
from autocompress.distill import train as train_model
from autocompress.elastic import ElasticTraining, Weights, sample_policies, transfer_identity
from autocompress.errors import CandidateError
from autocompress.evaluate import Pricing, Setup, SliceEvaluator
from autocompress.importance import Importance, measure_importance
from autocompress.lessons import Lessons
from autocompress.tasks import TextClassification, batches
from tests.conftest import build_model

CRITERION = {"importance": "fisher"}
SHALLOW = CompressionPolicy((Step("remove_layer", "layers.1"),))
NARROW = CompressionPolicy(
    (
        Step("prune_heads", "layers.0.attention", {"heads": 2, **CRITERION}),
        Step("prune_channels", "layers.2.feed_forward", {"channels": 40, **CRITERION}),
    )
)
BOTH = CompressionPolicy((*SHALLOW.steps, *NARROW.steps))
SPEC = ElasticSpec(steps=60, subnetworks=2, batch_size=16, learning_rate=1e-3)


@pytest.fixture
def setup(small_task: TextClassification) -> Setup:
    model, examples = build_model("bert"), small_task.examples("train")
    spec = TrainingSpec(epochs=16, batch_size=8, learning_rate=2e-3, precision="fp32")
    goal = answers(lambda logits, batch: functional.cross_entropy(logits, batch.labels))
    epochs = itertools.count()
    train_model(model, examples, goal, spec=spec, score=lambda _: float(next(epochs)), seed=0)  # the last one is kept
    importance = measure_importance(Anatomy(model, FAMILIES), batches(small_task.examples("train"), 16), ["fisher"])
    return Setup.of(model, importance, small_task, precision="fp32")


@pytest.fixture
def lessons(setup: Setup) -> Lessons:
    return Lessons.of(setup, TransferSpec(), seed=0)


@pytest.fixture
def train(setup: Setup, lessons: Lessons, tmp_path: Path) -> Callable[..., Weights]:
    def run(spec: ElasticSpec = SPEC, *, workers: int = 2, checkpoint: str = "one", **options: Any) -> Weights:
        training = ElasticTraining(
            setup,
            lessons,
            [SHALLOW, NARROW, BOTH],
            spec,
            DistillationSpec(hard_weight=0.0),
            seed=0,
            workers=workers,
        )
        return training.run(tmp_path / checkpoint, **options)

    return run


def agreement(setup: Setup, policy: CompressionPolicy) -> float:
    """How many training texts a policy's slice answers as the teacher does."""
    data = batches(setup.task.examples("train"), 16)
    student = setup.origin(policy).copy()
    operators.apply(policy, student, setup.importance)
    found = [predict(model, data, precision="fp32").argmax(1) for model in (student.model, setup.teacher().model)]
    return float((found[0] == found[1]).mean())


def test_gradients_of_a_linked_slice_are_those_of_its_own_tensors_in_their_places(anatomy: Anatomy) -> None:
    importance = Importance(
        {"fisher": {0: np.array([0.0, 3.0, 1.0, 2.0])}}, {"fisher": {2: np.arange(96, dtype=np.float64)}}, {}
    )
    ids = torch.randint(5, 100, (4, 9), generator=torch.Generator().manual_seed(3))

    def gradient_of(student: Anatomy, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        operators.apply(BOTH, student, importance)
        logits = student.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        wanted = tensors or [student.layer(0).query.linear.weight, student.layer(2).down.linear.weight]
        return list(torch.autograd.grad(logits.square().sum(), wanted))

    whole = [anatomy.layer(0).query.linear.weight, anatomy.layer(2).down.linear.weight]
    query, down = gradient_of(anatomy.copy(linked=True), list(whole))
    own_query, own_down = gradient_of(anatomy.copy(), [])
    kept = torch.cat([torch.arange(16, 32), torch.arange(48, 64)])
    assert torch.allclose(query[kept], own_query, atol=1e-6)
    assert torch.allclose(down[:, 56:], own_down, atol=1e-6)
    assert query[:16].abs().max() == 0
    assert down[:, :56].abs().max() == 0
    assert own_query.abs().max() > 0


def test_slices_of_it_answer_like_the_teacher_and_the_teacher_is_left_alone(
    setup: Setup, train: Callable[..., Weights]
) -> None:
    before = {name: array.copy() for name, array in setup.tensors.items()}
    trained = replace(setup, elastic=train())
    for policy in (SHALLOW, NARROW, BOTH):
        assert agreement(trained, policy) > agreement(setup, policy) + 0.05
    assert all(np.array_equal(before[name], array) for name, array in setup.tensors.items())
    words = "bert.embeddings.word_embeddings.weight"
    assert np.array_equal(trained.elastic[words], before[words]), "word embeddings are not trained"  # type: ignore[index]


def test_what_is_not_cut_keeps_the_teachers_weights(setup: Setup) -> None:
    int8 = CompressionPolicy((Step("quantize", "layers.0", {"bits": 8}),))
    spoilt = replace(setup, elastic={name: array[::-1].copy() for name, array in setup.tensors.items()})
    for policy in (BASELINE, int8):
        assert SliceEvaluator(spoilt)(policy) == SliceEvaluator(setup)(policy)
    assert SliceEvaluator(spoilt)(SHALLOW) != SliceEvaluator(setup)(SHALLOW)


def test_interrupted_it_goes_on_to_the_same_weights_whatever_the_number_of_workers(
    train: Callable[..., Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.elastic._CHECKPOINT_STEPS", 4)
    spec = replace(SPEC, steps=10)
    whole = train(spec, workers=1)

    class Interruption(Exception):
        pass

    def interrupt(share: float, text: str) -> None:
        if share >= 0.6:
            raise Interruption

    with pytest.raises(Interruption):
        train(spec, checkpoint="two", progress=interrupt)
    resumed = train(spec, checkpoint="two")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_time_that_is_too_short_for_the_steps_ends_it_and_is_told(
    train: Callable[..., Weights], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="autocompress"):
        train(replace(SPEC, steps=1000, minutes=1e-6))
    assert "its time was up after 1 of 1000 steps" in caplog.text


def test_a_loss_that_is_no_number_ends_it_with_the_cause(train: Callable[..., Weights]) -> None:
    with pytest.raises(CandidateError, match=r"loss became nan; lower `elastic.learning_rate`"):
        train(replace(SPEC, learning_rate=1e30))


def test_only_feasible_policies_are_drawn_where_there_are_some(bert: Anatomy) -> None:
    space = SearchSpace(
        "small",
        1,
        (StepSpace("prune_channels", "layers.*.feed_forward", {"channels": Choice((24, 96))}, settings=CRITERION),),
    ).bind(bert.shape().names(), lambda *_: 96)
    shape = bert.shape()

    def price(most: float) -> Pricing:
        return Pricing(shape, Workload(), by_macs, {"latency_ms": Bound(max=most)})

    def by_macs(some: ModelShape) -> Estimate:
        cost = macs(some, batch=1, length=8, every_token=True) / 1e6
        return Estimate(cost, cost, cost)

    full = by_macs(shape).value
    found = sample_policies(space, price(0.9 * full), 20, seed=0)
    assert len(found) == 20
    assert found == sample_policies(space, price(0.9 * full), 20, seed=0)
    assert all(by_macs(operators.effective(policy, shape)[1]).value <= 0.9 * full for policy in found)
    assert len(sample_policies(space, price(1e-9), 5, seed=0)) == 5, "where nothing is feasible, anything"


def test_lessons_of_other_texts_make_another_elastic_model() -> None:
    def named(path: str, **settings: Any) -> TransferSpec:
        return TransferSpec(texts=TextSpec(Asset(path=path), "lines", **settings))

    before = {"copies": 1, "replace": 0.25, "neighbours": 8}
    assert transfer_identity(TransferSpec(copies=1), "") == before, "as it was when there were only copies"
    assert transfer_identity(TransferSpec(copies=1, recombined=2), "") == {**before, "recombined": 2}
    known = transfer_identity(named("a"), "one")
    assert known == transfer_identity(named("elsewhere"), "one"), "the content counts"
    assert known != transfer_identity(named("a"), "two")
    assert known != transfer_identity(named("a", most=10), "one")
    assert known != transfer_identity(TransferSpec(), "")
