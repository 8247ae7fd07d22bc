"""What a student learns from, one function a kind of knowledge: answers, attention maps, attention relations, states.

All are pure, compute in fp32 and are 0 where student and teacher agree. `mask` [texts, length] is 1 for real tokens;
padding counts neither as a query nor as a key. Each is a mean over texts' real tokens, so that a weight means the same
for short and long texts.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from autocompress.core.training_spec import AttentionForm, DistillationSpec
from autocompress.inputs.examples import Batch


class Learned(Protocol):
    """The losses of a task (`tasks.Task`)."""

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor: ...

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor: ...


def distillation_loss(
    task: Learned,
    outputs: Tensor,
    teacher: Tensor,
    batch: Batch,
    spec: DistillationSpec,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The task's loss beside the teacher's softened answers, and beside the true labels by `hard_weight`.

    `outputs`, `teacher` [texts, ...]. The soft part needs no smoothing of labels.
    """
    soft = task.soft_loss(outputs, teacher, batch, temperature=spec.temperature)
    hard = task.loss(outputs.float(), batch.targets, label_smoothing=label_smoothing)
    return (1 - spec.hard_weight) * soft + spec.hard_weight * hard


def attention_map_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, form: AttentionForm) -> Tensor:
    """How far the student looks elsewhere than the teacher, a mean over heads and real queries.

    `student`, `teacher` are scores before the softmax, [texts, heads, length, length], queries before keys.

    mse-scores         squared difference of the scores, a mean over real keys too (Jiao et al. 2020, TinyBERT,
                       equation 7)
    mse-probabilities  squared distance of the two distributions of a query; summed over keys, for a mean would shrink
                       with the square of a text's length
    kl                 Kullback-Leibler divergence of the student's distribution from the teacher's (Wang et al. 2020,
                       MiniLM, section 3.1)

    Where heads were pruned, those that are left have no counterparts: then the means of the probabilities over heads
    are compared, also by `mse-scores`, as a mean of scores is no attention map of anything.
    """
    if student.shape[1] != teacher.shape[1]:
        means = [_log_probabilities(scores, mask).exp().mean(1, keepdim=True) for scores in (student, teacher)]
        if form == "kl":
            ours, theirs = (mean.clamp(min=torch.finfo(mean.dtype).tiny).log() for mean in means)
            return _mean_over_queries(_divergence(ours, theirs), mask)
        return _mean_over_queries((means[0] - means[1]).square().sum(-1), mask)
    if form == "mse-scores":
        squares = (student.float() - teacher.float()).square() * mask[:, None, None, :]
        return _mean_over_queries(squares.sum(-1) / _real_tokens(mask)[:, None, None], mask)
    ours, theirs = (_log_probabilities(scores, mask) for scores in (student, teacher))
    if form == "mse-probabilities":
        return _mean_over_queries((ours.exp() - theirs.exp()).square().sum(-1), mask)
    return _mean_over_queries(_divergence(ours, theirs), mask)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, heads: int) -> Tensor:
    """How differently tokens relate to one another in the queries, or the keys, or the values, of two layers.

    `student`, `teacher` [texts, length, width]; widths may differ. Both are split anew into `heads` relation heads; a
    relation is the softmax of the scaled products of a vector with all of its own kind, and the loss the
    Kullback-Leibler divergence of the student's from the teacher's, a mean over relation heads and real tokens
    (Wang et al. 2021, MiniLMv2, section 3.1). Raises ValueError when `heads` does not divide both widths.
    """
    for width in (student.shape[-1], teacher.shape[-1]):
        if width % heads:
            raise ValueError(f"{heads} relation heads do not divide a width of {width}; take a common divisor")
    ours, theirs = (_log_probabilities(_relations(vectors, heads), mask) for vectors in (student, teacher))
    return _mean_over_queries(_divergence(ours, theirs), mask)


def hidden_state_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of two layers' outputs over real tokens, or of what two embeddings put out.

    `student`, `teacher` [texts, length, hidden], the student's projected where sizes differ (Jiao et al. 2020,
    TinyBERT, equations 8 and 9). Every vector is brought to mean 0 and variance 1 first: sizes of hidden states differ
    a hundredfold between models and layers, and a weight of this loss would mean something else for each.
    """
    size = (teacher.shape[-1],)
    ours, theirs = (functional.layer_norm(states.float(), size) for states in (student, teacher))
    squares = (ours - theirs).square().mean(-1) * mask
    return squares.sum() / mask.sum()


def _relations(vectors: Tensor, heads: int) -> Tensor:
    """[texts, length, width] -> scaled products [texts, heads, length, length]."""
    texts, length, _ = vectors.shape
    split = vectors.float().reshape(texts, length, heads, -1).transpose(1, 2)
    return split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])


def _log_probabilities(scores: Tensor, mask: Tensor) -> Tensor:
    """The softmax's logarithm over real keys; finite for others, whose probability is 0."""
    scores = scores.float()
    hidden = mask[:, None, None, :] == 0
    # not -inf: 0 * inf is no number
    return functional.log_softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), dim=-1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Log-probabilities [..., keys] -> Kullback-Leibler divergence of the student's from the teacher's [...]."""
    return (teacher.exp() * (teacher - student)).sum(-1)


def _real_tokens(mask: Tensor) -> Tensor:
    return mask.sum(-1).clamp(min=1)


def _mean_over_queries(values: Tensor, mask: Tensor) -> Tensor:
    """[texts, heads, length] -> the mean over heads and real queries."""
    return (values * mask[:, None, :]).sum() / (mask.sum() * values.shape[1])
