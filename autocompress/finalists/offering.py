"""From trained finalists to what is offered: exported, judged as files, timed beside the baseline, verified or not."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autocompress.anatomy import Anatomy
from autocompress.assets import new_file, write_atomically
from autocompress.candidates.evaluate import Setup
from autocompress.core.device import DeviceProfile
from autocompress.core.lowering import FORMS_FACT, FormChoice
from autocompress.core.opsets import PLAIN_OPSET
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Observer
from autocompress.core.spec import StudySpec
from autocompress.core.versions import versions
from autocompress.deploy.folder import MODEL
from autocompress.deploy.forms import GraphMaker
from autocompress.devices.energy import energy_of, find_meter
from autocompress.devices.host import fingerprint_digest, is_this_machine
from autocompress.devices.memory import peak_memory_mib
from autocompress.devices.pace import reference_of
from autocompress.devices.timing import Timed, time_sessions, timing_lane, workload_run
from autocompress.distill import kept_weights
from autocompress.errors import HostError
from autocompress.exported.elsewhere import ENERGY_FACT, consequences, device_label, latency_of
from autocompress.exported.exporting import Exporting, Known
from autocompress.exported.forms import Forms
from autocompress.exported.stock import kept_stock_export
from autocompress.exported.verification import (
    Judged,
    differences,
    drops,
    judge_file,
    judge_folder,
    latencies,
    objections,
    parity,
    time_models,
)
from autocompress.finalists.keeping import expected_drops, exported_files, keep_row_scores
from autocompress.finalists.recovery import Endings, deployed_student, trainable_student
from autocompress.operators import effective
from autocompress.pricing import Pricing
from autocompress.report.prediction import PACE
from autocompress.report.ties import PAIRS_FACT
from autocompress.runners.devices import has_device, timed_elsewhere
from autocompress.store import Artifact, Lease, Store
from autocompress.teacher.teacher import Teacher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """A finalist on its way: its number, shape and weights, with what calibration found for them, its file as judged,
    and how good it was before export."""

    number: int
    policy: CompressionPolicy
    weights: Mapping[str, torch.Tensor]
    shape: ModelParts
    judged: Judged
    parity: Measurement
    trained_quality: float
    form: FormChoice
    exporting: Exporting


@dataclass(frozen=True, slots=True)
class _Latencies:
    """What is known of how long each file takes, the baseline first, and how it was obtained; here also how many times
    as long as when it was profiled the machine took for the profile's reference model, timed beside them. `rounds` are
    their readings, where they were timed."""

    how: str
    found: Sequence[Measurements]
    pace: float | None = None
    rounds: Sequence[Timed] = ()

    @property
    def provenance(self) -> dict[str, Any]:
        return {"latency": self.how, **({PACE: self.pace} if self.pace else {})}


class Offering:
    """Concludes the finalists of one study, under a lease.

    Latency is measured on the study's device: here, if that is this machine, or on the Ray node that is the device. A
    device out of reach leaves it predicted, until measurements are imported from there (see `elsewhere`).
    """

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        lease: Lease,
        teacher: Teacher,
        setup: Setup,
        profile: DeviceProfile,
        *,
        pricing: Pricing,
        ray: Any,
        observer: Observer,
    ) -> None:
        """`ray` is the module, connected, or None when the study runs without it."""
        self._spec, self._store, self._lease = spec, store, lease
        self._teacher, self._setup, self._profile, self._observer = teacher, setup, profile, observer
        self._pricing, self._ray = pricing, ray
        self._shape = teacher.anatomy.shape()
        self._folder = store.folder(spec.name)
        self._exporting = Exporting(spec, teacher, profile)

    def conclude(self, endings: Endings) -> None:
        """Verifies or rejects every finalist that was trained, side by side with the baseline."""
        if not endings:
            return
        numbers = {f.candidate.digest: f.candidate for f in self._store.finalists(self._spec.name)}
        tell = functools.partial(self._tell, total=2 * len(endings) + 3)
        tell(0, "exporting and judging the uncompressed model")
        baseline = self._judge_baseline()
        parts: list[_Part] = []
        for place, (digest, ending) in enumerate(endings.items(), start=1):
            tell(place, f"exporting and judging {digest[:8]}")
            candidate = numbers[digest]
            if isinstance(ending, str):
                self._reject(candidate.number, f"training failed: {ending}", (), {})
            else:
                parts.append(self._export(candidate.number, candidate.policy, ending))
        shapes = [self._shape, *(part.shape for part in parts)]
        files = [baseline, *(part.judged for part in parts)]
        tell(len(endings) + 1, f"latency of {len(files)} models, in turns")
        timed = self._time(files, shapes)
        energy = self._profile.energy
        self._store.set_fact(self._lease, ENERGY_FACT, asdict(energy) if energy else {})
        known: list[Measurements] = []
        for file, found, shape in zip(files, timed.found, shapes, strict=True):
            tell(len(endings) + 2 + len(known), f"peak memory of model {len(known) + 1} of {len(files)}")
            follows = consequences(latency_of(found), shape, self._spec.workload, energy)
            known.append((*found, *_instead(follows, self._metered(file, shape))))
        reference = (*baseline.measurements, *known[0])
        self._store.conclude(
            self._lease,
            0,
            verified=False,
            reason="the uncompressed model as a stock fp32 export",
            measurements=reference,
            artifacts=self._row_scores("baseline", baseline),
            provenance={"versions": dict(versions()), **timed.provenance},
        )
        self._keep_differences(parts, timed.rounds[1:])
        files_of = {part.number: part.judged for part in parts}
        unseen = expected_drops(self._store, self._spec.name, self._teacher.task, baseline, files_of)
        for part, found in zip(parts, known[1:], strict=True):
            below = [*drops(part.judged, baseline, self._teacher.task), *_known(unseen.get(part.number))]
            self._decide(part, (*part.judged.measurements, *below, part.parity, *found), reference, timed)

    def _row_scores(self, name: str, file: Judged) -> list[Artifact]:
        return keep_row_scores(self._folder, name, self._teacher.task, file.outputs, root=self._store.artifacts)

    def _tell(self, done: int, text: str, *, total: int) -> None:
        self._observer.progress(done, total, text)

    def _keep_differences(self, parts: Sequence[_Part], rounds: Sequence[Timed]) -> None:
        """Beside those of finalists that were judged together before."""
        known = self._store.study(self._spec.name).facts.get(PAIRS_FACT, {})
        numbers = [part.number for part in parts]
        files = dict(zip(numbers, (part.judged for part in parts), strict=True))
        found = differences(files, dict(zip(numbers, rounds, strict=False)), self._teacher.task)
        merged = {metric: {**known.get(metric, {}), **pairs} for metric, pairs in found.items()}
        self._store.set_fact(self._lease, PAIRS_FACT, merged)

    def _time(self, files: Sequence[Judged], shapes: Sequence[ModelParts]) -> _Latencies:
        """On the device where it can be reached. Raises HostError when it was reached and then lost."""
        profile, load, rows = self._profile, self._spec.workload, min(shape.vocabulary for shape in shapes)
        if is_this_machine(profile):
            return self._time_here(files, rows)
        if self._ray is not None and has_device(self._ray, profile.name):
            ways = [(one.runtime, one.switches) for one in files]
            timing = functools.partial(time_models, workload=load, rows=rows, ways=ways)
            there = timed_elsewhere(self._ray, profile.name, [file.path for file in files], timing)
            label = device_label(profile.name)
            found = [latencies(timed, label) for timed in there.found]
            return _Latencies(f"measured on {there.node} by Ray", found, rounds=there.found)
        predicted = [tuple(one for one in self._pricing.count(shape) if one.metric == "latency_ms") for shape in shapes]
        return _Latencies("predicted", predicted)

    def _time_here(self, files: Sequence[Judged], rows: int) -> _Latencies:
        load, device = self._spec.workload, fingerprint_digest(self._profile.fingerprint)
        reference = reference_of(self._profile, self._shape, load)
        timed = time_sessions([one.session for one in files], load, rows, beside=reference.run if reference else None)
        found = [latencies(one, device) for one in timed[: len(files)]]
        pace = reference.pace(timed[-1]) if reference else None
        return _Latencies("measured here", found, pace, timed[: len(files)])

    def _metered(self, file: Judged, shape: ModelParts) -> Measurements:
        """What can be read on this machine, where it is the device: energy from a meter, and peak memory from the
        kernel, which takes a process and about a second for each file; it stays counted where that fails and the study
        does not name it."""
        if not is_this_machine(self._profile):
            return ()
        load, device, found = self._spec.workload, fingerprint_digest(self._profile.fingerprint), []
        if (meter := find_meter()) is not None:
            with timing_lane():
                run = workload_run(file.session, load.typical, rows=shape.vocabulary)
                found.append(energy_of(run, meter, device=device))
        if (peak := self._peak_memory(file)) is not None:
            found.append(Measurement("peak_memory_mib", peak, "MiB", "measured", device=device))
        return tuple(found)

    def _peak_memory(self, file: Judged) -> float | None:
        try:
            return peak_memory_mib(file.path, self._spec.workload, runtime=file.runtime, switches=file.switches)
        except HostError as error:
            if "peak_memory_mib" in {*self._spec.objectives, *self._spec.constraints}:
                raise
            logger.warning("%s", error)
            return None

    def _judge_baseline(self) -> Judged:
        path = self._folder / "baseline" / MODEL
        made_of = path.with_name("teacher.txt")
        if not path.exists() or not made_of.exists() or made_of.read_text("utf-8") != self._teacher.digest:
            made_of.unlink(missing_ok=True)
            model, opset = self._teacher.anatomy.model, self._spec.export.opset or PLAIN_OPSET
            stock = kept_stock_export(model, {"teacher": self._teacher.digest}, opset=opset)
            with new_file(path, needed=stock.stat().st_size) as draft:
                shutil.copyfile(stock, draft)
            write_atomically(made_of, self._teacher.digest)
        return judge_file(path, self._teacher.task, self._shape, self._spec.workload)

    def _export(self, number: int, policy: CompressionPolicy, checkpoint: Path) -> _Part:
        weights, history = kept_weights(checkpoint)
        setup = self._setup.reading(policy)
        exporting = replace(self._exporting, vocabulary=self._setup.vocabulary(policy))
        plain = trainable_student(setup, policy)
        plain.model.load_state_dict(weights)
        plain.model.eval()
        folder = self._folder / "exports" / policy.digest
        _, shape = effective(policy, self._shape)
        student = deployed_student(setup, policy, weights)
        for one in (plain, student):
            one.renumber()
        choice, maker = self._form(student, shape)
        exporting.begin(folder, policy, shape, student, choice, maker)
        weights = {**weights, **student.settled()}
        judged = judge_folder(folder, exporting.task, shape)
        lowering = exporting.lowering(shape)
        same = parity(plain, exporting.task, lowering, runtime=shape.runtime, maker=maker)
        return _Part(number, policy, weights, shape, judged, same, history.score, choice, exporting)

    def _form(self, student: Anatomy, shape: ModelParts) -> tuple[FormChoice, GraphMaker]:
        """Chosen once for each runtime and precision of the study, whose facts keep it."""
        known = self._store.study(self._spec.name).facts.get(FORMS_FACT, {})
        forms = Forms(self._spec, self._profile, known)
        choice, maker = forms.choose(student, shape, self._exporting.lowering(shape))
        if (told := forms.to_json()) != known:
            self._store.set_fact(self._lease, FORMS_FACT, told)
            self._observer.note(f"graphs: {choice}")
        return choice, maker

    def _decide(self, part: _Part, found: Measurements, reference: Measurements, timed: _Latencies) -> None:
        task = self._teacher.task
        reasons = objections(
            found,
            trained_quality=part.trained_quality,
            chance=task.chance(task.examples("validation")),
            constraints=self._spec.constraints,
        )
        if reasons:
            self._reject(part.number, "; ".join(reasons), found, timed.provenance)
        else:
            self._offer(part, found, reference, timed)
        shutil.rmtree(part.judged.path.parent, ignore_errors=True)

    def _reject(self, number: int, reason: str, found: Measurements, provenance: Mapping[str, Any]) -> None:
        self._observer.note(f"candidate {number} is not offered: {reason}")
        self._store.conclude(
            self._lease,
            number,
            verified=False,
            reason=reason,
            measurements=found,
            artifacts=[],
            provenance=provenance,
        )

    def _offer(self, part: _Part, found: Measurements, reference: Measurements, timed: _Latencies) -> None:
        """The folder stands before the store says so: a crash in between leaves a folder that is written again."""
        folder = self._folder / part.policy.digest
        begun, known = part.judged.path.parent, Known(found, reference, timed.how)
        part.exporting.finish(folder, begun, part.policy, part.shape, part.weights, known, part.form)
        self._store.conclude(
            self._lease,
            part.number,
            verified=True,
            reason="",
            measurements=found,
            artifacts=[
                *exported_files(folder, self._store.artifacts),
                *self._row_scores(part.policy.digest, part.judged),
            ],
            provenance={
                "versions": dict(versions()),
                "trained_quality": part.trained_quality,
                **timed.provenance,
                "runtime": part.judged.runtime,
                "graph": str(part.form),
            },
        )
        ours, base = values(found), values(reference)
        self._observer.note(
            f"verified {part.policy.digest[:8]}: {ours['quality']:.4f} {self._spec.task.metric}, "
            f"{ours['latency_ms']:.3g} ms ({base['latency_ms'] / ours['latency_ms']:.1f}x faster, {timed.how}), "
            f"{ours['size_mb']:.3g} MB"
        )


def _known(one: Measurement | None) -> Measurements:
    return () if one is None else (one,)


def _instead(known: Measurements, better: Measurements) -> Measurements:
    """The measurements, with those that are known better in the place of theirs."""
    replaced = {one.metric for one in better}
    return (*(one for one in known if one.metric not in replaced), *better)
