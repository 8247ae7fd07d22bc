"""The stages of a study, from its assets to its verified exports. Each finds what an earlier run of it left behind."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch

from autocompress import config, operators
from autocompress.anatomy import Anatomy
from autocompress.candidates.elastic import elastic_plan, trained_elastic
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cores import usable_cores
from autocompress.core.device import DeviceProfile
from autocompress.core.interruption import Switch
from autocompress.core.outcome import Record
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.ports import Observer
from autocompress.core.scores import least_quality
from autocompress.core.space import SearchSpace
from autocompress.core.spec import WORKLOAD_FACT, StudySpec
from autocompress.core.stored_parts import parts_to_json
from autocompress.core.task_kinds import NOUNS
from autocompress.core.trust import NO_ELASTIC_FACT
from autocompress.core.versions import versions
from autocompress.core.vocabulary import words_in_use
from autocompress.devices.host import about, is_this_machine
from autocompress.devices.profiles import device_profile, set_aside
from autocompress.errors import CandidateError, SpecError
from autocompress.exported.exporting import opset_note
from autocompress.finalists.certification import Certification
from autocompress.finalists.folds import Recipe
from autocompress.finalists.offering import Offering
from autocompress.finalists.promotion import Promotion
from autocompress.finalists.recovery import work_of
from autocompress.planning.stages import CERTIFICATION, ELASTIC, FINALISTS, SEARCH, TEACHER
from autocompress.pricing import Pricing, reachable, reference_point
from autocompress.report import front_report
from autocompress.report.wording import label, many, number, split_sizes, with_unit
from autocompress.runners.cluster import address_of, cluster
from autocompress.store import PROFILE_FACT, Lease, Store
from autocompress.study.environment import ENVIRONMENT_FACT, environment, take_over
from autocompress.study.forking import take_over_from
from autocompress.study.gathering import Inputs, unlabelled_texts
from autocompress.study.judged import JUDGED_WITH
from autocompress.study.pacing import Pacing
from autocompress.study.preparing import (
    bound_space,
    judged_with,
    ready_lessons,
    ready_teacher,
    unlabelled_examples,
)
from autocompress.study.rehearsal import rehearse
from autocompress.study.searching import SearchStage
from autocompress.tasks import Examples
from autocompress.teacher.importance import counted, prepare_importance
from autocompress.teacher.teacher import Teacher

logger = logging.getLogger(__name__)


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
        switch: Switch,
        here: bool = False,
        on_judged: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """`workers` defaults to the cores of this machine; 0 evaluates in this process, without Ray. The search and the
        training of finalists look at the `switch` by themselves, and are patient with what they run. `here` takes a
        study of another machine over."""
        self._asked, self._spec, self._inputs, self._store, self._lease = spec, spec, inputs, store, lease
        self._observer, self._switch, self._here, self._on_judged = observer, switch, here, on_judged
        self._workers = usable_cores() if workers is None else workers
        self._address = ray_address
        self._timings: dict[str, float] = dict(store.study(spec.name).facts.get("timings", {}))
        self._pacing = Pacing(spec, store, lease, observer, self._timings)

    def run(self) -> None:
        """All stages, in order. Raises KeyboardInterrupt, with everything stored, when it was stopped."""
        torch.set_num_threads(usable_cores())
        texts = self._texts()
        self._plan(texts)
        teacher = self._teacher()
        with self._stage("importance"):
            self._observer.progress(0, None, "what heads, channels and layers do on training texts")
            unlabelled = functools.partial(self._unlabelled, texts)
            importance = prepare_importance(self._spec, teacher, unlabelled=unlabelled)
        self._store.set_fact(self._lease, "importance", importance.to_json())
        shape = teacher.anatomy.shape()
        self._store.set_fact(self._lease, "shape", parts_to_json(shape))
        shape = counted(shape, importance, teacher.task)
        for note in words_in_use(shape):
            self._observer.note(note)
        self._serve_lengths(teacher)
        profile, pricing = self._device(shape, teacher.anatomy)
        space = bound_space(self._spec, shape)
        self._check_reach(space, pricing)
        setup = Setup.of(
            teacher.anatomy.model,
            importance,
            teacher.task,
            precision=self._spec.teacher.precision,
            most_rows=self._spec.budget.search_rows,
        )
        self._spec = self._pacing.at(ELASTIC, self._spec)
        asked, whole = self._spec, setup

        @functools.cache
        def lessons() -> Lessons:
            return ready_lessons(asked, whole, unlabelled(), self._observer)

        setup, elastic = self._with_elastic(setup, teacher, space, pricing, lessons)
        judged = judged_with(self._spec, teacher, texts=self._texts_digest, elastic=elastic)
        provenance = {
            "versions": dict(versions()),
            "teacher": teacher.digest,
            "device": dict(profile.fingerprint),
            JUDGED_WITH: judged,
        }
        torch.set_num_threads(1)  # from here on workers share the cores
        with ExitStack() as resources:
            ray = self._ray(resources)
            self._spec = self._pacing.at(SEARCH, self._spec)
            with self._stage("search"), self._switch.patient():
                first = take_over_from(
                    self._store,
                    self._lease,
                    space,
                    pricing,
                    judged,
                    self._observer,
                    trials=self._spec.budget.trials,
                )
                search = SearchStage(
                    self._spec,
                    self._store,
                    self._lease,
                    space,
                    pricing,
                    workers=self._workers,
                    ray=ray,
                    observer=self._observer,
                    switch=self._switch,
                    on_judged=self._on_judged,
                )
                search.run(setup, lessons, provenance, first=first)
            self._switch.check()
            self._store.set_state(self._lease, "verifying")
            with self._stage("finalists"):
                trained = self._promotion(teacher, setup, pricing, lessons, ray).train()
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
                self._doubt_profile(shape)
        self._spec = self._pacing.at(CERTIFICATION, self._spec)
        self._certify(teacher, setup, space, pricing, texts)
        self._pacing.over()
        self._store.set_state(self._lease, "complete")
        self._observer.stage("done")

    def _plan(self, texts: Sequence[str] | None) -> None:
        """Of a study whose minutes are bounded. Raises SpecError where they are too few."""
        if self._spec.budget.minutes is None:
            return
        with self._stage("plan"):
            self._observer.progress(0, None, "reading the data, timing a few steps")
            self._pacing.begin(
                lambda: rehearse(
                    self._spec,
                    self._inputs.model,
                    self._inputs.data,
                    workers=self._workers,
                    unlabelled=len(texts or ()),
                    scoring=self._inputs.scoring,
                )
            )
        self._spec = self._pacing.at(TEACHER, self._spec)

    def _promotion(
        self, teacher: Teacher, setup: Setup, pricing: Pricing, lessons: Callable[[], Lessons], ray: Any
    ) -> Promotion:
        """For as many finalists, and steps of each, as there are minutes for: that is decided by the work of those that
        were chosen."""

        def promotion() -> Promotion:
            return Promotion(
                self._spec,
                self._store,
                self._lease,
                setup,
                made_of=self._made_of(teacher),
                pricing=pricing,
                lessons=lessons,
                ray=ray,
                observer=self._observer,
                switch=self._switch,
            )

        if not self._pacing.is_bounded:
            return promotion()
        self._spec = self._pacing.at(FINALISTS, self._spec)
        chosen, whole = promotion().nominate(), teacher.anatomy.shape()
        shares = [
            work_of(operators.effective(policy, whole)[1], whole)
            for policy in chosen
            if not operators.only_rounded(policy)
        ]
        self._spec = self._pacing.at_training(shares, self._spec)
        return promotion()

    def _certify(
        self, teacher: Teacher, setup: Setup, space: SearchSpace, pricing: Pricing, texts: Sequence[str] | None
    ) -> None:
        """Where the study asks for it."""
        spec = self._spec
        if spec.finalists.certify is None:
            return
        recipe = Recipe(
            spec,
            self._inputs.model,
            teacher,
            space,
            pricing,
            unlabelled=functools.partial(self._unlabelled, texts),
            texts=self._texts_digest,
            elastic=setup.elastic is not None,
            workers=self._workers,
        )
        with self._stage("certification"):
            self._observer.progress(0, None, "which finalists held-out rows leave undecided")
            torch.set_num_threads(usable_cores())
            made_of, observer = self._made_of(teacher), self._observer
            asked = spec.finalists.certify
            Certification(recipe, asked, self._store, self._lease, made_of=made_of, observer=observer).run()

    def _made_of(self, teacher: Teacher) -> str:
        """What a finalist is trained from, its policy apart."""
        spec = self._spec
        parts = {"teacher": teacher.digest, "texts": self._texts_digest, "seed": spec.seed}
        return content_digest({**parts, "elastic": asdict(spec.elastic), "finalists": spec.finalists.training.identity})

    @property
    def _texts_digest(self) -> str:
        return self._inputs.digests.get("texts", "")

    # Before the search

    def _texts(self) -> list[str] | None:
        """The unlabelled texts that the study names; read before the teacher is trained, as mistakes in them are told
        at once."""
        texts = unlabelled_texts(self._spec, self._inputs)
        if texts is not None:
            self._observer.note(f"unlabelled texts: {len(texts)}")
        return texts

    def _teacher(self) -> Teacher:
        with self._stage("teacher"):
            teacher = ready_teacher(self._spec, self._inputs, self._observer)
        task = teacher.task
        sizes = {name: len(task.examples(name)) for name in ("train", "validation", "test")}
        about = {"metric": task.metric, "labels": list(task.labels), "texts": sizes}
        chance = task.chance(task.examples("validation"))
        self._store.set_fact(self._lease, "task", {**about, "chance": chance})
        for note in teacher.notes:
            self._observer.note(f"teacher: {note}")
        self._observer.note(
            f"teacher: {teacher.validation:.4f} {task.metric} on validation; {NOUNS[task.modality]}: "
            f"{split_sizes(sizes)}"
        )
        return teacher

    def _serve_lengths(self, teacher: Teacher) -> None:
        """From here on the workload knows how long the task's texts are, if that is what it asks for."""
        served = teacher.task.examples("train").served(self._spec.workload)
        if served != self._spec.workload:
            self._spec = replace(self._spec, workload=served)
            self._observer.note(f"workload: {served}")
        self._store.set_fact(self._lease, WORKLOAD_FACT, served.to_json())

    def _device(self, shape: ModelParts, anatomy: Anatomy) -> tuple[DeviceProfile, Pricing]:
        spec = self._spec
        with self._stage("device"):
            profile = self._profile(shape, anatomy)
        pricing = Pricing.for_study(spec, profile, shape)
        if not is_this_machine(profile):
            self._observer.note(
                f"device {profile.name!r} is another machine than this one: latency is predicted, until finalists are "
                f"measured there (a Ray node with the resource `device:{profile.name}`, or `autocompress bundle`)"
            )
        if note := opset_note(spec, profile, shape):
            self._observer.note(note)
        if self._here:
            take_over(self._asked, self._store, self._lease, profile, pricing, self._observer)
        else:
            self._store.set_fact(self._lease, "device", about(profile))
        return profile, pricing

    def _profile(self, shape: ModelParts, anatomy: Anatomy) -> DeviceProfile:
        """The one that the study began with, whatever became of the cache or the file: a front has one. It is kept with
        the study's environment."""
        spec = self._spec
        known = None if self._here else self._store.fact(spec.name, PROFILE_FACT)
        if known is not None:
            return config.device_from_json(known)
        profile = device_profile(
            spec,
            shape,
            anatomy=anatomy,
            progress=lambda text, done: self._observer.progress(done, 1.0, text),
        )
        if not self._here:
            self._store.set_fact(self._lease, PROFILE_FACT, config.device_to_json(profile))
            self._store.set_fact(self._lease, ENVIRONMENT_FACT, environment(spec))
        return profile

    def _check_reach(self, space: SearchSpace, pricing: Pricing) -> None:
        """Raises SpecError when a constraint lies outside what the space can reach."""
        ranges = reachable(space, pricing, seed=self._spec.seed)
        self._store.set_fact(self._lease, "reachable", {metric: list(ends) for metric, ends in ranges.items()})
        self._observer.note(f"space {space.name!r}: {len(space.knobs())} knobs, {many(space.size())} candidates")
        problems = []
        for metric, (low, high) in ranges.items():
            bound = self._spec.constraints.get(metric)
            if bound or metric in self._spec.objectives:
                asked = f"; asked for {bound}" if bound else ""
                ends = f"{number(metric, low)} to {with_unit(metric, high)}"
                self._observer.note(f"{label(metric, {})}: {ends} can be reached{asked}")
            if bound and not bound.overlaps(low, high):
                problems.append(
                    f"constraints.{metric}: {bound} cannot be met; this space reaches {low:.4g} to {high:.4g}"
                )
        if problems:
            raise SpecError(*problems)
        if "reference_point" not in self._store.study(self._spec.name).facts:
            point = reference_point(pricing, self._spec.objectives, quality=self._least_quality())
            self._store.set_fact(self._lease, "reference_point", point)

    def _least_quality(self) -> float:
        return least_quality(self._spec.task.scored, self._store.study(self._spec.name).facts["task"].get("chance"))

    def _unlabelled(self, texts: Sequence[str] | None) -> Examples | None:
        return unlabelled_examples(self._spec, self._inputs, texts)

    def _with_elastic(
        self, setup: Setup, teacher: Teacher, space: SearchSpace, pricing: Pricing, lessons: Callable[[], Lessons]
    ) -> tuple[Setup, str | None]:
        """The setup with the elastic model that the study asks for, and that model's digest. Where it cannot be trained
        the study does without; resumed it does so again, as its candidates are not to be compared with those of an
        elastic model."""
        if NO_ELASTIC_FACT in self._store.study(self._spec.name).facts:
            return setup, None
        with self._stage("elastic model"):
            self._observer.progress(0, None, "drawing sub-networks to train")
            try:
                plan = elastic_plan(self._spec, teacher, space, pricing, texts=self._texts_digest)
                if plan is None:
                    return setup, None
                weights = trained_elastic(
                    plan,
                    self._spec,
                    setup,
                    lessons,
                    workers=self._workers,
                    progress=lambda share, text: self._observer.progress(share, 1.0, text),
                )
            except CandidateError as error:
                self._store.set_fact(self._lease, NO_ELASTIC_FACT, str(error))
                self._observer.note(f"{error}; the study goes on with slices of the teacher as it is")
                return setup, None
        return replace(setup, elastic=weights), plan.digest

    # Search

    def _ray(self, resources: ExitStack) -> Any:
        """Ray, unless the study runs in this process."""
        if self._workers == 0:
            return None
        with self._stage("workers", f"starting {self._workers}"):
            return resources.enter_context(cluster(workers=self._workers, address=address_of(self._address)))

    def _doubt_profile(self, shape: ModelParts) -> None:
        """A profile of this machine that was far off is not kept for the next study."""
        found = front_report(self._store, self._spec.name).prediction
        if found is not None and found.is_far and set_aside(self._spec, shape):
            self._observer.note(
                f"predictions were off by {100 * found.median:.0f} %: the profile of this machine is set aside, and "
                "measured anew by the next study here"
            )

    @contextmanager
    def _stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Announces a stage and stores how long it took; repeated stages add up."""
        self._observer.stage(name, detail)
        started = time.monotonic()
        try:
            yield
        finally:
            self._timings[name] = round(self._timings.get(name, 0.0) + time.monotonic() - started, 2)
            self._store.set_fact(self._lease, "timings", self._timings)
