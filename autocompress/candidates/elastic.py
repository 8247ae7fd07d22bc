"""The elastic model: one set of weights from which every sub-network of a search space can be cut, of use at once.

Slices of a trained model rank policies well near its full size only: without two of six layers it answers hardly better
than by chance, and is trained back to its old quality within minutes. So the teacher's weights are trained once more,
so that random sub-networks answer like the teacher, all of them sharing one set of weights (Cai et al. 2020,
"Once-for-all"; Hou et al. 2020, "DynaBERT", for the width and depth of a BERT). A search judges slices of it, and
finalists start from theirs.

Only policies that the study may choose are trained: its device and its constraints say which. Which of them a step
trains, a `Curriculum` says. What a policy does to a model is the operators' matter. They cut a copy whose slices stay
connected to the whole, so that gradients find their way back; nothing here knows what a head or a channel is.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from autocompress import operators
from autocompress.anatomy import Anatomy
from autocompress.assets import cache_folder, find_entry, new_entry, new_file
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.outcome import Priced, values
from autocompress.core.policy import CompressionPolicy, Setting, content_digest
from autocompress.core.ports import Phase
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import DistillationSpec, ElasticSpec, TransferSpec
from autocompress.distill import Objective
from autocompress.distill.training import attention_kernel, autocast, compute_again, share_of
from autocompress.errors import CandidateError
from autocompress.inputs.examples import in_parts
from autocompress.pricing import Known, Point, Pricing, draw, furthest
from autocompress.tasks import Batch, batches
from autocompress.teacher.teacher import Teacher

logger = logging.getLogger(__name__)

_RECIPE: Final = 1
"""Raised whenever the training changes what it produces."""

_RECIPE_INSIDE: Final = 2
"""The same of trainings that look inside of the teacher, which they did not do at first."""

_TRIES: Final = 50
"""Random policies looked at for each that is wanted, where few are feasible."""

_STARTS: Final = 300
"""Random policies among which the search for the largest and the smallest begins."""

_SIZE: Final = "macs"
"""What is larger and what smaller; the same on every device."""

_CHECKPOINT_STEPS: Final = 100
_WARMUP: Final = 0.1
_CLIP_NORM: Final = 1.0

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which sub-networks a step trains: those of `always`, and `drawn` ones in their order."""

    drawn: Sequence[CompressionPolicy]
    always: tuple[CompressionPolicy, ...] = ()

    def chosen(self, step: int, count: int) -> list[CompressionPolicy]:
        """So many policies."""
        new = count - len(self.always)
        return [*self.always, *(self.drawn[(step * new + i) % len(self.drawn)] for i in range(new))]


Curriculum = Sequence[Sampling]
"""What is trained one after the other, each for an equal part of the budget."""


def curriculum(spec: ElasticSpec, space: SearchSpace, pricing: Pricing, *, seed: int) -> Curriculum:
    """Random policies of a bound space, for every step of the training anew, beside the extreme ones of a sandwich; a
    progressive one begins with the same policies as far as they leave all layers in."""
    sandwich = spec.sampling == "sandwich"

    def sampling(*, all_layers: bool) -> Sampling:
        always = extreme_policies(space, pricing, seed=seed, all_layers=all_layers) if sandwich else ()
        count = spec.steps * (spec.subnetworks - len(always))
        return Sampling(sample_policies(space, pricing, count, seed=seed, all_layers=all_layers), always)

    return [sampling(all_layers=all_layers) for all_layers in ((True, False) if spec.progressive else (False,))]


def sample_policies(
    space: SearchSpace, pricing: Pricing, count: int, *, seed: int, all_layers: bool = False
) -> list[CompressionPolicy]:
    """Random policies that the study may choose, of a bound space; any at all where hardly one is feasible. With
    `all_layers` the layers that they remove are put back, as wide as they were drawn."""
    return [priced.policy for _, priced in _sampled(space, pricing, count, seed=seed, all_layers=all_layers)]


def extreme_policies(
    space: SearchSpace, pricing: Pricing, *, seed: int, all_layers: bool = False
) -> tuple[CompressionPolicy, CompressionPolicy]:
    """The largest and the smallest policy of those that `sample_policies` draws from, as nearly as turning one knob
    after the other finds them."""
    starts = _sampled(space, pricing, _STARTS, seed=seed, all_layers=all_layers)
    may_break = any(priced.broken for _, priced in starts)

    def price(point: Point) -> Known:
        priced = _priced(space, pricing, point, all_layers=all_layers)
        return {} if priced.broken and not may_break else values(priced.measurements)

    known = [(point, values(priced.measurements)) for point, priced in starts]

    def end(sign: int) -> CompressionPolicy:
        point, _ = furthest(space.knobs(), price, known, _SIZE, sign=sign)
        return _priced(space, pricing, point, all_layers=all_layers).policy

    return end(-1), end(1)


def _sampled(
    space: SearchSpace, pricing: Pricing, count: int, *, seed: int, all_layers: bool
) -> list[tuple[Point, Priced]]:
    generator, knobs = random.Random(seed), space.knobs()
    feasible: list[tuple[Point, Priced]] = []
    others: list[tuple[Point, Priced]] = []
    for _ in range(_TRIES * count):
        if len(feasible) == count:
            break
        point = {name: draw(knob, generator) for name, knob in knobs.items()}
        priced = _priced(space, pricing, point, all_layers=all_layers)
        if priced.measurements:
            (others if priced.broken else feasible).append((point, priced))
    return (feasible * -(-count // len(feasible)))[:count] if feasible else others[:count]


def _priced(space: SearchSpace, pricing: Pricing, point: Point, *, all_layers: bool) -> Priced:
    """The policy at a point. With the layers put back that it removes it breaks what it breaks without them: it is not
    to be chosen, but what may be chosen learns its widths from it."""
    policy = space.policy(functools.partial(_at, point))
    priced = pricing(policy)
    if not all_layers or not priced.measurements:
        return priced
    left = (step for step in policy.steps if operators.OPERATORS[step.operator].phase > Phase.DEPTH)
    return replace(pricing(CompressionPolicy(tuple(left))), broken=priced.broken)


def _at(point: Mapping[str, Setting], name: str, _: object) -> Setting:
    return point[name]


def _silent(share: float, text: str) -> None: ...


class ElasticTraining:
    """One run, from its last checkpoint on."""

    def __init__(
        self,
        setup: Setup,
        lessons: Lessons,
        curriculum: Curriculum,
        spec: ElasticSpec,
        distillation: DistillationSpec,
        *,
        seed: int,
        workers: int,
    ) -> None:
        """`spec.subnetworks` of the curriculum are trained a step.

        Every sub-network of every step has an objective of its own, which trains nothing along: hidden states need no
        projection, each layer learns from itself instead of a learned mean, and adaptive weights are those of a batch.
        """
        self._setup, self._lessons, self._curriculum = setup, lessons, curriculum
        self._spec, self._seed, self._workers = spec, seed, workers
        itself = distillation.layer_map == "learned"
        self._distillation = replace(distillation, layer_map="kept") if itself else distillation
        self._teacher = setup.teacher() if distillation.looks_inside else None
        self._answers = torch.from_numpy(lessons.logits)
        self._whole = _own(setup)
        self._parameters = [p for p in self._whole.model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=spec.learning_rate, weight_decay=0.0, fused=True)
        self._step, self._seconds = 0, 0.0

    def run(self, checkpoint: Path, *, progress: Callable[[float, str], None] = _silent) -> Weights:
        """The trained weights, under the names of the uncompressed model's; one step is taken however short the time
        is. Raises CandidateError when the loss or a gradient stops being a number."""
        self._restore(checkpoint)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # one sub-network a core is faster than one after another on all cores
        started, before = time.monotonic(), self._seconds
        try:
            with ThreadPoolExecutor(self._workers) as pool:
                for batch in self._batches():
                    share = self._share()
                    if share >= 1:
                        break
                    # the process's choice: made by each thread, one that ends would undo another's
                    with attention_kernel(batch.mask.shape[1]):
                        loss = self._train_step(pool, batch, share)
                    self._seconds = before + time.monotonic() - started
                    progress(self._share(), f"step {self._step} of {self._spec.steps}, loss {loss:.3f}")
                    if self._step % _CHECKPOINT_STEPS == 0:
                        self._save(checkpoint)
        finally:
            torch.set_num_threads(threads)
        if self._step < self._spec.steps:
            logger.warning("elastic model: its time was up after %d of %d steps", self._step, self._spec.steps)
        return {name: tensor.detach().numpy() for name, tensor in self._whole.model.state_dict().items()}

    def _share(self) -> float:
        """How much of the budget is spent: of its steps or of its minutes, whichever is more."""
        return max(self._step / self._spec.steps, self._seconds / (60 * self._spec.minutes))

    def _batches(self) -> Iterator[Batch]:
        """Epoch after epoch in an order that the step alone decides, from the present step on."""
        size = self._spec.batch_size
        of_an_epoch = -(-len(self._lessons.examples) // size)
        while True:
            epoch, place = divmod(self._step, of_an_epoch)
            yield from batches(self._lessons.examples, size, shuffle=self._seed * 10_007 + epoch)[place:]

    def _train_step(self, pool: ThreadPoolExecutor, batch: Batch, share: float) -> float:
        """One batch for several sub-networks; returns their mean loss."""
        count = self._spec.subnetworks
        chosen = self._curriculum[int(share * len(self._curriculum))].chosen(self._step, count)
        total = 0.0
        self._optimizer.zero_grad(set_to_none=True)
        for loss, gradients in pool.map(functools.partial(self._gradients, batch), chosen):
            total += loss / count
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        if not np.isfinite(total):
            raise CandidateError(f"the elastic model's loss became {total}; lower `elastic.learning_rate`")
        norm = nn.utils.clip_grad_norm_(self._parameters, _CLIP_NORM)
        if not torch.isfinite(norm):
            raise CandidateError(f"the elastic model's gradients became {norm.item()}; lower `elastic.learning_rate`")
        for group in self._optimizer.param_groups:
            group["lr"] = self._spec.learning_rate * _slope(share)
        self._optimizer.step()
        self._step += 1
        return total

    def _gradients(self, batch: Batch, policy: CompressionPolicy) -> tuple[float, tuple[Tensor | None, ...]]:
        """A sub-network's loss, and its gradients with respect to the whole. Runs beside others of its kind."""
        student = self._whole.copy(linked=True)
        operators.apply(policy, student, self._setup.importance, before=Phase.PRECISION, elastic_alone=True)
        teacher = self._teacher.copy() if self._teacher else None  # what is recorded of it is this thread's alone
        objective = Objective.of(student, teacher, self._answers, self._distillation, task=self._setup.task)
        compute_again(student.model, longest=batch.mask.shape[1])
        total, found = 0.0, list[Tensor | None]()
        for part in in_parts(batch):
            with autocast(self._setup.precision):
                loss = objective(student.model, part) * share_of(part, batch)
            gradients = torch.autograd.grad(loss / self._spec.subnetworks, self._parameters, allow_unused=True)
            total += loss.item()
            found = [*gradients] if not found else [_added(*both) for both in zip(found, gradients, strict=True)]
        return total, tuple(found)

    # Checkpoints

    def _save(self, path: Path) -> None:
        """Written beside and renamed: a checkpoint is whole or absent."""
        tensors = {f"model.{name}": t.detach().numpy() for name, t in self._whole.model.state_dict().items()}
        for place, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value.numpy() for name, value in moments.items()}
        with new_file(path, needed=sum(array.nbytes for array in tensors.values())) as part:
            save_file(tensors, part, metadata={"step": str(self._step), "seconds": str(self._seconds)})

    def _restore(self, path: Path) -> None:
        if not path.exists():
            return
        try:
            with safe_open(path, "pt") as opened:
                about = opened.metadata()
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - a handle
        except SafetensorError as error:
            logger.warning("%s: damaged (%s); the elastic model is trained from the beginning", path, error)
            return
        self._step, self._seconds = int(about["step"]), float(about["seconds"])
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        self._whole.model.load_state_dict(model)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, place, moment = name.split(".")
                state.setdefault(int(place), {})[moment] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        logger.info("elastic model: goes on after step %d", self._step)


def _added(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Both gradients, as far as there are any; the first is written to."""
    if first is None or second is None:
        return second if first is None else first
    return first.add_(second)


def _slope(share: float) -> float:
    """Linear warm-up and decay over the budget."""
    return min((share + 0.01) / _WARMUP, (1 - share) / (1 - _WARMUP))


def _own(setup: Setup) -> Anatomy:
    """The teacher with tensors of its own, to be trained: word embeddings and all dropout are left out of it."""
    own = setup.teacher().own_copy()
    own.model.requires_grad_(True)
    if own.reads_words:
        own.word_embeddings.requires_grad_(False)
    for module in own.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return own


def transfer_identity(spec: TransferSpec, texts: str) -> dict[str, Any]:
    """What decides over the lessons. A setting that asks for nothing is left out, so that models trained before there
    was one are found."""
    identity = asdict(spec)
    if not spec.recombined:
        identity.pop("recombined")
    named = identity.pop("texts")
    if named:
        named.pop("source")  # its content counts, not where it came from
        identity["texts"] = {**named, "digest": texts}
    return identity


def elastic_identity(spec: ElasticSpec) -> dict[str, Any]:
    """What decides over the training, beside its policies. Options that are off are left out, for the same reason."""
    identity = asdict(spec)
    off = [name for name, value in (("sampling", "random"), ("progressive", False)) if identity[name] == value]
    return {name: value for name, value in identity.items() if name not in off}


@dataclass(frozen=True, slots=True)
class ElasticPlan:
    """What an elastic model is trained on, and the `digest` of all that decides over it, under which it is cached."""

    taught: Curriculum
    digest: str


def elastic_plan(
    spec: StudySpec, teacher: Teacher, space: SearchSpace, pricing: Pricing, *, texts: str = ""
) -> ElasticPlan | None:
    """Of a study; None where it wants no elastic model, or has nothing to cut from it. `texts` is the digest of the
    unlabelled texts among the lessons."""
    wanted = spec.elastic
    if wanted.steps == 0 or not operators.elastic(space.steps):
        return None
    taught, distillation = curriculum(wanted, space, pricing, seed=spec.seed), spec.finalists.distillation
    policies = [policy for sampling in taught for policy in (*sampling.always, *sampling.drawn)]
    asked = {
        "teacher": teacher.digest,
        "policies": content_digest([policy.digest for policy in policies]),
        "elastic": elastic_identity(wanted),
        "distillation": asdict(distillation),
        "transfer": transfer_identity(spec.finalists.transfer, texts),
        "seed": spec.seed,
        "recipe": _RECIPE_INSIDE if distillation.looks_inside else _RECIPE,
        **({} if spec.most_lessons is None else {"lessons": spec.most_lessons}),
    }
    return ElasticPlan(taught, content_digest(asked))


def cached_elastic(digest: str) -> Weights | None:
    """The elastic model of a plan, where it was trained and is still there."""
    path = _place(digest)
    if not find_entry(path):
        return None
    found: Weights = load_file(path)
    return found


def _place(digest: str) -> Path:
    return cache_folder() / "elastic" / f"{digest}.safetensors"


def trained_elastic(
    plan: ElasticPlan,
    spec: StudySpec,
    setup: Setup,
    lessons: Callable[[], Lessons],
    *,
    workers: int,
    progress: Callable[[float, str], None],
) -> Weights:
    """The elastic model of a plan.

    Cached by content, so that studies of the same teacher that may choose the same policies train it once; interrupted
    training goes on. Raises CandidateError when it cannot be trained.
    """
    known = cached_elastic(plan.digest)
    if known is not None:
        return known
    path = _place(plan.digest)
    checkpoint, distillation = path.with_suffix(".training"), spec.finalists.distillation
    training = ElasticTraining(
        setup, lessons(), plan.taught, spec.elastic, distillation, seed=spec.seed, workers=max(1, workers)
    )
    weights = training.run(checkpoint, progress=progress)
    with new_entry(path, needed=sum(array.nbytes for array in weights.values())) as part:
        save_file(weights, part)
    checkpoint.unlink(missing_ok=True)
    found: Weights = load_file(path)
    return found


def prepare_elastic(
    spec: StudySpec,
    teacher: Teacher,
    setup: Setup,
    space: SearchSpace,
    pricing: Pricing,
    lessons: Callable[[], Lessons],
    *,
    texts: str = "",
    workers: int,
    progress: Callable[[float, str], None],
) -> Weights | None:
    """The elastic model of a study, or None when it wants none or has nothing to cut from it; see `elastic_plan` and
    `trained_elastic`."""
    plan = elastic_plan(spec, teacher, space, pricing, texts=texts)
    if plan is None:
        return None
    return trained_elastic(plan, spec, setup, lessons, workers=workers, progress=progress)
