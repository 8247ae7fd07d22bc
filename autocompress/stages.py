"""The stages of a study, from its assets to its verified exports. Each finds what an earlier run of it left behind."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autocompress import config
from autocompress.assets import cache_folder, fetch, file_digest
from autocompress.core.device import DeviceProfile
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import values
from autocompress.core.policy import CompressionPolicy, content_digest
from autocompress.core.ports import Evaluate, Observer, Runner
from autocompress.core.shape import ModelShape
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Asset, StudySpec
from autocompress.deploy.session import runtime
from autocompress.devices.host import about, fingerprint, is_this_machine, usable_cores
from autocompress.devices.profiling import RECIPE, profile_host
from autocompress.distill import Progress
from autocompress.elastic import prepare_elastic
from autocompress.errors import CandidateError, ExhaustedError, SpecError
from autocompress.evaluate import Pricing, Setup, SliceEvaluator
from autocompress.finalists import HEALED, Recovery, Rehearsal, RehearsalEvaluator, choose
from autocompress.lessons import Lessons
from autocompress.offering import Endings, Offering
from autocompress.operators import OPERATORS
from autocompress.operators.distill import distilled
from autocompress.reach import reachable, reference_point
from autocompress.runners import InProcessRunner, RayPool
from autocompress.runners.cluster import cluster
from autocompress.runners.tune import CHECKPOINT, tune_finalists
from autocompress.samplers import OptunaSampler, population_for
from autocompress.search import Search, Watch
from autocompress.store import Lease, Store
from autocompress.teacher import Teacher, prepare_importance, prepare_teacher, versions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model's folder and the data's file, with digests of their content."""

    model: Path
    data: Path
    digests: Mapping[str, str]


def gather(spec: StudySpec, observer: Observer) -> Inputs:
    """Fetches the model and the data."""
    observer.stage("assets", f"{spec.model}, {spec.task.data.source}")

    def fetched(asset: Asset) -> Path:
        return fetch(asset, progress=lambda name, done, total: observer.progress(done, total, name))

    model, data = fetched(spec.model), fetched(spec.task.data.source)
    return Inputs(model, data, {"model": file_digest(model), "data": file_digest(data)})


def device_profile(spec: StudySpec, shape: ModelShape, *, progress: Callable[[str, float], None]) -> DeviceProfile:
    """The named profile; for `host`, this machine's, measured once for this kind of model and workload."""
    if spec.device != config.HOST:
        return config.load_device(spec.device)
    here, load, head_size = fingerprint(), spec.workload, shape.layers[0].attention.head_size
    sizes = f"h{shape.hidden}x{head_size}-b{load.batch}l{load.length}t{load.threads}"
    path = cache_folder() / "profiles" / f"{content_digest([here, asdict(runtime()), RECIPE])}-{sizes}.yaml"
    if not path.exists():
        profile = profile_host(shape, [load], progress=progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(config.dump_device(profile), encoding="utf-8")
        part.replace(path)
    return config.load_device(path)


class Conductor:
    """Takes one study through its stages, under a lease."""

    def __init__(
        self,
        spec: StudySpec,
        inputs: Inputs,
        store: Store,
        lease: Lease,
        *,
        observer: Observer,
        workers: int | None = None,
        ray_address: str | None = None,
        stopped: Callable[[], bool] = lambda: False,
        patient: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`workers` defaults to the cores of this machine; 0 evaluates in this process, without Ray. The search
        looks at `stopped` by itself, and says so by running inside `patient()`."""
        self._spec, self._inputs, self._store, self._lease = spec, inputs, store, lease
        self._observer, self._stopped, self._patient = observer, stopped, patient
        self._workers = usable_cores() if workers is None else workers
        self._address = ray_address
        self._timings: dict[str, float] = dict(store.study(spec.name).facts.get("timings", {}))
        self._folder = store.artifacts / spec.name

    def run(self) -> None:
        """All stages, in order. Returns early, with everything stored, when it was stopped."""
        torch.set_num_threads(usable_cores())
        teacher = self._teacher()
        with self._stage("importance"):
            importance = prepare_importance(self._spec, teacher)
        self._store.set_fact(self._lease, "importance", importance.to_json())
        shape = teacher.anatomy.shape()
        self._store.set_fact(self._lease, "shape", asdict(shape))
        profile, pricing = self._device(shape)
        space = self._bound_space(shape)
        self._check_reach(space, pricing)
        setup = Setup.of(teacher.anatomy.model, importance, teacher.task, precision=self._spec.teacher.precision)
        lessons = functools.cache(lambda: self._lessons(setup))
        setup = self._with_elastic(setup, teacher, space, pricing, lessons)
        provenance = {"versions": dict(versions()), "teacher": teacher.digest, "device": dict(profile.fingerprint)}
        torch.set_num_threads(1)  # from here on workers share the cores
        with ExitStack() as resources:
            ray = self._ray(resources)
            with self._stage("search"), self._patient():
                self._search(space, pricing, setup, lessons, ray, provenance)
            if self._stopped():
                return
            self._store.set_state(self._lease, "verifying")
            with self._stage("finalists"):
                trained = self._train(setup, pricing, ray, lessons)
            if is_this_machine(profile):
                resources.close()  # its processes would share the cores with what is timed
                ray = None
            with self._stage("verification"):
                offering = Offering(
                    self._spec,
                    self._store,
                    self._lease,
                    teacher,
                    setup,
                    profile,
                    pricing=pricing,
                    ray=ray,
                    observer=self._observer,
                )
                offering.conclude(trained)
        self._store.set_state(self._lease, "complete")
        self._observer.stage("done")

    # Before the search

    def _teacher(self) -> Teacher:
        with self._stage("teacher"):

            def on_progress(at: Progress) -> None:
                self._observer.progress(at.done, at.total, f"epoch {at.epoch + 1}, best {at.best:.4f}")

            teacher = prepare_teacher(self._spec, self._inputs.model, self._inputs.data, on_progress=on_progress)
        task = teacher.task
        sizes = {name: len(task.examples(name)) for name in ("train", "validation", "test")}
        self._store.set_fact(self._lease, "task", {"metric": task.metric, "labels": list(task.labels), "texts": sizes})
        self._observer.note(f"teacher: validation {task.metric} {teacher.validation:.4f}; texts: {sizes}")
        return teacher

    def _device(self, shape: ModelShape) -> tuple[DeviceProfile, Pricing]:
        spec = self._spec
        with self._stage("device"):
            profile = device_profile(spec, shape, progress=lambda text, done: self._observer.progress(done, 1.0, text))
        pricing = Pricing.of(
            profile, shape, workload=spec.workload, objectives=spec.objectives, constraints=spec.constraints
        )
        if not is_this_machine(profile):
            self._observer.note(
                f"device {profile.name!r} is another machine than this one: latency is predicted, until finalists are "
                f"measured there (a Ray node with the resource `device:{profile.name}`, or `autocompress bundle`)"
            )
        self._store.set_fact(self._lease, "device", about(profile))
        return profile, pricing

    def _bound_space(self, shape: ModelShape) -> SearchSpace:
        def size_of(operator: str, target: str, knob: str) -> int | None:
            return OPERATORS[operator].size_of(shape, target, knob)

        try:
            return self._spec.space.bind(shape.names(), size_of)
        except ValueError as error:
            raise SpecError(f"space {self._spec.space.name!r} does not fit the model: {error}") from error

    def _check_reach(self, space: SearchSpace, pricing: Pricing) -> None:
        """Raises SpecError when a constraint lies outside what the space can reach."""
        ranges = reachable(space, pricing, seed=self._spec.seed)
        self._store.set_fact(self._lease, "reachable", {metric: list(ends) for metric, ends in ranges.items()})
        self._observer.note(f"space {space.name!r}: {space.size():.3g} points, {len(space.knobs())} knobs")
        problems = []
        for metric, (low, high) in ranges.items():
            bound = self._spec.constraints.get(metric)
            if bound or metric in self._spec.objectives:
                asked = f"; asked for {bound}" if bound else ""
                unit = METRICS[metric].unit
                self._observer.note(f"reachable {metric}: {low:.4g} to {high:.4g} {unit}{asked}")
            if bound and not bound.overlaps(low, high):
                problems.append(
                    f"constraints.{metric}: {bound} cannot be met; this space reaches {low:.4g} to {high:.4g}"
                )
        if problems:
            raise SpecError(*problems)
        if "reference_point" not in self._store.study(self._spec.name).facts:
            point = reference_point(pricing, self._spec.objectives)
            self._store.set_fact(self._lease, "reference_point", point)

    def _lessons(self, setup: Setup) -> Lessons:
        torch.set_num_threads(usable_cores())
        try:
            return Lessons.of(setup, self._spec.finalists.transfer, seed=self._spec.seed)
        finally:
            torch.set_num_threads(1)

    def _with_elastic(
        self, setup: Setup, teacher: Teacher, space: SearchSpace, pricing: Pricing, lessons: Callable[[], Lessons]
    ) -> Setup:
        """The setup with the elastic model that the study asks for."""
        with self._stage("elastic model"):
            weights = prepare_elastic(
                self._spec,
                teacher,
                setup,
                space,
                pricing,
                lessons,
                workers=self._workers,
                progress=lambda share, text: self._observer.progress(share, 1.0, text),
            )
        return replace(setup, elastic=weights)

    # Search

    def _ray(self, resources: ExitStack) -> Any:
        """Ray, unless the study runs in this process."""
        if self._workers == 0:
            return None
        self._observer.stage("workers", f"starting {self._workers}")
        return resources.enter_context(cluster(workers=self._workers, address=self._address))

    def _search(
        self,
        space: SearchSpace,
        pricing: Pricing,
        setup: Setup,
        lessons: Callable[[], Lessons],
        ray: Any,
        provenance: Mapping[str, Any],
    ) -> None:
        spec, counts = self._spec, self._store.counts(self._spec.name)
        if counts.evaluated + counts.failed >= spec.budget.trials and not counts.running and not counts.pending:
            return
        self._store.set_state(self._lease, "searching")
        build: Callable[[Any], Evaluate] = SliceEvaluator
        needed: Any = setup
        if spec.budget.recovery_steps:
            recovery = Recovery(setup, lessons(), spec.finalists, spec.seed)
            build, needed = RehearsalEvaluator, Rehearsal(recovery, spec.budget.recovery_steps)
        runner: Runner = (
            InProcessRunner(build(needed))
            if ray is None
            else RayPool(ray, build, needed, workers=self._workers, timeout_seconds=spec.budget.timeout_seconds)
        )
        try:
            search = Search(
                store=self._store,
                lease=self._lease,
                sampler=self._sampler(space),
                space=space,
                price=pricing,
                runner=runner,
                budget=spec.budget,
                provenance=provenance,
                watch=Watch(on_change=self._observer.tally, stopped=self._stopped),
            )
            tally = search.run()
        finally:
            runner.close()
        self._store.set_fact(self._lease, "driver_seconds", tally.driver)
        if search.exhausted:
            self._observer.note("the space has no more new candidates; the search ended before its budget")

    def _sampler(self, space: SearchSpace) -> OptunaSampler:
        spec, outcomes = self._spec, {r.candidate.digest: r.outcome for r in self._store.records(self._spec.name)}
        return OptunaSampler(
            spec.sampler,
            knobs=space.knobs(),
            objectives=spec.objectives,
            constraints=spec.constraints,
            seed=spec.seed,
            population=population_for(spec.budget.trials),
            history=[(proposal, outcomes[digest]) for proposal, digest in self._store.proposals(spec.name)],
        )

    # Finalists

    def _train(self, setup: Setup, pricing: Pricing, ray: Any, lessons: Callable[[], Lessons]) -> Endings:
        """Chooses the finalists, once for the study, and trains those that are not concluded yet."""
        name, store = self._spec.name, self._store
        if not [f for f in store.finalists(name) if f.candidate.number]:
            healed = math.inf if setup.elastic is None else HEALED
            chosen = choose(store.records(name), self._spec.objectives, self._spec.finalists.count, healed=healed)
            if not chosen:
                raise ExhaustedError(
                    f"the search found no feasible candidate to train; see `autocompress trials {name}`"
                )
            store.nominate(self._lease, [record.candidate.number for record in chosen])
        waiting = [f.candidate.policy for f in store.finalists(name) if f.state == "nominated" and f.candidate.number]
        if not waiting:
            return {}
        # the longest training first: begun last, it would end alone while the other workers have nothing left to do
        waiting.sort(key=lambda policy: values(pricing(policy).measurements)["macs"], reverse=True)
        recovery = Recovery(setup, lessons(), self._spec.finalists, self._spec.seed)
        folder = self._folder / "training"
        folder.mkdir(parents=True, exist_ok=True)
        draws = self._spec.finalists.tuning.draws(self._spec.seed)
        longest = [distilled(policy, self._spec.finalists).training.epochs for policy in waiting]
        done, total = 0, sum(longest) * (1 + len(draws))

        def on_result(trial: str, epoch: int, score: float) -> None:
            nonlocal done
            done += 1
            self._observer.progress(done, total, f"{trial[:8]} epoch {epoch + 1}: {score:.4f}")

        if ray is None:
            return {policy.digest: _train_here(recovery, policy, folder, on_result) for policy in waiting}
        tries = {policy.digest: draws for policy in waiting}
        ended = tune_finalists(
            ray, recovery, waiting, folder=folder, on_result=on_result, tries=tries, epochs=max(longest)
        )
        for end in ended:
            if end.settings:
                shown = ", ".join(f"{name} {value:.2g}" for name, value in end.settings.items())
                self._observer.note(f"{end.policy.digest[:8]}: the best try of {1 + len(draws)} had {shown}")
        return {end.policy.digest: end.checkpoint or end.reason for end in ended}

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Announces a stage and stores how long it took; repeated stages add up."""
        self._observer.stage(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self._timings[name] = round(self._timings.get(name, 0.0) + time.monotonic() - started, 2)
            self._store.set_fact(self._lease, "timings", self._timings)


def _train_here(
    recovery: Recovery, policy: CompressionPolicy, folder: Path, on_result: Callable[[str, int, float], None]
) -> Path | str:
    place = folder / policy.digest
    try:
        recovery(policy, folder=place, on_epoch=lambda epoch, score, _: on_result(policy.digest, epoch, score))
    except CandidateError as error:
        return str(error)
    return place / CHECKPOINT
