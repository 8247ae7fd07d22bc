"""What a study's steps take on this machine, found with its own model and rows in some seconds, before a minute of its
budget is spent."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.core.cores import usable_cores
from autocompress.core.parts import ModelParts
from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import DistillationSpec
from autocompress.devices.profiles import seconds_to_profile
from autocompress.distill import Objective, answers, predict, seconds_of_steps
from autocompress.distill.training import attention_kernel, autocast, compute_again
from autocompress.errors import CandidateError, SpecError
from autocompress.finalists.recovery import work_of
from autocompress.inputs.examples import AREA, area, in_parts
from autocompress.planning.stages import Measured
from autocompress.study.preflight import some_of
from autocompress.tasks import Batch, Rows, Scoring, batches
from autocompress.teacher.teacher import FirstLook, first_look

_BATCH: Final = 32
"""Rows that are answered at a time, as everywhere."""
_AREA: Final = AREA // 4
"""How much of rows is enough to time what takes as long for each of them."""
_QUANTILES: Final = (0.375, 0.625, 0.125, 0.875)
"""Batches that stand for equal shares of all: rows of similar length share one. The middle ones first."""


def rehearse(
    spec: StudySpec,
    model_folder: Path,
    data: Mapping[str, Path],
    *,
    workers: int,
    unlabelled: int = 0,
    scoring: Scoring | None = None,
) -> Measured:
    """Times steps of a study of which nothing may have been trained yet; `unlabelled` texts are learned from too. The
    generators and the number of threads of this process are left as they were.

    Raises SpecError when the model does not fit the study, or cannot be trained as it says.
    """
    began = time.perf_counter()
    look = first_look(spec, model_folder, data, scoring=scoring)
    reading, train = time.perf_counter() - began, look.task.examples("train")
    anatomy = anatomy_of(look.model)
    shape, transfer = anatomy.shape(), spec.finalists.transfer
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            torch.set_num_threads(usable_cores())
            forward = _forward(spec, look)
            torch.set_num_threads(1)
            lone_forward, lone_step = _beside_others(spec, look, anatomy, at_once=min(max(1, workers), usable_cores()))
            torch.set_num_threads(usable_cores())
            step = _teacher_step(spec, look) if look.trains else lone_step
    except CandidateError as error:
        raise SpecError(f"teacher: {error}") from error
    finally:
        torch.set_num_threads(threads)
    served = replace(spec, workload=train.served(spec.workload))
    return Measured(
        reading=reading,
        step=step,
        forward=forward,
        lone_step=lone_step,
        lone_forward=lone_forward,
        device=seconds_to_profile(served, shape),
        share=_mean_share(spec, shape),
        train=len(train),
        validation=len(look.task.examples("validation")),
        test=len(look.task.examples("test")),
        lessons=len(train) * (1 + transfer.copies + transfer.recombined) + unlabelled,
        workers=workers,
        trains=look.trains,
    )


def _typical(rows: Rows, size: int) -> list[Batch]:
    """Batches of rows of similar length, which stand for equal shares of all."""
    order = np.argsort(rows.lengths, kind="stable")
    starts = [int(quantile * max(0, len(order) - size)) for quantile in _QUANTILES]
    return [rows.batch(order[start : start + size]) for start in starts]


def _few(rows: Rows, size: int) -> int:
    """Rows that stand for a batch of so many: all where they are short, for batches of long ones are computed in parts
    (`inputs.examples.in_parts`)."""
    middle = int(np.median(rows.lengths))
    return max(1, min(size, _AREA // area(max(1, middle))))


def _forward(spec: StudySpec, look: FirstLook) -> float:
    """Seconds of a row on the threads that there are."""
    train = look.task.examples("train")
    data = _typical(train, _few(train, _BATCH))
    predict(look.model, data[:1], precision=spec.teacher.precision)
    began = time.perf_counter()
    predict(look.model, data, precision=spec.teacher.precision)
    return (time.perf_counter() - began) / sum(len(batch.rows) for batch in data)


def _teacher_step(spec: StudySpec, look: FirstLook) -> float:
    """On the threads that there are. The model is of no use afterwards."""
    task, training = look.task, spec.teacher.training
    look.model.requires_grad_(True)
    goal = answers(lambda out, batch: task.loss(out, batch.targets, label_smoothing=training.label_smoothing))
    train, size = task.examples("train"), training.batch_size
    few = _few(train, size)
    return statistics.fmean(seconds_of_steps(look.model, _typical(train, few), goal, spec=training)) * size / few


def _beside_others(spec: StudySpec, look: FirstLook, anatomy: Anatomy, *, at_once: int) -> tuple[float, float]:
    """Seconds of a row's forward pass and of a finalist's step, on one core while the others do the same."""
    train, size = look.task.examples("train"), spec.finalists.training.batch_size
    few = _few(train, size)
    order = np.unique(np.concatenate([batch.rows for batch in _typical(train, few)]))
    some = train.take(order)
    logits = predict(look.model, batches(some, _BATCH), precision=spec.teacher.precision)
    distillation = _answers_alone(spec.finalists.distillation)
    objective = Objective.of(anatomy, None, torch.from_numpy(logits), distillation, task=look.task)
    look.model.requires_grad_(True)
    if spec.finalists.freeze_embeddings and anatomy.reads_words:
        anatomy.word_embeddings.requires_grad_(False)
    data = _typical(some, few)
    with ThreadPoolExecutor(at_once) as pool:
        look.model.eval()
        forward = pool.map(lambda _: _forward(spec, look), range(at_once))
        lone_forward = statistics.fmean(forward)
    # the choice of attention is the process's: it is made once, around all threads
    longest = max(batch.mask.shape[1] for batch in data)
    with ThreadPoolExecutor(at_once) as pool, attention_kernel(longest):
        look.model.train()
        step = functools.partial(_gradients, look.model, objective, spec.finalists.training.precision)
        compute_again(look.model, longest=longest)
        step(data[0])
        steps = [one for taken in pool.map(lambda _: [step(batch) for batch in data], range(at_once)) for one in taken]
    return lone_forward, statistics.fmean(steps) * size / few


def _gradients(model: torch.nn.Module, objective: Objective, precision: str, batch: Batch) -> float:
    """Seconds of a loss and its gradients, which are given to nobody: threads share the model."""
    began = time.perf_counter()
    for part in in_parts(batch):
        with autocast(precision):
            loss = objective(model, part)
        torch.autograd.grad(loss, [one for one in model.parameters() if one.requires_grad], allow_unused=True)
    return time.perf_counter() - began


def _answers_alone(spec: DistillationSpec) -> DistillationSpec:
    return DistillationSpec(temperature=spec.temperature, hard_weight=spec.hard_weight)


def _mean_share(spec: StudySpec, whole: ModelParts) -> float:
    """The work of a model that the space may choose, of the whole model's, on average."""
    shares: Sequence[float] = [work_of(shape, whole) for shape in some_of(spec, whole)]
    return statistics.fmean(shares) if shares else 1.0
