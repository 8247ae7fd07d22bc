from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.core.training_spec import DistillationSpec, TrainingSpec
from autocompress.distill import CHECKPOINT, Objective, Trained, distillation_loss, predict, train
from autocompress.errors import CandidateError
from autocompress.tasks import Batch, Examples, batches
from tests.conftest import build_model
from tests.given_study import CLASSES

TRAINING = TrainingSpec(epochs=3, batch_size=8, learning_rate=2e-3, dropout=0.0, precision="fp32")
SOFT = DistillationSpec(hard_weight=0.0)
OPTIONS = {
    "answers": {},
    "attention-kl": {"attention": 1.0},
    "attention-probabilities": {"attention": 1.0, "attention_form": "mse-probabilities"},
    "attention-scores": {"attention": 0.1, "attention_form": "mse-scores"},
    "relations": {"relations": 1.0},
    "hidden": {"hidden": 1.0},
    "embeddings": {"embeddings": 1.0},
    "uniform": {"hidden": 1.0, "layer_map": "uniform"},
    "last": {"relations": 1.0, "layer_map": "last"},
    "learned": {"attention": 1.0, "relations": 1.0, "hidden": 1.0, "layer_map": "learned"},
    "everything": {"attention": 1.0, "relations": 1.0, "hidden": 1.0, "embeddings": 1.0},
}


class Interruption(Exception):
    """Stands for whatever ends a process between two epochs."""


def spec_of(option: str, **more: Any) -> DistillationSpec:
    return replace(SOFT, **{**OPTIONS[option], **more})


def small(teacher: Anatomy, *, seed: int = 0) -> Anatomy:
    """A student with tensors of its own: two of three layers, one with half of the heads and with other weights."""
    student = Anatomy(build_model(teacher.family.model_type, seed=seed), FAMILIES)
    student.model.load_state_dict(teacher.model.state_dict())
    student.keep_layers([0, 2])
    student.keep_heads(0, [1, 2])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return student


def logits_of(teacher: Anatomy, examples: Examples) -> Tensor:
    return torch.from_numpy(predict(teacher.model, batches(examples, 8), precision="fp32"))


def objective_of(student: Anatomy, teacher: Anatomy, examples: Examples, spec: DistillationSpec) -> Objective:
    return Objective.of(student, teacher, logits_of(teacher, examples), spec, task=CLASSES)


def loss_on(objective: Objective, student: Anatomy, data: list[Batch]) -> float:
    student.model.eval()
    with torch.no_grad():
        return float(np.mean([float(objective(student.model, batch)) for batch in data]))


def steps(objective: Objective, student: Anatomy, data: list[Batch], count: int, *, rate: float = 1e-3) -> None:
    trained = [*student.model.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    for batch in data[:1] * count:
        value = objective(student.model, batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_three_steps_bring_the_student_nearer(
    option: str, anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(anatomy)
    objective, data = objective_of(student, anatomy, examples, spec_of(option)), batches(examples, 8)
    before = loss_on(objective, student, data[:1])
    steps(objective, student, data, 3)
    assert loss_on(objective, student, data[:1]) < before


@pytest.mark.parametrize("option", ["attention-kl", "relations", "hidden", "embeddings"])
def test_each_option_alone_teaches_what_it_is_about(
    option: str, bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    """The weight is so large that the answers hardly count, and the loss that falls is the option's own."""
    examples, student = make_examples(), small(bert)
    data, [(name, weight)] = batches(examples, 8), OPTIONS[option].items()
    objective = objective_of(student, bert, examples, replace(SOFT, **{name: 1000.0 * weight}))
    answers = objective_of(student, bert, examples, SOFT)
    before = loss_on(objective, student, data[:1]) - loss_on(answers, student, data[:1])
    steps(objective, student, data, 5)
    assert loss_on(objective, student, data[:1]) - loss_on(answers, student, data[:1]) < 0.95 * before


@pytest.mark.parametrize("option", sorted(OPTIONS.keys() - {"uniform", "learned"}))
def test_the_teacher_itself_has_nothing_to_learn(
    option: str, anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples = make_examples()
    objective = objective_of(anatomy.copy(), anatomy, examples, spec_of(option))
    student = objective._student
    assert loss_on(objective, student, batches(examples, 8)) == pytest.approx(0, abs=1e-5)


def test_without_features_it_is_the_loss_of_answers_and_nothing_else(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    spec, teacher = DistillationSpec(), logits_of(bert, examples)
    seen: list[object] = []
    bert.model.register_forward_hook(lambda *_: seen.append(1))
    objective = Objective.of(student, bert, teacher, spec, task=CLASSES, label_smoothing=0.1)
    assert list(objective.parameters()) == []
    assert objective.state_dict() == {}
    hooked: list[bool] = []
    student.model.register_forward_hook(
        lambda *_: hooked.append(any(layer.module._forward_hooks for layer in student.layers))
    )
    for batch in batches(examples, 8):
        logits = student.model(**batch.inputs).logits
        expected = distillation_loss(CLASSES, logits, teacher[batch.rows], batch, spec, label_smoothing=0.1)
        assert torch.equal(objective(student.model, batch), expected)
    assert seen == [], "the teacher ran though its answers were known"
    assert not any(hooked)


def test_the_teacher_learns_nothing(bert: Anatomy, make_examples: Callable[..., Examples]) -> None:
    examples, student = make_examples(), small(bert)
    before = {name: tensor.clone() for name, tensor in bert.model.state_dict().items()}
    bert.model.train()
    objective = objective_of(student, bert, examples, spec_of("everything", layer_map="learned", adaptive=True))
    train(student.model, examples, objective, spec=TRAINING, score=lambda _: 0.0, seed=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in bert.model.state_dict().items())
    assert all(parameter.grad is None for parameter in bert.model.parameters())
    assert not bert.model.training


def test_a_learned_map_finds_the_layer_that_is_easiest_to_follow(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    objective = objective_of(student, bert, examples, spec_of("hidden", layer_map="learned"))
    assert objective.map.shape == (2, 3)
    steps(objective, student, batches(examples, 8), 40, rate=2e-4)
    weights = objective._pair_weights().reshape(2, 3) * 2
    assert weights.sum(1).tolist() == pytest.approx([1, 1])
    assert int(weights[0].argmax()) == 0, "the first layer is still the teacher's first, but for its heads"
    assert weights[0].max() > 0.45, "at a usual learning rate the map must move within a recovery"


def test_adaptive_weights_make_losses_of_all_sizes_count_alike(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    data = batches(examples, 8)
    plain = {name: objective_of(student, bert, examples, spec_of(name)) for name in ("answers", "hidden", "relations")}
    first = loss_on(plain["answers"], student, data[:1])
    objective = objective_of(student, bert, examples, replace(SOFT, hidden=1.0, relations=0.5, adaptive=True))
    assert loss_on(objective, student, data[:1]) == pytest.approx(2.5 * first, rel=1e-4)
    before = loss_on(plain["hidden"], student, data[:1]) - first
    steps(objective, student, data, 5)
    answers = loss_on(plain["answers"], student, data[:1])
    assert loss_on(plain["hidden"], student, data[:1]) - answers < before
    assert answers < first


def test_a_loss_that_is_reached_is_not_scaled_up_for_ever(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    objective = objective_of(student, bert, examples, replace(SOFT, hidden=1.0, adaptive=True))
    scales = objective._scales(torch.tensor(1.0), torch.tensor([0.0]))
    assert scales.tolist() == pytest.approx([100.0])


def finished(
    student: Anatomy, objective: Objective, examples: Examples, **how: Any
) -> tuple[Trained, dict[str, Tensor], dict[str, Tensor]]:
    data = batches(examples, 8)

    def score(model: nn.Module) -> float:
        return float((predict(model, data, precision="fp32").argmax(1) == examples.labels).mean())

    spec = replace(TRAINING, dropout=0.1)
    trained = train(student.model, examples, objective, spec=spec, score=score, seed=5, **how)
    return trained, student.model.state_dict(), objective.state_dict()


@pytest.mark.parametrize(
    "changes",
    [{"hidden": 1.0}, {"hidden": 0.5, "embeddings": 0.5, "relations": 1.0, "adaptive": True, "layer_map": "learned"}],
    ids=["hidden", "everything-that-is-trained-along"],
)
def test_interrupted_between_epochs_it_ends_with_the_same_weights(
    changes: dict[str, Any], bert: Anatomy, make_examples: Callable[..., Examples], tmp_path: Path
) -> None:
    examples, spec = make_examples(40), replace(SOFT, **changes)

    def prepared(seed: int) -> tuple[Anatomy, Objective, Examples]:
        student = small(bert, seed=seed)
        return student, objective_of(student, bert, examples, spec), examples

    def interrupt(epoch: int, value: float, best: float) -> None:
        if epoch == 1:
            raise Interruption

    whole = finished(*prepared(0))
    projection = whole[2]["projections.hidden.weight"]
    assert not torch.allclose(projection, torch.eye(64), atol=1e-4), "nothing was trained along"
    with pytest.raises(Interruption):
        finished(*prepared(0), checkpoint=tmp_path, on_epoch=interrupt)
    resumed = finished(*prepared(9), checkpoint=tmp_path)  # other weights, which the checkpoint's replace
    assert resumed[0] == whole[0]
    for first, second in zip(whole[1:], resumed[1:], strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / CHECKPOINT).exists()


def test_a_loss_that_is_no_number_ends_the_training_with_its_cause(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    objective = objective_of(student, bert, examples, spec_of("everything", adaptive=True))
    with torch.no_grad():
        student.layers[0].of_attention.query.linear.weight.fill_(float("nan"))
    with pytest.raises(CandidateError, match="the training loss became nan; lower `learning_rate`"):
        train(student.model, examples, objective, spec=TRAINING, score=lambda _: 0.0, seed=0)


def test_low_precision_is_for_the_models_and_not_for_the_losses(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, student = make_examples(), small(bert)
    objective, data = objective_of(student, bert, examples, spec_of("everything")), batches(examples, 8)
    exact, kinds = loss_on(objective, student, data), set()
    objective.projections["hidden"].register_forward_hook(lambda _, inputs, output: kinds.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        value = objective(student.model, data[0])
        assert {value.dtype, *kinds} == {torch.float32}
        assert loss_on(objective, student, data) == pytest.approx(exact, rel=0.05)
    before = loss_on(objective, student, data)
    spec = replace(TRAINING, precision="bf16", gradient_checkpointing=True)
    train(student.model, examples, objective, spec=spec, score=lambda _: 0.0, seed=0)
    assert loss_on(objective, student, data) < before


@pytest.mark.parametrize(
    ("changes", "rows", "classes", "message"),
    [
        ({"hidden": 1.0}, 90, 3, "the student's vocabulary has 100 tokens .* the teacher's 90 .* same tokenizer"),
        ({}, 100, 2, "the teacher tells 2 classes apart and the student 3; both must be for the same task"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    changes: dict[str, Any], rows: int, classes: int, message: str, bert: Anatomy
) -> None:
    student = small(bert)
    bert.model.resize_token_embeddings(rows)
    other = Anatomy(bert.model, FAMILIES)
    with pytest.raises(CandidateError, match=message):
        Objective.of(student, other, torch.zeros(4, classes), replace(SOFT, **changes), task=CLASSES)


def test_a_student_deeper_than_its_teacher_is_refused(bert: Anatomy) -> None:
    student = bert.copy()
    bert.keep_layers([0, 1])
    with pytest.raises(CandidateError, match="distillation: a student of 3 layers cannot learn from a teacher of 2"):
        Objective.of(student, bert, torch.zeros(4, 3), replace(SOFT, hidden=1.0), task=CLASSES)
    with pytest.raises(CandidateError, match="need the teacher beside its logits"):
        Objective.of(student, None, torch.zeros(4, 3), replace(SOFT, hidden=1.0), task=CLASSES)


def test_hidden_states_of_another_size_are_projected(make_examples: Callable[..., Examples]) -> None:
    from transformers import AutoModelForSequenceClassification, BertConfig

    sizes = {"vocab_size": 100, "num_labels": 3, "max_position_embeddings": 64, "pad_token_id": 1}
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, initializer_range=0.2, **sizes
    )
    student = Anatomy(AutoModelForSequenceClassification.from_config(config), FAMILIES)
    teacher, examples = Anatomy(build_model("bert"), FAMILIES), make_examples()
    spec = spec_of("everything", layer_map="uniform")
    objective, data = objective_of(student, teacher, examples, spec), batches(examples, 8)
    assert objective.projections["hidden"].weight.shape == (64, 32)
    before = loss_on(objective, student, data[:1])
    steps(objective, student, data, 5)
    assert loss_on(objective, student, data[:1]) < before


# Training habits


def test_attention_dropout_is_for_attention_weights_alone(
    anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples = make_examples(8)
    objective = objective_of(anatomy, anatomy.copy(), examples, SOFT)
    spec = TrainingSpec(epochs=1, dropout=0.0, attention_dropout=0.5, precision="fp32")
    train(anatomy.model, examples, objective, spec=spec, score=lambda _: 0.0, seed=0)
    rates = [module.p for module in anatomy.model.modules() if isinstance(module, nn.Dropout)]
    assert sorted(set(rates)) == [0.0, 0.5]
    assert rates.count(0.5) == len(anatomy.layers)
    batch = batches(examples, 8)[0]
    anatomy.model.train()
    twice = [anatomy.model(**batch.inputs).logits for _ in range(2)]
    assert not torch.allclose(*twice), "the attention implementation in use ignores the rate"


@pytest.mark.parametrize("option", ["answers", "everything"])
def test_checkpointed_layers_compute_the_same_gradients_twice(
    option: str, anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    examples, spec = make_examples(8), replace(TRAINING, epochs=1, dropout=0.1)
    found, calls = [], []
    for checkpointing in (False, True):
        student = small(anatomy)
        student.model.requires_grad_(True)
        student.word_embeddings.requires_grad_(False)
        objective = objective_of(student, anatomy, examples, spec_of(option))
        seen: list[int] = []
        student.layers[0].of_feed_forward.up.module.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        how = replace(spec, gradient_checkpointing=checkpointing)
        train(student.model, examples, objective, spec=how, score=lambda _: 0.0, seed=0)
        found.append(student.model.state_dict())
        calls.append(len(seen))
    assert calls == [1, 2]
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_a_model_without_such_parts_cannot_be_trained_so(make_examples: Callable[..., Examples]) -> None:
    for changes, message in (
        ({"attention_dropout": 0.1}, "no dropout on attention weights; remove `attention_dropout`"),
        ({"gradient_checkpointing": True}, "cannot be computed twice; remove gradient_checkpointing"),
    ):
        with pytest.raises(CandidateError, match=message):
            train(
                nn.Linear(2, 2),
                make_examples(8),
                lambda model, batch: torch.zeros(()),
                spec=replace(TRAINING, **changes),
                score=lambda _: 0.0,
                seed=0,
            )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": -1.0}, "`attention >= 0` must hold, got -1.0"),
        ({"hidden": float("nan")}, "`hidden >= 0` must hold, got nan"),
        ({"embeddings": float("inf")}, "`embeddings >= 0` must hold, got inf"),
    ],
)
def test_weights_of_losses_are_numbers_from_zero_on(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillationSpec(**changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`0 <= attention_dropout < 1` must hold, got 1.5"):
        TrainingSpec(attention_dropout=1.5)
