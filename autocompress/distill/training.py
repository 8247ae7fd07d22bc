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

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from autocompress.core.spec import TrainingSpec
from autocompress.errors import CandidateError
from autocompress.tasks import Batch, Examples, batches

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Batch], Tensor]
"""(logits [texts, classes], batch) -> scalar."""

CHECKPOINT = "checkpoint.safetensors"
_BF16_MUST_GAIN = 1.3


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
    best_epoch: int

    @property
    def best(self) -> float:
        return self.scores[self.best_epoch]


@functools.cache
def bf16_pays() -> bool:
    """Whether this CPU multiplies bf16 matrices clearly faster than fp32 ones; measured once a process."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.float32] > _BF16_MUST_GAIN * seconds[torch.bfloat16]


def autocast(precision: str) -> AbstractContextManager[object]:
    """Mixed precision where asked for, or where `auto` finds that it pays."""
    if precision == "bf16" or (precision == "auto" and bf16_pays()):
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def predict(model: nn.Module, data: Sequence[Batch], *, precision: str = "auto") -> NDArray[np.float32]:
    """Logits [texts, classes] in the order of the split."""
    model.eval()
    rows, logits = [], []
    with torch.inference_mode(), autocast(precision):
        for batch in data:
            logits.append(model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float().numpy())
            rows.append(batch.rows)
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(logits)[order]


def train(
    model: nn.Module,
    examples: Examples,
    loss: Loss,
    *,
    spec: TrainingSpec,
    score: Callable[[nn.Module], float],
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Trains in place and leaves the weights of the best epoch in the model.

    With `checkpoint`, a folder, the state after each epoch is kept there and found again; then
    `on_epoch(epoch, score)` is called. Raises CandidateError when
    the loss stops being a number.
    """
    if spec.dropout is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = spec.dropout
    # fused: one pass over weights, gradients and moments; the plain loop takes half of a small student's step
    optimizer = torch.optim.AdamW(_decay_groups(model, spec.weight_decay), lr=spec.learning_rate, fused=True)
    steps = math.ceil(len(examples) / spec.batch_size)
    total = steps * spec.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(_slope, total=total, warmup=spec.warmup))
    state = _restore(checkpoint, model, optimizer, schedule) if checkpoint else None
    scores, best = state or ((), None)
    for epoch in range(len(scores), spec.epochs):
        torch.manual_seed(seed * 10_007 + epoch)
        model.train()
        for step, batch in enumerate(batches(examples, spec.batch_size, shuffle=seed * 10_007 + epoch)):
            _step(model, batch, loss, optimizer, spec)
            schedule.step()
            if progress:
                progress(Progress(epoch * steps + step + 1, total, epoch, max(scores, default=0.0)))
        scores = (*scores, score(model))
        if best is None or scores[-1] > max(scores[:-1], default=-math.inf):
            best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        logger.info("epoch %d of %d: validation score %.4f", epoch + 1, spec.epochs, scores[-1])
        if checkpoint:
            _save(checkpoint, model, optimizer, schedule, scores, best)
        if on_epoch:
            on_epoch(epoch, scores[-1])
    assert best is not None
    model.load_state_dict(best)
    model.eval()
    return Trained(scores, int(np.argmax(scores)))


def _step(model: nn.Module, batch: Batch, loss: Loss, optimizer: torch.optim.Optimizer, spec: TrainingSpec) -> None:
    # attention as plain products: on CPU the fused kernel's backward pass takes twice what its forward pass saves
    with autocast(spec.precision), sdpa_kernel(SDPBackend.MATH):
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    value = loss(logits.float(), batch)
    if not torch.isfinite(value):
        raise CandidateError(f"the training loss became {value.item()}; lower `learning_rate` or `clip_norm`")
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), spec.clip_norm)
    optimizer.step()


def _slope(step: int, *, total: int, warmup: float) -> float:
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, max(0.0, (total - step) / max(1, total - rising)))


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Vectors (biases, normalisation) are not decayed."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    scores: tuple[float, ...],
    best: dict[str, Tensor],
) -> None:
    """One file an epoch, written beside and renamed: a checkpoint is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for place, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    about = {"scores": json.dumps(scores), "step": str(schedule.last_epoch)}
    part = folder / f"{CHECKPOINT}.part"
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, part, metadata=about)
    part.replace(folder / CHECKPOINT)


def _restore(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR
) -> tuple[tuple[float, ...], dict[str, Tensor]] | None:
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, "pt") as opened:
        about = opened.metadata()
    tensors = load_file(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    model.load_state_dict(part("model."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer.").items():
        place, _, moment = name.partition(".")
        state.setdefault(int(place), {})[moment] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    schedule.last_epoch = int(about["step"])
    scale = schedule.lr_lambdas[0](schedule.last_epoch)
    for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * scale
    scores = tuple(json.loads(about["scores"]))
    logger.info("training goes on after epoch %d", len(scores))
    return scores, part("best.")


def best_weights(checkpoint: Path) -> tuple[dict[str, Tensor], Trained]:
    """The best epoch's weights in a checkpoint file, and the scores of all its epochs."""
    with safe_open(checkpoint, "pt") as opened:
        scores = tuple(json.loads(opened.metadata()["scores"]))
        names = [name for name in opened.keys() if name.startswith("best.")]  # noqa: SIM118 - a handle, no mapping
        weights = {name.removeprefix("best."): opened.get_tensor(name) for name in names}
    return weights, Trained(scores, int(np.argmax(scores)))
