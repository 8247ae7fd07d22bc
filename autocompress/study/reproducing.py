"""One candidate of a stored study judged again, as it was judged: nothing is stored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from autocompress import config, operators
from autocompress.candidates.elastic import Weights, cached_elastic, elastic_plan, trained_elastic
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cores import usable_cores
from autocompress.core.device import DeviceProfile
from autocompress.core.outcome import Evaluated, Failed, Infeasible, Outcome, Record
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.ports import Observer
from autocompress.core.spec import StudySpec
from autocompress.core.trust import NO_ELASTIC_FACT
from autocompress.core.versions import versions
from autocompress.deploy.folder import MODEL
from autocompress.devices.host import fingerprint
from autocompress.devices.profiles import device_profile, known_profile
from autocompress.errors import AutocompressError
from autocompress.exported.proof import stored_files
from autocompress.exported.verification import Judged, judge_file, judge_folder
from autocompress.planning.stages import PLAN_FACT, SEARCH, as_decided, decisions_until
from autocompress.pricing import Pricing
from autocompress.report import explain_policy
from autocompress.report.reproduction import Changed, Repeated, Reproduction, repeated
from autocompress.store import PROFILE_FACT, Finalist, Store
from autocompress.study.environment import ENVIRONMENT_FACT
from autocompress.study.gathering import Inputs, unlabelled_texts
from autocompress.study.judged import JUDGED_WITH
from autocompress.study.preparing import (
    bound_space,
    evaluation,
    ready_lessons,
    ready_teacher,
    threads,
    unlabelled_examples,
)
from autocompress.tasks import Examples
from autocompress.teacher.importance import counted, prepare_importance
from autocompress.teacher.teacher import Teacher, is_at_hand

_OF_THE_MACHINE: Final = ("cpu", "isa", "cores", "machine", "system")


def reproduce(store: Store, record: Record, spec: StudySpec, inputs: Inputs, observer: Observer) -> Reproduction:
    """Judges a candidate again with its study's own spec, data, teacher, elastic model and device profile; models that
    are no longer in the cache are trained again, as the study trained them. Of a verified finalist the exported file is
    scored too, if it is still there.

    Raises as a run does where a model cannot be made again, IntegrityError for an exported file that changed.
    """
    return _Again(store, record, spec, inputs, observer).judged()


class _Again:
    def __init__(self, store: Store, record: Record, spec: StudySpec, inputs: Inputs, observer: Observer) -> None:
        self._store, self._record, self._inputs, self._observer = store, record, inputs, observer
        self._row = store.study(spec.name)
        decided = (self._row.facts.get(PLAN_FACT) or {}).get("decided", {})
        self._spec = as_decided(spec, decisions_until(SEARCH, decided)).as_served(self._row.facts)
        self._remade: list[str] = []
        self._notes: list[str] = []

    def judged(self) -> Reproduction:
        record, policy = self._record, self._record.candidate.policy
        stored = record.outcome
        assert stored is not None, "it was judged"
        texts = unlabelled_texts(self._spec, self._inputs)
        unlabelled = functools.partial(unlabelled_examples, self._spec, self._inputs, texts)
        with threads(usable_cores()):
            teacher = self._teacher()
            self._observer.stage("importance")
            importance = prepare_importance(self._spec, teacher, unlabelled=unlabelled)
            whole = teacher.anatomy.shape()
            shape = counted(whole, importance, teacher.task)
            profile, pricing = self._device(shape, teacher)
            setup = Setup.of(
                teacher.anatomy.model,
                importance,
                teacher.task,
                precision=self._spec.teacher.precision,
                most_rows=self._spec.budget.search_rows,
            )
            now, elastic = self._outcome(setup, teacher, pricing, unlabelled)
            exported = tuple(self._exported(setup, teacher, whole))
        found = () if isinstance(stored, Failed) else stored.measurements
        got = () if isinstance(now, Failed) else now.measurements
        if isinstance(now, Failed):
            self._notes.append(f"it failed now: {now.stage}: {now.error}: {now.message}")
        return Reproduction(
            self._row.name,
            record.candidate.number,
            record.candidate.digest,
            explain_policy(policy, whole).summary,
            stored,
            now,
            (*repeated("searched", found, got), *exported),
            tuple(self._changed(shape, teacher, profile, elastic)),
            tuple(self._remade),
            tuple(self._notes),
        )

    def _teacher(self) -> Teacher:
        self._observer.stage("teacher")
        if not is_at_hand(self._spec, self._inputs.model, self._inputs.data):
            self._told_of("teacher")
        return ready_teacher(self._spec, self._inputs, self._observer)

    def _told_of(self, what: str) -> None:
        took = self._row.facts.get("timings", {}).get(what)
        long = f", which took {took / 60:.1f} minutes in the study" if took else ""
        self._observer.note(f"the {what} is no longer in the cache: it is trained again{long}")
        self._remade.append(what)

    def _device(self, shape: ModelParts, teacher: Teacher) -> tuple[DeviceProfile, Pricing]:
        """By the profile that the study keeps, whatever became of the device's file."""
        spec, known = self._spec, self._store.fact(self._spec.name, PROFILE_FACT)
        if known is None:
            self._observer.stage("device")
            profile = device_profile(spec, shape, progress=lambda _, __: None, anatomy=teacher.anatomy)
            self._notes.append("the study keeps no device profile, so costs are predicted from the one there is now")
        else:
            profile = config.device_from_json(known)
        pricing = Pricing.for_study(spec, profile, shape)
        return profile, pricing

    def _outcome(
        self, setup: Setup, teacher: Teacher, pricing: Pricing, unlabelled: Callable[[], Examples | None]
    ) -> tuple[Outcome, str | None]:
        """What becomes of the candidate, and the digest of the elastic model that it was cut from, if it was."""
        policy = self._record.candidate.policy
        priced = pricing(policy)
        if priced.broken is not None and not policy.is_baseline:
            return Infeasible(priced.broken, priced.measurements), None

        @functools.cache
        def lessons() -> Lessons:
            return ready_lessons(self._spec, setup, unlabelled(), self._observer)

        elastic = None
        if operators.elastic(policy.steps):  # all others start from the teacher itself
            weights, elastic = self._elastic(setup, teacher, pricing, lessons)
            setup = replace(setup, elastic=weights)
        self._observer.stage("candidate", policy.digest)
        build, needed = evaluation(self._spec, setup, lessons)
        with threads(1):  # as workers of a search
            outcome = build(needed)(policy)
        if isinstance(outcome, Evaluated):
            outcome = Evaluated((*priced.measurements, *outcome.measurements))
        return outcome, elastic

    def _elastic(
        self, setup: Setup, teacher: Teacher, pricing: Pricing, lessons: Callable[[], Lessons]
    ) -> tuple[Weights | None, str | None]:
        """The elastic model that the candidate was cut from; where nobody kept its digest, or it is gone, that of the
        study."""
        if NO_ELASTIC_FACT in self._row.facts:
            return None, None
        self._observer.stage("elastic model")
        known = self._record.provenance.get(JUDGED_WITH, {}).get("elastic")
        if known is not None and (weights := cached_elastic(known)) is not None:
            return weights, known
        space, digests = bound_space(self._spec, pricing.shape), self._inputs.digests
        plan = elastic_plan(self._spec, teacher, space, pricing, texts=digests.get("texts", ""))
        if plan is None:
            return None, None
        weights = cached_elastic(plan.digest)
        if weights is None:
            self._told_of("elastic model")
            weights = trained_elastic(
                plan,
                self._spec,
                setup,
                lessons,
                workers=usable_cores(),
                progress=lambda share, text: self._observer.progress(share, 1.0, text),
            )
        return weights, plan.digest

    # The exported file

    def _exported(self, setup: Setup, teacher: Teacher, whole: ModelParts) -> Iterator[Repeated]:
        """What is scored of a verified finalist's file, or of the uncompressed model's. Its latency is measured by
        `verify`, beside the uncompressed model."""
        number = self._record.candidate.number
        found = next((one for one in self._store.finalists(self._spec.name) if one.candidate.number == number), None)
        if found is None or not (found.state == "verified" or number == 0):
            return
        self._observer.stage("exported file")
        judged = self._judged_file(found, setup, teacher, whole)
        if judged is None:
            self._notes.append("its exported file is no longer there, so only the search is reproduced")
            return
        scored = {one.metric for one in judged.measurements}
        yield from repeated(
            "exported", (one for one in found.measurements if one.metric in scored), judged.measurements
        )
        if number:
            self._notes.append(
                f"latency of the exported file is measured again by `autocompress export {self._spec.name} "
                f"{self._record.candidate.digest[:8]} --out FOLDER` and `autocompress verify FOLDER`"
            )

    def _judged_file(self, one: Finalist, setup: Setup, teacher: Teacher, whole: ModelParts) -> Judged | None:
        policy, folder = one.candidate.policy, self._store.folder(self._spec.name)
        if policy.is_baseline:
            path = folder / "baseline" / MODEL
            return judge_file(path, teacher.task, whole, self._spec.workload) if path.is_file() else None
        if not (folder / policy.digest / MODEL).is_file():
            return None
        stored_files(self._store, self._spec.name, one)
        vocabulary, task = setup.vocabulary(policy), teacher.task
        if vocabulary is not None:
            task = task.read_with(vocabulary, renumbered=True)
        _, shape = operators.effective(policy, whole)
        return judge_folder(folder / policy.digest, task, shape)

    # What differs around it

    def _changed(
        self, shape: ModelParts, teacher: Teacher, profile: DeviceProfile, elastic: str | None
    ) -> Iterator[Changed]:
        known, provenance = self._row.facts.get(ENVIRONMENT_FACT) or {}, self._record.provenance
        yield from _differing("", provenance.get("versions", {}), versions(), but=("ray",))
        host = fingerprint()
        yield from _differing("processor's ", known.get("host", {}), {name: host[name] for name in _OF_THE_MACHINE})
        made = provenance.get("teacher")
        if made is not None and made != teacher.digest:
            yield Changed("teacher", str(made), teacher.digest)
        cut = provenance.get(JUDGED_WITH, {}).get("elastic")
        if cut is not None and elastic is not None and cut != elastic:
            yield Changed("elastic model", cut, elastic)
        current = None
        with suppress(AutocompressError):  # its file is gone: the study's own is used in any case
            current = known_profile(self._spec, shape)
        if current is not None and (now := _digest(current)) != (then := _digest(profile)):
            yield Changed(f"profile of {profile.name} (the study's own is used)", then, now)


def _differing(
    what: str, stored: Mapping[str, Any], now: Mapping[str, Any], *, but: tuple[str, ...] = ()
) -> Iterator[Changed]:
    for name, value in stored.items():
        if name in now and name not in but and str(value) != str(now[name]):
            yield Changed(f"{what}{name}", str(value), str(now[name]))


def _digest(profile: DeviceProfile) -> str:
    return content_digest(config.device_to_json(profile))
