"""The training loop for teachers and students: AdamW, linear warm-up and decay, clipping, best epoch kept.

Every epoch ends in a checkpoint and starts from a seed of its own, so that a run interrupted between two epochs and
resumed does what the uninterrupted run would have done.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint as recomputed

from autocompress.assets import new_file
from autocompress.core.training_spec import Keep, TrainingSpec
from autocompress.errors import CandidateError
from autocompress.inputs.examples import AREA, Batch, Rows, area, batches, in_parts
from autocompress.inputs.outputs import blank, stacked

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Batch], Tensor]
"""(logits [texts, classes], batch) -> scalar."""

Goal = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> scalar; runs the model itself. The parameters of one that is a module are trained along."""

CHECKPOINT = "checkpoint.safetensors"
AWARE = "aware.safetensors"
"""Beside a checkpoint: that of a training which went on from it with quantization, and was the better for it."""
_BF16_MUST_GAIN = 1.3
_HOPELESS: Final = 8
"""Times as long as in fp32."""

FUSED_FROM: Final = 512
"""Positions. There the fused kernel takes half of the time of plain products, forwards and backwards, on an EPYC with
AVX2 (with fewer it was 1.4 times as fast there, and slower on a Xeon: docs/experiments.md)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run is: batches done of all batches, and the best validation score so far."""

    done: int
    total: int
    epoch: int
    best: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it: validation score after every epoch, and which epoch's weights the model now has."""

    scores: tuple[float, ...]
    kept_epoch: int

    @property
    def score(self) -> float:
        """Of the kept epoch."""
        return self.scores[self.kept_epoch]


@functools.cache
def bf16_pays() -> bool:
    """Whether this CPU multiplies bf16 matrices clearly faster than fp32 ones; measured once a process."""
    fp32 = _seconds(torch.float32)
    return fp32 > _BF16_MUST_GAIN * _seconds(torch.bfloat16, hopeless=_HOPELESS * fp32)


def _seconds(dtype: torch.dtype, *, hopeless: float = math.inf) -> float:
    """The least of five products' times, or of those until a second one takes longer than is `hopeless`: without
    instructions for bf16 one takes 25 times as long as in fp32. The first may, of any type: it prepares its kernel."""
    a = torch.ones(512, 512, dtype=dtype)
    times: list[float] = []
    while len(times) < 5 and sum(one > hopeless for one in times) < 2:
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return min(times)


def autocast(precision: str) -> AbstractContextManager[object]:
    """Mixed precision where asked for, or where `auto` finds that it pays."""
    if precision == "bf16" or (precision == "auto" and bf16_pays()):
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def full_precision() -> AbstractContextManager[object]:
    """What is computed inside of an `autocast` and must not be rounded: losses."""
    return torch.autocast("cpu", enabled=False)


def answers(loss: Loss) -> Goal:
    """Training on a model's logits alone."""

    def goal(model: nn.Module, batch: Batch) -> Tensor:
        logits = model(**batch.inputs).logits
        with full_precision():
            return loss(logits.float(), batch)

    return goal


def predict(model: nn.Module, data: Sequence[Batch], *, precision: str = "auto") -> NDArray[np.float32]:
    """Logits [texts, ...] in the order of the split; those of each token are 0 behind a text's last one."""
    model.eval()
    rows, logits = [], []
    with torch.inference_mode(), autocast(precision):
        for batch in (part for whole in data for part in in_parts(whole)):
            found = model(**batch.inputs).logits.float().numpy()
            logits.append(blank(found, batch.mask.numpy()) if found.ndim > 2 else found)
            rows.append(batch.rows)
    order = np.argsort(np.concatenate(rows))
    return stacked(logits)[order]


@dataclass(frozen=True, slots=True)
class _Run:
    """All that a training run changes. `along` is what the goal trains beside the model; often nothing."""

    model: nn.Module
    along: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR

    @staticmethod
    def of(model: nn.Module, goal: Goal, spec: TrainingSpec, *, steps: int) -> _Run:
        along = goal if isinstance(goal, nn.Module) else nn.Module()
        # fused: one pass over weights, gradients and moments; the plain loop takes half of a small student's step
        optimizer = torch.optim.AdamW(
            _groups(model, along, spec.weight_decay),
            lr=spec.learning_rate,
            fused=True,
        )
        slope = functools.partial(_slope, total=steps, warmup=spec.warmup)
        return _Run(model, along, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, slope))


def train(
    model: nn.Module,
    examples: Rows,
    goal: Goal,
    *,
    spec: TrainingSpec,
    score: Callable[[nn.Module], float],
    seed: int,
    keep: Keep = "best",
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float, float], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Trains in place and leaves the weights of the best epoch, or of the last, in the model.

    `goal` is an `Objective`, or a loss on logits made into one by `answers`. With `checkpoint`, a folder, the state
    after each epoch is kept there and found again; then `on_epoch(epoch, score, kept score)` is called. Raises
    CandidateError when the loss or a gradient stops being a number, or when the model cannot be trained as `spec` says.
    """
    _prepare(model, spec, longest=max(examples.lengths, default=0))
    steps = spec.steps_an_epoch(len(examples))
    total = steps * spec.epochs
    run = _Run.of(model, goal, spec, steps=total)
    state = _restore(checkpoint, run) if checkpoint else None
    scores, best = state or ((), None)
    for epoch in range(len(scores), spec.epochs):
        torch.manual_seed(seed * 10_007 + epoch)
        model.train()
        shuffled = batches(examples, spec.batch_size, shuffle=seed * 10_007 + epoch, most=steps)
        for step, batch in enumerate(shuffled):
            _step(run, batch, goal, spec)
            if progress:
                progress(Progress(epoch * steps + step + 1, total, epoch, max(scores, default=0.0)))
        scores = (*scores, score(model))
        if best is None or keep == "last" or scores[-1] > max(scores[:-1], default=-math.inf):
            best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        logger.info("epoch %d of %d: validation score %.4f", epoch + 1, spec.epochs, scores[-1])
        if checkpoint:
            _save(checkpoint, run, scores, best, keep)
        if on_epoch:
            on_epoch(epoch, scores[-1], scores[_kept(scores, keep)])
    assert best is not None
    model.load_state_dict(best)
    model.eval()
    return Trained(scores, _kept(scores, keep))


def seconds_of_steps(model: nn.Module, data: Sequence[Batch], goal: Goal, *, spec: TrainingSpec) -> list[float]:
    """How long a step over each of these batches takes, after one over the first that does not count. Trains the model
    on: it is of no use afterwards. Raises CandidateError as `train` does."""
    _prepare(model, spec, longest=max(batch.mask.shape[1] for batch in data))
    run = _Run.of(model, goal, spec, steps=len(data) + 1)
    model.train()
    _step(run, data[0], goal, spec)
    taken = []
    for batch in data:
        began = time.perf_counter()
        _step(run, batch, goal, spec)
        taken.append(time.perf_counter() - began)
    return taken


def keep_untrained(
    model: nn.Module,
    score: Callable[[nn.Module], float],
    *,
    checkpoint: Path,
    on_epoch: Callable[[int, float, float], None] | None = None,
) -> Trained:
    """A checkpoint of a model as it is, as if an epoch had left it so."""
    found = score(model)
    best = {f"best.{name}": tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    _write(checkpoint, best, scores=(found,), step=0, keep="last")
    if on_epoch:
        on_epoch(0, found, found)
    return Trained((found,), 0)


def _kept(scores: Sequence[float], keep: str) -> int:
    return len(scores) - 1 if keep == "last" else int(np.argmax(scores))


def _prepare(model: nn.Module, spec: TrainingSpec, *, longest: int) -> None:
    """Sets the rates of dropout, and which activations are kept: none inside of layers where the spec says so, or where
    those of the longest row alone are too many."""
    for module in model.modules():
        if spec.dropout is not None and isinstance(module, nn.Dropout):
            module.p = spec.dropout
    if spec.attention_dropout is not None:
        # an attention module holds the rate in a module of its own, also where a fused kernel drops
        rates = [getattr(m, "dropout", None) for m in model.modules() if hasattr(m, "attention_head_size")]
        found = [module for module in rates if isinstance(module, nn.Dropout)]
        if not found:
            raise CandidateError("training: this model has no dropout on attention weights; remove `attention_dropout`")
        for module in found:
            module.p = spec.attention_dropout
    compute_again(model, asked=spec.gradient_checkpointing, longest=longest)


def compute_again(model: nn.Module, *, longest: int, asked: bool = False) -> None:
    """Lets layers be computed again in the backward pass where it is asked for, or where the activations of one row of
    the `longest` length are too many to be kept. Raises CandidateError where it is asked for in vain."""
    if not asked and area(longest) <= AREA:
        return
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
    if asked and not layers:
        raise CandidateError("training: this model's layers cannot be computed twice; remove gradient_checkpointing")
    for layer in layers:
        # by hand: the library's own switch makes frozen embeddings compute gradients
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = functools.partial(recomputed, use_reentrant=False)


def _step(run: _Run, batch: Batch, goal: Goal, spec: TrainingSpec) -> None:
    # around the backward pass too, which computes checkpointed layers again and must do it the same way
    run.optimizer.zero_grad(set_to_none=True)
    with attention_kernel(batch.mask.shape[1]):
        for some in in_parts(batch):
            with autocast(spec.precision):
                value = goal(run.model, some) * share_of(some, batch)
            if not torch.isfinite(value):
                raise CandidateError(f"the training loss became {value.item()}; lower `learning_rate` or `clip_norm`")
            value.backward()  # type: ignore[no-untyped-call]
    for part in (run.model, run.along):  # apart: a new projection's gradients are no reason to slow the model down
        if parameters := list(part.parameters()):
            norm = nn.utils.clip_grad_norm_(parameters, spec.clip_norm)
            if not torch.isfinite(norm):  # the last step's would end up in the weights, and no loss would tell
                raise CandidateError(f"the training's gradients became {norm.item()}; lower `learning_rate`")
    run.optimizer.step()
    run.schedule.step()


def attention_kernel(longest: int) -> AbstractContextManager[None]:
    """How the process computes attention in training, forwards and backwards, where the longest row of a batch has so
    many positions: in plain products, and from `FUSED_FROM` on in the fused kernel (Dao et al. 2022,
    "FlashAttention"), which keeps no scores. That knows no dropout: where there is some, products are plain. The choice
    depends on nothing that is measured: a training that goes on elsewhere must compute what it would have."""
    fused = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    kernel: AbstractContextManager[None] = sdpa_kernel(fused if longest >= FUSED_FROM else SDPBackend.MATH)
    return kernel


def share_of(part: Batch, whole: Batch) -> float:
    """What the loss of a part counts, as losses are means over rows."""
    return len(part.rows) / len(whole.rows)


def _slope(step: int, *, total: int, warmup: float) -> float:
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, max(0.0, (total - step) / max(1, total - rising)))


def _groups(model: nn.Module, along: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Vectors (biases, normalisation) are not decayed, nor is what is no part of the model."""
    trained = [p for p in model.parameters() if p.requires_grad]
    vectors = [p for p in trained if p.dim() <= 1] + list(along.parameters())
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def _save(folder: Path, run: _Run, scores: tuple[float, ...], best: dict[str, Tensor], keep: Keep) -> None:
    """One file an epoch."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"along.{name}": tensor for name, tensor in run.along.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for place, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    separate = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    _write(folder, separate, scores=scores, step=run.schedule.last_epoch, keep=keep)


def _write(folder: Path, tensors: dict[str, Tensor], *, scores: tuple[float, ...], step: int, keep: Keep) -> None:
    """Written beside and renamed: a checkpoint is whole or absent."""
    with new_file(folder / CHECKPOINT, needed=sum(tensor.nbytes for tensor in tensors.values())) as part:
        save_file(tensors, part, metadata={"scores": json.dumps(scores), "step": str(step), "keep": keep})


def _restore(folder: Path, run: _Run) -> tuple[tuple[float, ...], dict[str, Tensor]] | None:
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as opened:
            about = opened.metadata()
        tensors = load_file(path)
    except SafetensorError as error:
        logger.warning("%s: damaged (%s); training begins anew", path, error)
        return None

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    run.model.load_state_dict(part("model."))
    run.along.load_state_dict(part("along."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer.").items():
        place, _, moment = name.partition(".")
        state.setdefault(int(place), {})[moment] = tensor
    run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": state})
    run.schedule.last_epoch = int(about["step"])
    scale = run.schedule.lr_lambdas[0](run.schedule.last_epoch)
    for group, base in zip(run.optimizer.param_groups, run.schedule.base_lrs, strict=True):
        group["lr"] = base * scale
    scores = tuple(json.loads(about["scores"]))
    logger.info("training goes on after epoch %d", len(scores))
    return scores, part("best.")


def kept_weights(checkpoint: Path) -> tuple[dict[str, Tensor], Trained]:
    """The kept epoch's weights in a checkpoint file, or in what went on from it, and the scores of all its epochs."""
    with safe_open(_final(checkpoint), "pt") as opened:
        names = [name for name in opened.keys() if name.startswith("best.")]  # noqa: SIM118 - a handle, no mapping
        weights = {name.removeprefix("best."): opened.get_tensor(name) for name in names}
        return weights, _history(opened)


def kept_scores(checkpoint: Path) -> Trained:
    """The scores of all epochs in a checkpoint file, or in what went on from it, without its weights."""
    with safe_open(_final(checkpoint), "pt") as opened:
        return _history(opened)


def _final(checkpoint: Path) -> Path:
    aware = checkpoint.with_name(AWARE)
    return aware if aware.exists() else checkpoint


def _history(opened: Any) -> Trained:
    about = opened.metadata()
    scores = tuple(json.loads(about["scores"]))
    return Trained(scores, _kept(scores, about["keep"]))
