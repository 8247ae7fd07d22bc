"""The stages of a study, from its assets to its verified exports. Each finds what an earlier run of it left behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from autocompress import config
from autocompress.anatomy import Anatomy
from autocompress.assets import atomic_folder, cache_folder, fetch, file_digest
from autocompress.core.device import DeviceProfile, KernelTable, LatencyPredictor
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.policy import BASELINE, CompressionPolicy, content_digest
from autocompress.core.ports import Observer, Runner
from autocompress.core.shape import ModelShape, describe
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Asset, StudySpec
from autocompress.deploy.card import model_card, step_line
from autocompress.deploy.export import export_stock
from autocompress.deploy.folder import (
    MODEL,
    Manifest,
    file_digests,
    metrics_json,
    write_check,
    write_manifest,
    write_static_files,
)
from autocompress.deploy.session import runtime
from autocompress.devices.host import fingerprint, fingerprint_digest, usable_cores
from autocompress.devices.profiling import RECIPE, profile_host
from autocompress.distill import Progress, best_weights
from autocompress.errors import CandidateError, ExhaustedError, HostError, SpecError
from autocompress.evaluate import Pricing, Setup, SliceEvaluator
from autocompress.finalists import Recovery, choose, deployed_student, trainable_student
from autocompress.operators import OPERATORS, effective
from autocompress.reach import reachable
from autocompress.runners import InProcessRunner, RayPool
from autocompress.runners.cluster import cluster
from autocompress.runners.tune import CHECKPOINT, tune_finalists
from autocompress.samplers import OptunaSampler, population_for
from autocompress.search import Search, Watch
from autocompress.store import Artifact, Lease, Store
from autocompress.teacher import Teacher, prepare_importance, prepare_teacher, versions
from autocompress.verification import Judged, deploy, judge_file, objections, parity, time_files

logger = logging.getLogger(__name__)

_CHECK_TEXTS: Final = 100
_REFERENCE: Final = 1.2
"""The hypervolume's reference point lies this much above the baseline's predicted costs, at quality 0."""


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
        shape = teacher.anatomy.shape()
        self._store.set_fact(self._lease, "shape", asdict(shape))
        profile, table = self._device(shape)
        pricing = Pricing(shape, self._spec.workload, LatencyPredictor(table), self._spec.constraints)
        space = self._bound_space(shape)
        self._check_reach(space, pricing)
        setup = Setup.of(teacher.anatomy.model, importance, teacher.task, precision=self._spec.teacher.precision)
        provenance = {"versions": dict(versions()), "teacher": teacher.digest, "device": dict(profile.fingerprint)}
        torch.set_num_threads(1)  # from here on workers share the cores
        with ExitStack() as resources:
            ray = self._ray(resources)
            with self._stage("search"), self._patient():
                self._search(space, pricing, setup, ray, provenance)
            if self._stopped():
                return
            self._store.set_state(self._lease, "verifying")
            with self._stage("finalists"):
                trained = self._train(setup, pricing, ray)
        with self._stage("verification"):
            self._verify(teacher, setup, profile, pricing, trained)
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

    def _device(self, shape: ModelShape) -> tuple[DeviceProfile, KernelTable]:
        with self._stage("device"):
            profile = self._profile(shape)
        head_size = shape.layers[0].attention.head_size
        table = profile.table(hidden=shape.hidden, head_size=head_size, workload=self._spec.workload)
        if table is None:
            raise SpecError(
                f"device {profile.name!r} has no kernel table for hidden size {shape.hidden}, heads of {head_size} and "
                f"{self._spec.workload}; write `device: host` to measure this machine"
            )
        about = {"name": profile.name, "source": profile.source, "measured_on": profile.measured_on}
        self._store.set_fact(self._lease, "device", {**about, "fingerprint": dict(profile.fingerprint)})
        return profile, table

    def _profile(self, shape: ModelShape) -> DeviceProfile:
        """The named profile; for `host`, this machine's, measured once for this kind of model and workload."""
        spec, here = self._spec, fingerprint()
        if spec.device != config.HOST:
            profile = config.load_device(spec.device)
            if dict(profile.fingerprint) != here:
                raise HostError(
                    f"device {profile.name!r} is another machine than this one, so finalists could not be measured "
                    "on it; write `device: host`, or run the study there"
                )
            return profile
        load, head_size = spec.workload, shape.layers[0].attention.head_size
        sizes = f"h{shape.hidden}x{head_size}-b{load.batch}l{load.length}t{load.threads}"
        path = cache_folder() / "profiles" / f"{content_digest([here, asdict(runtime()), RECIPE])}-{sizes}.yaml"
        if not path.exists():
            profile = profile_host(shape, load, progress=lambda done, total: self._observer.progress(done, total))
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(config.dump_device(profile), encoding="utf-8")
            part.replace(path)
        return config.load_device(path)

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
        known = values(pricing(BASELINE).measurements)
        reference = {
            metric: _REFERENCE * known[metric] if metric in known else METRICS[metric].worst
            for metric in self._spec.objectives
        }
        if "reference_point" not in self._store.study(self._spec.name).facts:
            self._store.set_fact(self._lease, "reference_point", reference)

    # Search

    def _ray(self, resources: ExitStack) -> Any:
        """Ray, unless the study runs in this process."""
        if self._workers == 0:
            return None
        self._observer.stage("workers", f"starting {self._workers}")
        return resources.enter_context(cluster(workers=self._workers, address=self._address))

    def _search(
        self, space: SearchSpace, pricing: Pricing, setup: Setup, ray: Any, provenance: Mapping[str, Any]
    ) -> None:
        spec, counts = self._spec, self._store.counts(self._spec.name)
        if counts.evaluated + counts.failed >= spec.budget.trials and not counts.running and not counts.pending:
            return
        self._store.set_state(self._lease, "searching")
        runner: Runner = (
            InProcessRunner(SliceEvaluator(setup))
            if ray is None
            else RayPool(ray, SliceEvaluator, setup, workers=self._workers, timeout_seconds=spec.budget.timeout_seconds)
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

    def _train(self, setup: Setup, pricing: Pricing, ray: Any) -> dict[str, Path | str]:
        """Digest -> the checkpoint of its best weights, or the reason why there is none."""
        name, store = self._spec.name, self._store
        if not [f for f in store.finalists(name) if f.candidate.number]:
            chosen = choose(store.records(name), self._spec.objectives, self._spec.finalists.count)
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
        torch.set_num_threads(usable_cores())
        recovery = Recovery.of(setup, self._spec.finalists, seed=self._spec.seed)
        torch.set_num_threads(1)
        done = 0
        total = len(waiting) * self._spec.finalists.training.epochs

        def on_result(digest: str, epoch: int, score: float) -> None:
            nonlocal done
            done += 1
            self._observer.progress(done, total, f"{digest[:8]} epoch {epoch + 1}: {score:.4f}")

        folder = self._folder / "training"
        folder.mkdir(parents=True, exist_ok=True)
        if ray is not None:
            ended = tune_finalists(ray, recovery, waiting, folder=folder, on_result=on_result)
            return {end.policy.digest: end.checkpoint or end.reason for end in ended}
        return {policy.digest: _train_here(recovery, policy, folder, on_result) for policy in waiting}

    # Verification

    def _verify(
        self,
        teacher: Teacher,
        setup: Setup,
        profile: DeviceProfile,
        pricing: Pricing,
        trained: Mapping[str, Path | str],
    ) -> None:
        """Exports, judges and times all finalists beside the baseline, and concludes each of them."""
        records = {f.candidate.digest: f for f in self._store.finalists(self._spec.name) if f.candidate.number}
        baseline = self._judge_baseline(teacher, pricing.shape)
        parts: list[_Part] = []
        for place, (digest, ending) in enumerate(trained.items()):
            self._observer.progress(place, len(trained), f"exporting {digest[:8]}")
            candidate = records[digest].candidate
            if isinstance(ending, str):
                self._reject(candidate.number, f"training failed: {ending}", ())
                continue
            parts.append(self._export(setup, candidate.number, candidate.policy, ending, pricing.shape))
        files = [baseline, *(part.judged for part in parts)]
        rows = pricing.shape.word_rows
        timed = time_files(files, self._spec.workload, rows=rows, device=fingerprint_digest(profile.fingerprint))
        baseline_found = (*baseline.measurements, *timed[0])
        self._store.conclude(
            self._lease,
            0,
            verified=False,
            reason="the uncompressed model as a stock fp32 export",
            measurements=baseline_found,
            artifacts=[],
            provenance={"versions": dict(versions())},
        )
        for part, latencies in zip(parts, timed[1:], strict=True):
            self._conclude(part, (*part.judged.measurements, part.parity, *latencies), baseline_found, teacher, profile)

    def _judge_baseline(self, teacher: Teacher, shape: ModelShape) -> Judged:
        path = self._folder / "baseline" / MODEL
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            export_stock(teacher.anatomy.model, part)
            part.replace(path)
        return judge_file(path, teacher.task, shape, self._spec.workload)

    def _export(
        self, setup: Setup, number: int, policy: CompressionPolicy, checkpoint: Path, shape: ModelShape
    ) -> _Part:
        weights, history = best_weights(checkpoint)
        plain = trainable_student(setup, policy)
        plain.model.load_state_dict(weights)
        plain.model.eval()
        student = deployed_student(setup, policy, weights)
        path = self._folder / "exports" / f"{policy.digest}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        deploy(student, path)
        _, small = effective(policy, shape)
        judged = judge_file(path, setup.task, small, self._spec.workload)
        return _Part(number, policy, student, weights, small, judged, parity(plain, setup.task), history.best)

    def _conclude(
        self,
        part: _Part,
        found: Measurements,
        baseline: Measurements,
        teacher: Teacher,
        profile: DeviceProfile,
    ) -> None:
        reasons = objections(found, trained_quality=part.trained_quality, constraints=self._spec.constraints)
        if reasons:
            self._reject(part.number, "; ".join(reasons), found)
        else:
            folder = self._folder / part.policy.digest
            self._write_folder(folder, part, found, baseline, teacher, profile)
            self._store.conclude(
                self._lease,
                part.number,
                verified=True,
                reason="",
                measurements=found,
                artifacts=_artifacts(folder, self._store.artifacts),
                provenance={"versions": dict(versions()), "trained_quality": part.trained_quality},
            )
            known, base = values(found), values(baseline)
            self._observer.note(
                f"verified {part.policy.digest[:8]}: {known['quality']:.4f} {self._spec.task.metric}, "
                f"{known['latency_ms']:.3g} ms ({base['latency_ms'] / known['latency_ms']:.1f}x faster), "
                f"{known['size_mb']:.3g} MB"
            )
        part.judged.path.unlink(missing_ok=True)

    def _reject(self, number: int, reason: str, found: Measurements) -> None:
        self._observer.note(f"candidate {number} is not offered: {reason}")
        self._store.conclude(
            self._lease, number, verified=False, reason=reason, measurements=found, artifacts=[], provenance={}
        )

    def _write_folder(
        self,
        folder: Path,
        part: _Part,
        found: Measurements,
        baseline: Measurements,
        teacher: Teacher,
        profile: DeviceProfile,
    ) -> None:
        spec, task = self._spec, teacher.task
        with atomic_folder(folder, replace=True) as draft:
            (draft / MODEL).write_bytes(part.judged.path.read_bytes())
            write_static_files(draft, tokenizer=teacher.folder, policy=part.policy)
            some = task.examples("validation").take(range(min(_CHECK_TEXTS, len(task.examples("validation")))))
            write_check(draft, some.tokens, some.labels, part.judged.validation_logits[: len(some)])
            config_of_model: Any = teacher.anatomy.model.config
            config_of_model.save_pretrained(str(draft))
            save_file({name: t.contiguous() for name, t in part.weights.items()}, draft / "weights.safetensors")
            manifest = Manifest(
                study=spec.name,
                digest=part.policy.digest,
                task={
                    "kind": spec.task.kind,
                    "labels": list(task.labels),
                    "metric": task.metric,
                    "max_length": spec.task.max_length,
                },
                workload={
                    "batch": spec.workload.batch,
                    "length": spec.workload.length,
                    "threads": spec.workload.threads,
                },
                metrics=metrics_json(found),
                baseline=metrics_json(baseline),
                provenance={
                    "model": str(spec.model),
                    "data": str(spec.task.data.source),
                    "device": profile.fingerprint.get("cpu", profile.name),
                    "fingerprint": dict(profile.fingerprint),
                    "versions": dict(versions()),
                    "seed": spec.seed,
                    "teacher": teacher.digest,
                },
                files={},
            )
            steps = [step_line(step) for step in part.policy.steps]
            card = model_card(manifest, summary=describe(part.shape), steps=steps)
            (draft / "README.md").write_text(card, encoding="utf-8")
            write_manifest(draft, replace(manifest, files=file_digests(draft)))

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


@dataclass(frozen=True, slots=True)
class _Part:
    """A finalist on its way through verification."""

    number: int
    policy: CompressionPolicy
    student: Anatomy
    weights: Mapping[str, torch.Tensor]
    shape: ModelShape
    judged: Judged
    parity: Measurement
    trained_quality: float


def _train_here(
    recovery: Recovery, policy: CompressionPolicy, folder: Path, on_result: Callable[[str, int, float], None]
) -> Path | str:
    place = folder / policy.digest
    try:
        recovery(policy, folder=place, on_epoch=lambda epoch, score: on_result(policy.digest, epoch, score))
    except CandidateError as error:
        return str(error)
    return place / CHECKPOINT


def _artifacts(folder: Path, root: Path) -> list[Artifact]:
    """A row for every file of an exported folder, the manifest included."""
    return [
        Artifact("export", path.relative_to(root).as_posix(), file_digest(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
