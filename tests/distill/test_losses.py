"""Every loss against a plain computation, text by text and token by token, that never sees padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from autocompress.core.training_spec import AttentionForm, DistillationSpec
from autocompress.distill import attention_map_loss, distillation_loss, hidden_state_loss, relation_loss
from autocompress.tasks import Batch
from tests.given_study import CLASSES

MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
REAL = [6, 3, 1]
FORMS: list[AttentionForm] = ["mse-scores", "mse-probabilities", "kl"]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def maps(heads: int, seed: int = 0) -> Tensor:
    return 2 * random(3, heads, 6, 6, seed=seed)


def of_form(form: AttentionForm) -> Loss:
    return lambda student, teacher, mask: attention_map_loss(student, teacher, mask, form=form)


def related(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    return relation_loss(student, teacher, mask, heads=4)


def divergence(ours: Tensor, theirs: Tensor) -> float:
    return float(sum(q * math.log(q / p) for p, q in zip(ours.tolist(), theirs.tolist(), strict=True)))


def compared(form: AttentionForm, ours: Tensor, theirs: Tensor) -> float:
    """Two rows of scores over real keys."""
    if form == "mse-scores":
        return float(((ours - theirs) ** 2).mean())
    p, q = torch.softmax(ours, 0), torch.softmax(theirs, 0)
    return divergence(p, q) if form == "kl" else float(((p - q) ** 2).sum())


@pytest.mark.parametrize("form", FORMS)
def test_attention_maps_are_compared_query_by_query(form: AttentionForm) -> None:
    student, teacher = maps(2), maps(2, seed=1)
    rows = [
        compared(form, student[text, head, query, :real], teacher[text, head, query, :real])
        for text, real in enumerate(REAL)
        for head in range(2)
        for query in range(real)
    ]
    assert float(attention_map_loss(student, teacher, MASK, form=form)) == pytest.approx(
        sum(rows) / len(rows), rel=1e-5
    )


@pytest.mark.parametrize("form", FORMS)
def test_maps_of_other_numbers_of_heads_are_compared_by_their_means(form: AttentionForm) -> None:
    student, teacher = maps(2), maps(3, seed=1)
    rows = []
    for text, real in enumerate(REAL):
        p, q = (torch.softmax(scores[text, :, :real, :real], -1).mean(0) for scores in (student, teacher))
        for ours, theirs in zip(p, q, strict=True):
            rows.append(divergence(ours, theirs) if form == "kl" else float(((ours - theirs) ** 2).sum()))
    found = attention_map_loss(student, teacher, MASK, form=form)
    assert float(found) == pytest.approx(sum(rows) / len(rows), rel=1e-5)


def test_relations_are_compared_across_widths() -> None:
    student, teacher, heads = random(3, 6, 8), random(3, 6, 12, seed=1), 4
    rows = []
    for text, real in enumerate(REAL):
        for head in range(heads):
            maps = []
            for vectors in (student, teacher):
                size = vectors.shape[-1] // heads
                part = vectors[text, :real, head * size : (head + 1) * size]
                maps.append([torch.softmax(part @ part[query] / math.sqrt(size), 0) for query in range(real)])
            rows += [divergence(ours, theirs) for ours, theirs in zip(*maps, strict=True)]
    assert float(relation_loss(student, teacher, MASK, heads=heads)) == pytest.approx(sum(rows) / len(rows), rel=1e-4)


def test_relation_heads_must_divide_both_widths() -> None:
    with pytest.raises(ValueError, match="5 relation heads do not divide a width of 12; take a common divisor"):
        relation_loss(random(3, 6, 10), random(3, 6, 12), MASK, heads=5)


def test_hidden_states_are_compared_by_direction_and_not_by_size() -> None:
    student, teacher = random(3, 6, 8), random(3, 6, 8, seed=1)
    rows = []
    for text, real in enumerate(REAL):
        for token in range(real):
            a, b = ((v - v.mean()) / v.std(unbiased=False) for v in (student[text, token], teacher[text, token]))
            rows.append(float(((a - b) ** 2).mean()))
    assert float(hidden_state_loss(student, teacher, MASK)) == pytest.approx(sum(rows) / len(rows), rel=1e-4)
    assert float(hidden_state_loss(100 * teacher + 3, teacher, MASK)) == pytest.approx(0, abs=1e-4)


CASES: list[tuple[Loss, tuple[int, ...]]] = [
    *((of_form(form), (3, 2, 6, 6)) for form in FORMS),
    (related, (3, 6, 8)),
    (hidden_state_loss, (3, 6, 8)),
]
NAMES = [*FORMS, "relations", "hidden"]


@pytest.mark.parametrize(("loss", "shape"), CASES, ids=NAMES)
def test_what_is_alike_has_no_loss(loss: Loss, shape: tuple[int, ...]) -> None:
    assert float(loss(random(*shape), random(*shape), MASK)) == pytest.approx(0, abs=1e-6)
    assert float(loss(random(*shape), random(*shape, seed=1), MASK)) > 0.05


@pytest.mark.parametrize(("loss", "shape"), CASES, ids=NAMES)
def test_padding_does_not_matter_whatever_it_holds(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape), random(*shape, seed=1)
    before = loss(student, teacher, MASK)
    for tensor, rubbish in ((student, 1e4), (teacher, -1e4)):
        for text, real in enumerate(REAL):
            if len(shape) == 4:
                tensor[text, :, real:] = rubbish
                tensor[text, :, :, real:] = rubbish
            else:
                tensor[text, real:] = rubbish
    assert torch.allclose(loss(student, teacher, MASK), before, atol=1e-6)


@pytest.mark.parametrize(("loss", "shape"), CASES, ids=NAMES)
def test_gradients_reach_real_tokens_and_no_others(loss: Loss, shape: tuple[int, ...]) -> None:
    student = random(*shape).requires_grad_()
    loss(student, random(*shape, seed=1), MASK).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    by_token = student.grad.abs().sum((1, 3)) if len(shape) == 4 else student.grad.abs().sum(-1)
    assert (by_token[0] > 0).all()
    assert (by_token[MASK == 0] == 0).all()


@pytest.mark.parametrize(("loss", "shape"), CASES, ids=NAMES)
def test_a_step_along_the_gradient_brings_the_student_nearer(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape).requires_grad_(), random(*shape, seed=1)
    before = loss(student, teacher, MASK)
    (gradient,) = torch.autograd.grad(before, student)
    assert loss(student.detach() - 0.1 * gradient, teacher, MASK) < before


def test_labels_are_smoothed_only_for_the_hard_part() -> None:
    logits, teacher, labels = random(5, 3), random(5, 3, seed=1), torch.tensor([0, 1, 2, 1, 0])
    labelled = Batch({}, labels, np.arange(5))
    hard, soft = DistillationSpec(hard_weight=1.0), DistillationSpec(hard_weight=0.0)
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert torch.allclose(distillation_loss(CLASSES, logits, teacher, labelled, hard, label_smoothing=0.2), expected)
    assert not torch.allclose(distillation_loss(CLASSES, logits, teacher, labelled, hard), expected)
    plain = distillation_loss(CLASSES, logits, teacher, labelled, soft)
    assert torch.equal(distillation_loss(CLASSES, logits, teacher, labelled, soft, label_smoothing=0.2), plain)
