from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from autocompress.anatomy import FAMILIES
from autocompress.anatomy.positions import give_positions
from autocompress.core.training_spec import DistillationSpec, TrainingSpec
from autocompress.distill import CHECKPOINT, Progress, answers, distillation_loss, kept_weights, predict, train
from autocompress.distill.training import seconds_of_steps, share_of
from autocompress.errors import CandidateError
from autocompress.inputs.examples import AREA, area, in_parts
from autocompress.tasks import Batch, Examples, batches
from tests.conftest import build_model
from tests.given_study import CLASSES

SPEC = TrainingSpec(epochs=4, batch_size=8, learning_rate=2e-3, precision="fp32")


class Interruption(Exception):
    """Stands for whatever ends a process between two epochs."""


def cross_entropy(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return functional.cross_entropy(logits, batch.targets)


def scorer(examples: Examples) -> Callable[[nn.Module], float]:
    data = batches(examples, 8)
    return lambda model: float((predict(model, data, precision="fp32").argmax(1) == examples.labels).mean())


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_training_learns_and_keeps_its_best_epoch(make_examples: Callable[..., Examples]) -> None:
    model, examples = build_model("bert"), make_examples(96)
    score = scorer(examples)
    before = score(model)
    trained = train(model, examples, answers(cross_entropy), spec=replace(SPEC, epochs=16), score=score, seed=0)
    assert score(model) == trained.score == max(trained.scores)
    assert trained.score > before + 0.3


def test_interrupted_between_epochs_it_ends_with_the_same_weights(
    make_examples: Callable[..., Examples], tmp_path: Path
) -> None:
    examples = make_examples(40)
    score = scorer(examples)
    whole: Any = build_model("bert")
    first = train(whole, examples, answers(cross_entropy), spec=SPEC, score=score, seed=5)

    def interrupt(epoch: int, value: float, best: float) -> None:
        if epoch == 1:
            raise Interruption

    with pytest.raises(Interruption):
        train(
            build_model("bert"),
            examples,
            answers(cross_entropy),
            spec=SPEC,
            score=score,
            seed=5,
            checkpoint=tmp_path,
            on_epoch=interrupt,
        )
    resumed: Any = build_model("bert", seed=99)  # its weights come from the checkpoint
    second = train(resumed, examples, answers(cross_entropy), spec=SPEC, score=score, seed=5, checkpoint=tmp_path)
    assert second == first
    assert same(resumed, whole)
    weights, history = kept_weights(tmp_path / CHECKPOINT)
    assert history == first
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole.state_dict().items())


def test_interrupted_inside_an_epoch_it_ends_with_the_same_weights(
    make_examples: Callable[..., Examples], tmp_path: Path
) -> None:
    """The epoch begins anew from the checkpoint before it, with its own seed: dropout and order are what they were."""
    examples = make_examples(40)
    score = scorer(examples)
    whole: Any = build_model("bert")
    first = train(whole, examples, answers(cross_entropy), spec=SPEC, score=score, seed=5, keep="last")

    def interrupt(at: Progress) -> None:
        if at.epoch == 2 and at.done == 2 * 5 + 3:
            raise Interruption

    options: dict[str, Any] = {"spec": SPEC, "score": score, "seed": 5, "keep": "last", "checkpoint": tmp_path}
    with pytest.raises(Interruption):
        train(build_model("bert"), examples, answers(cross_entropy), progress=interrupt, **options)
    assert len(kept_weights(tmp_path / CHECKPOINT)[1].scores) == 2, "two epochs are kept, and the third was begun"
    resumed: Any = build_model("bert", seed=99)
    assert train(resumed, examples, answers(cross_entropy), **options) == first
    assert same(resumed, whole)


def test_a_training_of_few_steps_sees_other_texts_in_each_epoch_and_ends_with_them(
    make_examples: Callable[..., Examples],
) -> None:
    examples, seen = make_examples(80), list[set[int]]()

    def goal(model: nn.Module, batch: Batch) -> torch.Tensor:
        seen.append(set(batch.rows.tolist()))
        return cross_entropy(model(**batch.inputs).logits, batch)

    at: list[Progress] = []
    spec = replace(SPEC, steps=13)
    trained = train(build_model("bert"), examples, goal, spec=spec, score=lambda _: 0.5, seed=0, progress=at.append)
    assert len(trained.scores) == 4
    assert (at[-1].done, at[-1].total) == (12, 12), "three batches in each of four epochs"
    assert seen[:3] != seen[3:6], "the second epoch has batches of its own"
    assert len(set().union(*seen)) > 3 * 8


def test_a_bound_on_steps_that_is_not_reached_changes_nothing(make_examples: Callable[..., Examples]) -> None:
    def weights(spec: TrainingSpec) -> nn.Module:
        model = build_model("bert")
        train(model, make_examples(40), answers(cross_entropy), spec=spec, score=lambda _: 0.5, seed=0)
        return model

    assert same(weights(replace(SPEC, epochs=1, steps=5)), weights(replace(SPEC, epochs=1)))
    assert "steps" not in SPEC.identity, "models trained before there was a bound are found"
    assert replace(SPEC, steps=9).identity["steps"] == 9
    assert replace(SPEC, steps=13).going_on(epochs=2, learning_rate=1e-4).steps_an_epoch(10_000) == 3


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(make_examples: Callable[..., Examples]) -> None:
    """A root has no slope at 0: the loss is 0, its gradient is none. The last step's would end up in the weights."""
    model = build_model("bert")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CandidateError, match="the training's gradients became nan; lower `learning_rate`"):
        train(
            model,
            make_examples(8),
            answers(lambda logits, batch: (logits * 0).sum().sqrt()),
            spec=replace(SPEC, epochs=1),
            score=lambda _: 0.0,
            seed=0,
        )
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_loss_that_is_no_number_ends_the_training_with_its_cause(make_examples: Callable[..., Examples]) -> None:
    with pytest.raises(CandidateError, match="the training loss became nan; lower `learning_rate`"):
        train(
            build_model("bert"),
            make_examples(),
            answers(lambda logits, batch: logits.sum() * float("nan")),
            spec=SPEC,
            score=lambda _: 0.0,
            seed=0,
        )


def test_predictions_come_in_the_order_of_the_split(make_examples: Callable[..., Examples]) -> None:
    model, examples = build_model("bert"), make_examples(17)
    singly = np.concatenate([predict(model, batches(examples.take([i]), 1), precision="fp32") for i in range(17)])
    assert np.allclose(predict(model, batches(examples, 4), precision="fp32"), singly, atol=1e-5)


def test_shuffled_batches_hold_every_text_once_and_change_with_the_seed(make_examples: Callable[..., Examples]) -> None:
    examples = make_examples(50)
    orders = [np.concatenate([batch.rows for batch in batches(examples, 8, shuffle=seed)]) for seed in (1, 1, 2)]
    assert sorted(orders[0]) == list(range(50))
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_distillation_loss_is_zero_only_for_the_teachers_own_answers() -> None:
    teacher, labels = torch.randn(6, 4), torch.randint(0, 4, (6,))
    labelled = Batch({}, labels, np.arange(6))
    soft = DistillationSpec(temperature=3.0, hard_weight=0.0)
    assert distillation_loss(CLASSES, teacher, teacher, labelled, soft).abs() < 1e-6
    assert distillation_loss(CLASSES, teacher.flip(1), teacher, labelled, soft) > 0.01
    hard = DistillationSpec(hard_weight=1.0)
    expected = functional.cross_entropy(teacher, labels)
    assert torch.allclose(distillation_loss(CLASSES, teacher, torch.zeros(6, 4), labelled, hard), expected)


def test_distillation_gradients_keep_their_size_over_temperatures() -> None:
    teacher, labels = torch.randn(64, 4), torch.randint(0, 4, (64,))
    labelled, norms = Batch({}, labels, np.arange(64)), []
    for temperature in (4.0, 8.0):
        logits = torch.zeros(64, 4, requires_grad=True)
        distillation_loss(CLASSES, logits, teacher, labelled, DistillationSpec(temperature, 0.0)).backward()
        norms.append(float(logits.grad.norm()))  # type: ignore[union-attr]
    assert norms[1] == pytest.approx(norms[0], rel=0.15)


def test_dropout_is_what_the_recipe_says(make_examples: Callable[..., Examples]) -> None:
    model = build_model("bert")
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.1}
    examples = make_examples(8)
    train(
        model,
        examples,
        answers(cross_entropy),
        spec=TrainingSpec(epochs=1, dropout=0.0),
        score=lambda _: 0.0,
        seed=0,
    )
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.0}


# Long texts


def long_texts(length: int, rows: int) -> tuple[Any, Examples]:
    """A model with dropout off, and texts of so many tokens that it reads."""
    model = build_model("bert")
    give_positions(model, FAMILIES["bert"], length, "tile")
    generator = np.random.default_rng(0)
    tokens = tuple(generator.integers(5, 90, length - row) for row in range(rows))
    return model.eval(), Examples(("",) * rows, tokens, np.arange(rows) % 3, 1)


def test_short_texts_are_computed_at_a_time_and_long_ones_in_parts(make_examples: Callable[..., Examples]) -> None:
    (batch,) = batches(make_examples(96), 96)
    assert [*in_parts(batch)] == [batch]
    assert [AREA // area(length) for length in (8, 256, 512, 1024, 2048)] == [2048, 64, 16, 4, 1]
    _, examples = long_texts(1100, 7)
    (whole,) = batches(examples, 8)
    parts = [*in_parts(whole)]
    assert [len(part.rows) for part in parts] == [3, 3, 1]
    assert np.array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
    for part in parts:
        assert part.mask.shape == (len(part.rows), 1100)
        assert torch.equal(part.targets, torch.from_numpy(examples.labels[part.rows]))


def test_a_step_in_parts_is_that_of_the_whole_batch() -> None:
    model, examples = long_texts(1100, 4)
    (batch,) = batches(examples, 8)
    logits = model(**batch.inputs).logits
    cross_entropy(logits, batch).backward()
    known = {name: one.grad.clone() for name, one in model.named_parameters()}
    assert np.allclose(predict(model, [batch], precision="fp32"), logits.detach()[np.argsort(batch.rows)], atol=1e-4)
    goal, found = answers(cross_entropy), {name: torch.zeros_like(grad) for name, grad in known.items()}
    for part in in_parts(batch):
        model.zero_grad()
        (goal(model, part) * share_of(part, batch)).backward()
        for name, one in model.named_parameters():
            found[name] += one.grad
    for name, gradient in known.items():
        assert torch.allclose(found[name], gradient, atol=1e-4 * max(1.0, float(gradient.abs().max()))), name


def test_of_a_row_that_is_too_long_to_be_kept_layers_are_computed_again() -> None:
    for length, times in ((40, 2), (2049, 4)):  # once for a step that does not count
        model, examples = long_texts(length, 1)
        model.bert.encoder.layer = model.bert.encoder.layer[:1]
        seen: list[int] = []
        model.bert.encoder.layer[0].intermediate.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        seconds_of_steps(model, batches(examples, 1), answers(cross_entropy), spec=SPEC)
        assert len(seen) == times
