"""The loss that a student is trained with, put together as a spec asks: answers alone, or the teacher's insides too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autocompress.anatomy import Anatomy
from autocompress.anatomy.kept_rows import tokens_of
from autocompress.core.kept_tokens import TOKENS_ARE_GONE, keeps_tokens
from autocompress.core.training_spec import PER_LAYER, DistillationSpec
from autocompress.distill.features import Features, Part, recorded
from autocompress.distill.losses import (
    Learned,
    attention_map_loss,
    distillation_loss,
    hidden_state_loss,
    relation_loss,
)
from autocompress.distill.mapping import layer_map
from autocompress.distill.training import full_precision
from autocompress.errors import CandidateError
from autocompress.inputs.examples import Batch

_PARTS: dict[str, tuple[Part, ...]] = {
    "attention": ("query", "key"),
    "relations": ("query", "key", "value"),
    "hidden": ("hidden",),
    "embeddings": ("embeddings",),
}
"""What each loss looks at."""

_SHARPNESS = 100.0
"""A step of AdamW moves a parameter by about the learning rate, whatever its gradient. A map whose parameters are
logits themselves would move by 0.1 in a recovery of 500 steps at 2e-4: not at all."""

_MEMORY = 0.99
"""Share of a loss's running size that stays at every step: the last hundred count."""

_MOST_SCALED = 100.0
"""A loss that is next to nothing is as good as reached; without a bound it would be scaled up until it is noise."""


class Objective(nn.Module):
    """(model, batch) -> loss, a scalar, for `train`.

    Answers cost the student's forward pass alone: the teacher's logits are known. When the spec looks inside, the
    frozen teacher runs beside the student, and this module owns what is trained along: projections of hidden states and
    embeddings, and the weights of a learned layer map; with `adaptive` also the running sizes of the losses. All of it
    belongs into a checkpoint.

    Losses are balanced by their running sizes, not by trained variances (Kendall et al. 2018): AdamW moves a variance's
    logarithm by no more than the learning rate a step, which in the few hundred steps of a recovery changes no weight.
    """

    def __init__(
        self,
        student: Anatomy,
        teacher: Anatomy | None,
        teacher_logits: Tensor,
        spec: DistillationSpec,
        *,
        task: Learned,
        label_smoothing: float = 0.0,
    ) -> None:
        """See `of`."""
        super().__init__()
        self._student, self._teacher, self._logits = student, teacher, teacher_logits  # no modules: not to be trained
        self._spec, self._task, self._label_smoothing = spec, task, label_smoothing
        self._weights = {name: weight for name, weight in spec.feature_weights.items() if weight > 0}
        self._parts = {part for name in self._weights for part in _PARTS[name]}
        self._pairs: Sequence[tuple[int, int]] = ()
        self.projections = nn.ModuleDict()
        if teacher is None:
            return
        teacher.model.eval()  # what it teaches must not depend on dropout
        for name in ("hidden", "embeddings"):
            if name in self._weights:
                self.projections[name] = _projection(student.hidden, teacher.shape().width)
        if self._weights.keys() - {"embeddings"}:
            self._pairs = _pairs(student, teacher, spec)
            if spec.layer_map == "learned":
                self.map = nn.Parameter(torch.zeros(len(student.layers), len(teacher.layers)))
        if spec.adaptive:
            self.register_buffer("sizes", torch.zeros(1 + len(self._weights)))
            self.sizes: Tensor

    @staticmethod
    def of(
        student: Anatomy,
        teacher: Anatomy | None,
        teacher_logits: Tensor,
        spec: DistillationSpec,
        *,
        task: Learned,
        label_smoothing: float = 0.0,
    ) -> Objective:
        """`teacher_logits` are its outputs [texts, ...] in the order of the examples, `task` says how far the student's
        are from them; `teacher` is needed where the spec looks inside.

        Raises CandidateError when the two cannot be compared: other classes, another vocabulary, a student that is
        deeper than its teacher, has layers that were not cut from it, or loses tokens on its way, where layers are
        compared.
        """
        classes = student.shape().classes or student.shape().width
        if teacher_logits.shape[-1] != classes:
            raise CandidateError(
                f"distillation: the teacher tells {teacher_logits.shape[-1]} classes apart and the student {classes}; "
                "both must be for the same task"
            )
        if not spec.looks_inside:
            teacher = None
        elif any(spec.feature_weights[name] for name in PER_LAYER) and keeps_tokens(student.shape()):
            raise CandidateError(f"distillation: {TOKENS_ARE_GONE}")
        elif teacher is None:
            raise CandidateError(
                "distillation: `attention`, `relations`, `hidden` and `embeddings` need the teacher beside its logits"
            )
        else:
            _check_vocabularies(student, teacher)
        return Objective(student, teacher, teacher_logits, spec, task=task, label_smoothing=label_smoothing)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs `model`, the student's own, on a batch; under autocast only the models compute in low precision."""
        if self._teacher is None:
            logits = model(**batch.inputs).logits
            with full_precision():
                return self._answers(logits, batch)
        if model is not self._student.model:
            raise ValueError("the objective was made for another student's model")
        logits, ours = self._run(self._student, batch, {place for place, _ in self._pairs})
        with torch.no_grad():
            _, theirs = self._run(self._teacher, batch, {layer for _, layer in self._pairs})
        with full_precision():
            first = self._answers(logits, batch)
            found = {name: self._feature_loss(name, ours, theirs, batch.mask) for name in self._weights}
            weights = torch.tensor(list(self._weights.values()))
            losses = torch.stack(list(found.values()))
            if self._spec.adaptive:
                weights = weights * self._scales(first, losses)
            return first + (weights * losses).sum()

    def _answers(self, logits: Tensor, batch: Batch) -> Tensor:
        theirs = self._logits[batch.rows]
        return distillation_loss(
            self._task, logits.float(), theirs, batch, self._spec, label_smoothing=self._label_smoothing
        )

    def _run(self, anatomy: Anatomy, batch: Batch, layers: set[int]) -> tuple[Tensor, Features]:
        with recorded(anatomy, self._parts, layers=layers) as features:
            logits = anatomy.model(**batch.inputs).logits
        return logits, features

    def _feature_loss(self, name: str, ours: Features, theirs: Features, mask: Tensor) -> Tensor:
        if name == "embeddings":
            projected = self.projections[name](ours.of("embeddings").float())
            return hidden_state_loss(projected, theirs.of("embeddings"), mask)
        compare: dict[str, Callable[[Features, Features, int, int, Tensor], Tensor]] = {
            "attention": self._attention,
            "relations": self._relations,
            "hidden": self._hidden,
        }
        losses = [
            compare[name](ours, theirs, place, layer, mask)
            if name == "hidden" or self._student.layers[place].mixes
            else mask.new_zeros((), dtype=torch.float32)  # of a layer without attention there are no maps
            for place, layer in self._pairs
        ]
        return (torch.stack(losses) * self._pair_weights()).sum()

    def _attention(self, ours: Features, theirs: Features, place: int, layer: int, mask: Tensor) -> Tensor:
        return attention_map_loss(ours.scores(place), theirs.scores(layer), mask, form=self._spec.attention_form)

    def _relations(self, ours: Features, theirs: Features, place: int, layer: int, mask: Tensor) -> Tensor:
        parts: tuple[Part, ...] = ("query", "key", "value")
        heads = self._relation_heads(place, layer)
        losses = [relation_loss(ours.of(part, place), theirs.of(part, layer), mask, heads=heads) for part in parts]
        return torch.stack(losses).mean()

    def _hidden(self, ours: Features, theirs: Features, place: int, layer: int, mask: Tensor) -> Tensor:
        projected = self.projections["hidden"](ours.of("hidden", place).float())
        return hidden_state_loss(projected, theirs.of("hidden", layer), mask)

    def _relation_heads(self, place: int, layer: int) -> int:
        """As many as the teacher has heads, or as many fewer as it takes to divide both widths."""
        assert self._teacher is not None
        ours, theirs = self._student.layers[place].of_attention, self._teacher.layers[layer].of_attention
        common = math.gcd(ours.heads * ours.head_size, theirs.heads * theirs.head_size)
        return max(heads for heads in range(1, theirs.heads + 1) if common % heads == 0)

    def _pair_weights(self) -> Tensor:
        """One a pair; they sum to 1."""
        if self._spec.layer_map == "learned":
            by_student = functional.softmax(_SHARPNESS * self.map, dim=1)
            return by_student.flatten() / len(by_student)
        return torch.full((len(self._pairs),), 1 / len(self._pairs))

    def _scales(self, first: Tensor, losses: Tensor) -> Tensor:
        """What brings each loss to the running size of the first, [losses]."""
        with torch.no_grad():
            # means that start at 0 are too low at first, all by the same factor: their ratios are right at once
            self.sizes.lerp_(torch.stack([first, *losses]), 1 - _MEMORY)
            tiny = torch.finfo(self.sizes.dtype).tiny
            return (self.sizes[0] / self.sizes[1:].clamp(min=tiny)).clamp(1 / _MOST_SCALED, _MOST_SCALED)


def _projection(kept: Sequence[int], outputs: int) -> nn.Linear:
    """Starts as the identity, as far as sizes allow: what a student inherited is right where it is, in the channels
    that it has `kept` of the teacher's stream."""
    linear = nn.Linear(len(kept), outputs, bias=False, device="meta")  # no draw from the generator that training uses
    linear.weight = nn.Parameter(torch.eye(outputs, max(kept) + 1)[:, list(kept)])
    return linear


def _pairs(student: Anatomy, teacher: Anatomy, spec: DistillationSpec) -> list[tuple[int, int]]:
    try:
        return layer_map([layer.index for layer in student.layers], len(teacher.layers), spec.layer_map)
    except ValueError as error:
        raise CandidateError(f"distillation: {error}") from error


def _check_vocabularies(student: Anatomy, teacher: Anatomy) -> None:
    """Both read the same token ids, so they must mean the same to both; a token's row says nothing of its text, but
    another tokenizer hardly has as many tokens, and the same one for padding."""
    if not student.reads_words and not teacher.reads_words:
        return
    ours, theirs = (
        (tokens_of(anatomy.word_embeddings), getattr(anatomy.model.config, "pad_token_id", None))
        for anatomy in (student, teacher)
    )
    if ours != theirs:
        raise CandidateError(
            f"distillation: the student's vocabulary has {ours[0]} tokens (padding: {ours[1]}) and the teacher's "
            f"{theirs[0]} (padding: {theirs[1]}), so they do not read the same texts; take a teacher with the same "
            "tokenizer, or learn from its answers alone"
        )
