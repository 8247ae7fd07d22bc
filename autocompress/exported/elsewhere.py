"""Models that are measured on another machine: carried there as a bundle, and what was measured carried back.

The bundle measures itself with onnxruntime alone (`deploy/measure.py`), so that the device needs nothing of ours. What
comes back is believed as far as it can be checked: that it is about these very files under this very workload.
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from autocompress import config
from autocompress.assets import copy_listed, earlier_export, file_digest, new_export
from autocompress.core.cost import unpacked, weight_bytes
from autocompress.core.device import EnergyModel, Estimate
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.parts import ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.core.spec import StudySpec
from autocompress.core.stored_parts import parts_from_json
from autocompress.core.workload import Workload
from autocompress.deploy import measure
from autocompress.deploy.folder import MODEL, read_manifest
from autocompress.devices.timing import Timed
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.exported.proof import stored_files
from autocompress.exported.verification import latencies, objections
from autocompress.operators import OPERATORS, effective
from autocompress.pricing import peak_bytes, throughput
from autocompress.report.prediction import PACE
from autocompress.report.ties import PAIRS_FACT
from autocompress.store import Finalist, Store

ENERGY_FACT: Final = "energy_model"
"""The fact of a study that holds the energy model its finalists were judged by; empty when there was none."""

_TIMED: Final = frozenset({"latency_ms", "latency_p90_ms", "throughput", "energy_mj", "peak_memory_mib"})
"""What is known of a finalist through its latency, and replaced with it."""

_LEAST_SAMPLES: Final = measure.LEAST_ROUNDS * measure.TURN
_MOST_MS: Final = 1e7
"""Hours for one inference: a number beyond is no time."""
_LABEL: Final = 64
"""Characters of a device's name that the store keeps with a measurement."""
_README: Final = """\
Measure these models on this machine:

    pip install {packages}
    python measure.py . --json > measurements.json

and bring the file back: `autocompress import-measurements {study} measurements.json`.
"""


def device_label(name: str) -> str:
    """A device's name as a measurement carries it."""
    return name[:_LABEL]


def latency_of(measurements: Measurements) -> Measurement:
    """The latency among some measurements, in milliseconds."""
    return next(one for one in measurements if one.metric == "latency_ms")


def consequences(
    latency: Measurement, shape: ModelParts, workload: Workload, energy: EnergyModel | None
) -> Measurements:
    """What follows from a latency: throughput, and millijoules where there is a model of them; and the memory that the
    shape needs, which is counted."""
    low, high = latency.interval or (latency.value, latency.value)
    time = Estimate(latency.value, low, high)
    held = weight_bytes(unpacked(shape)) + peak_bytes(shape, workload)
    rate = throughput(time, workload)
    found = [
        Measurement(
            "throughput",
            rate.value,
            METRICS["throughput"].unit,
            latency.source,
            (rate.low, rate.high),
            device=latency.device,
        ),
        Measurement("peak_memory_mib", held / 2**20, METRICS["peak_memory_mib"].unit, "counted"),
    ]
    if energy is not None:
        used = energy(shape, workload, time)
        unit = METRICS["energy_mj"].unit
        found.append(Measurement("energy_mj", used.value, unit, "modelled", (used.low, used.high)))
    return tuple(found)


def bundle(store: Store, name: str, out: Path) -> Path:
    """Copies every verified finalist's folder and the stock baseline to `out`, with what is needed to measure them on
    another machine. Appears whole or not at all, in the place of an earlier export.

    Raises NotFoundError when nothing is verified, IntegrityError when a stored file changed, SpecError when `out` holds
    anything but an earlier export.
    """
    earlier_export(out, keep=store.places)  # before the work
    row = store.study(name)
    spec = config.study_from_json(row.resolved, operators=OPERATORS).as_served(row.facts)
    shape = parts_from_json(row.facts.get("shape"))
    verified = [one for one in store.finalists(name) if one.state == "verified"]
    members = [one.candidate.digest for one in verified]
    if not members or shape is None:
        raise NotFoundError(
            f"study {name!r} has no verified finalist to carry away (state: {row.state}); "
            f"see `autocompress pareto {name}`, or go on with `autocompress resume {name}`"
        )
    baseline = _baseline_file(store, name)
    listed = {one.candidate.digest: stored_files(store, name, one) for one in verified}
    with new_export(out, keep=store.places) as draft:
        (draft / measure.BASELINE).mkdir()
        shutil.copyfile(baseline, draft / measure.BASELINE / MODEL)
        for digest, files in listed.items():
            (draft / digest).mkdir()
            copy_listed(store.folder(name) / digest, draft / digest, files)
        (draft / "measure.py").write_text(inspect.getsource(measure), encoding="utf-8")
        (draft / "README.md").write_text(
            _README.format(study=name, packages=_packages(store, name, members)), encoding="utf-8"
        )
        about = {
            "schema": measure.BUNDLE_SCHEMA,
            "study": name,
            "device": str((row.facts.get("device") or {}).get("name", spec.device)),
            "workload": spec.workload.to_json(),
            "rows": min(effective(one.candidate.policy, shape)[1].vocabulary for one in verified),
            "baseline": measure.BASELINE,
            "members": {digest: digest for digest in members},
            "files": {
                path.relative_to(draft).as_posix(): file_digest(path)
                for path in sorted(draft.rglob("*"))
                if path.is_file()
            },
        }
        (draft / measure.BUNDLE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return out


def _packages(store: Store, name: str, members: Sequence[str]) -> str:
    """What a device needs to run the members and the baseline."""
    found = [read_manifest(store.folder(name) / digest).runtime_name for digest in members]
    installed = dict.fromkeys(RUNTIMES[named_runtime(runtime)].install for runtime in (*found, DEFAULT_RUNTIME))
    if RUNTIMES["onnxruntime-cuda"].install in installed:  # it stands in the place of the plain one
        installed.pop(RUNTIMES[DEFAULT_RUNTIME].install)
    return " ".join((*installed, "numpy"))


@dataclass(frozen=True, slots=True)
class Readings:
    """What one model took: milliseconds of every inference, and the SHA-256 of the file that was run."""

    sha256: str
    samples: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a machine says of the models of a study."""

    study: str
    machine: str
    runtime: str
    workload: Workload
    baseline: Readings
    models: Mapping[str, Readings]


@dataclass(frozen=True, slots=True)
class Change:
    """A model's latency in milliseconds before and after an import; `reason` says why it is offered no longer."""

    digest: str
    before: float
    after: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a study through imported measurements; the baseline's change comes first. `device` is the CPU of
    the study's device when it goes by another name than the machine that measured."""

    study: str
    machine: str
    changes: tuple[Change, ...]
    device: str = ""

    @property
    def lines(self) -> list[str]:
        found = [f"{self.study}: latency of {len(self.changes)} models, measured on {self.machine}"]
        for change in self.changes:
            end = f"; not offered: {change.reason}" if change.reason else ""
            found.append(f"{change.digest}  {change.before:.4g} ms -> {change.after:.4g} ms{end}")
        if self.device:
            found.append(f"the study's device is {self.device!r}: make sure that these are the same")
        return found


def import_measurements(store: Store, name: str, file: Path) -> Imported:
    """Puts latencies that were measured elsewhere in place of those a study has for its baseline and its verified
    finalists, and judges these by the study's constraints again. Doing it twice changes nothing more.

    All models must have been measured together: a front with latencies of two machines compares nothing. Raises
    NotFoundError when there is no such file, SpecError when it is not about this study, its files and its workload or
    holds no sound numbers, StudyLockedError while the study runs.
    """
    found = read_document(file)
    if found.study != name:
        raise SpecError(f"{file}: measurements of study {found.study!r}, not of {name!r}; import them there")
    row = store.study(name)
    spec = config.study_from_json(row.resolved, operators=OPERATORS).as_served(row.facts)
    shape = parts_from_json(row.facts.get("shape"))
    if found.workload != spec.workload:
        raise SpecError(
            f"{file}: measured under {found.workload}, the study asks for {spec.workload}; make the bundle anew with "
            f"`autocompress bundle {name}` and measure it"
        )
    with store.lease(name) as lease:
        before = {one.candidate.digest: one for one in store.finalists(name)}
        exported = {digest: one for digest, one in before.items() if one.exported}
        baseline = next((one for one in before.values() if one.candidate.policy.is_baseline), None)
        if shape is None or baseline is None or not exported:
            raise NotFoundError(f"study {name!r} has exported nothing yet; go on with `autocompress resume {name}`")
        _check_models(store, name, file, found, exported)
        again = _Remeasuring(found, spec, shape, row.facts)
        remeasured = [again.latency(baseline, found.baseline)]
        remeasured += [again.judged(exported[digest], readings) for digest, readings in found.models.items()]
        store.remeasure(lease, remeasured)
        if pairs := row.facts.get(PAIRS_FACT):  # of rounds that another machine ran
            store.set_fact(lease, PAIRS_FACT, {**pairs, "latency_ms": {}})
    changes = tuple(
        Change(
            one.candidate.digest if one.candidate.number else measure.BASELINE,
            values(before[one.candidate.digest].measurements)["latency_ms"],
            values(one.measurements)["latency_ms"],
            one.reason if one.candidate.number else "",
        )
        for one in remeasured
    )
    cpu = str((row.facts.get("device") or {}).get("fingerprint", {}).get("cpu", found.machine))
    return Imported(name, found.machine, changes, "" if cpu == found.machine else cpu)


class _Remeasuring:
    """Finalists as they are with another machine's readings."""

    def __init__(self, found: Document, spec: StudySpec, shape: ModelParts, facts: Mapping[str, Any]) -> None:
        self._found, self._spec, self._shape = found, spec, shape
        energy = facts.get(ENERGY_FACT)
        self._chance = float(facts.get("task", {}).get("chance", 0.0))
        self._energy = EnergyModel(**energy) if energy else None

    def latency(self, one: Finalist, readings: Readings) -> Finalist:
        times = latencies(Timed(readings.samples), device_label(self._found.machine))
        _, shape = effective(one.candidate.policy, self._shape)
        kept = tuple(known for known in one.measurements if known.metric not in _TIMED)
        how = {"latency": f"measured on {self._found.machine}, imported", "runtime": self._found.runtime}
        return replace(
            one,
            measurements=(*kept, *times, *consequences(times[0], shape, self._spec.workload, self._energy)),
            provenance={name: value for name, value in {**one.provenance, **how}.items() if name != PACE},
        )

    def judged(self, one: Finalist, readings: Readings) -> Finalist:
        """By the constraints of the study: what was predicted to fit may not, and the other way round."""
        timed = self.latency(one, readings)
        reasons = objections(
            timed.measurements,
            trained_quality=one.provenance.get("trained_quality", values(timed.measurements)["quality"]),
            chance=self._chance,
            constraints=self._spec.constraints,
        )
        return replace(timed, state="rejected" if reasons else "verified", reason="; ".join(reasons))


def read_document(file: Path) -> Document:
    """A file written by `autocompress measure`. Raises NotFoundError, or SpecError saying what is wrong with it."""
    if not file.is_file():
        raise NotFoundError(f"{file}: no such file; `autocompress measure FOLDER --out FILE` writes one")
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{file}: no JSON document: {error}; `autocompress measure` writes one") from error
    schema = tree.get("schema") if isinstance(tree, dict) else None
    if schema != measure.SCHEMA:
        raise SpecError(f"{file}: schema {schema!r}, allowed: {measure.SCHEMA!r}; `autocompress measure` writes it")
    if tree.get("baseline") is None:
        raise SpecError(
            f"{file}: holds no baseline, so it was measured from a single exported folder; measure the whole bundle "
            "that `autocompress bundle STUDY` writes"
        )
    try:
        return Document(
            study=str(tree["study"]),
            machine=_name(tree["machine"]["cpu"]),
            runtime=f"{tree['runtime']['name']} {tree['runtime']['version']}",
            workload=Workload.of(tree["workload"]),
            baseline=_readings(measure.BASELINE, tree["baseline"]),
            models={digest: _readings(digest, found) for digest, found in tree["models"].items()},
        )
    except KeyError as error:
        raise SpecError(f"{file}: lacks {error}; measure the bundle again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise SpecError(f"{file}: {error}; measure the bundle again") from error


def _readings(name: str, tree: Mapping[str, Any]) -> Readings:
    """Raises KeyError, TypeError or ValueError."""
    samples = tree["samples_ms"]
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        raise TypeError(f"{name}: `samples_ms` must be a list of numbers, got {type(samples).__name__}")
    for value in samples:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_MS:
            raise ValueError(
                f"{name}: every sample must be a finite number of milliseconds > 0, at most {_MOST_MS:g}, got "
                f"{str(value)[:20]}"
            )
    if len(samples) < _LEAST_SAMPLES:
        raise ValueError(f"{name}: at least {_LEAST_SAMPLES} samples are needed, got {len(samples)}")
    return Readings(str(tree["sha256"]), tuple(map(float, samples)))


def _name(given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError(f"`machine.cpu` must be the name of a CPU, got {given!r}")
    return given.strip()


def _check_models(store: Store, name: str, file: Path, found: Document, known: Mapping[str, Finalist]) -> None:
    """Raises SpecError naming every model that is not the study's, is another file, or was left out."""
    promised = {digest: _model_sha256(one) for digest, one in known.items()}
    problems = [
        f"{file}: {digest} is no exported finalist of study {name!r} (allowed: {', '.join(sorted(known)) or 'none'})"
        for digest in sorted(found.models.keys() - known.keys())
    ]
    measured = {digest: one.sha256 for digest, one in found.models.items() if digest in known}
    measured[measure.BASELINE] = found.baseline.sha256
    promised[measure.BASELINE] = file_digest(_baseline_file(store, name))
    problems += [
        f"{file}: {digest}: another file was measured than the study exported (SHA-256 {sha256[:12]}, expected "
        f"{promised[digest][:12]})"
        for digest, sha256 in sorted(measured.items())
        if sha256 != promised[digest]
    ]
    problems += [
        f"{file}: {digest} was not measured; measure all models together"
        for digest, one in sorted(known.items())
        if one.state == "verified" and digest not in found.models
    ]
    if problems:
        raise SpecError(*problems, f"make the bundle anew with `autocompress bundle {name}` and measure it")


def _model_sha256(one: Finalist) -> str:
    """What the store knows of the model's file. Raises IntegrityError when it knows nothing."""
    for artifact in one.artifacts:
        if artifact.path.rpartition("/")[2] == MODEL:
            return artifact.sha256
    raise IntegrityError(
        f"finalist {one.candidate.digest}: the store lists no {MODEL} of it; see `autocompress trials`"
    )


def _baseline_file(store: Store, name: str) -> Path:
    path = store.folder(name) / measure.BASELINE / MODEL
    if path.is_symlink() or not path.is_file():
        raise NotFoundError(f"{path}: the baseline's file is gone; put it back from a copy of {store.artifacts}")
    return path
