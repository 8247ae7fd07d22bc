"""A stored study solved again for another device or budget: qualities are kept, costs are predicted anew, nothing is
evaluated again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from autocompress import config
from autocompress.assets import private_files
from autocompress.core.device import DeviceProfile
from autocompress.core.outcome import Evaluated
from autocompress.core.parts import ModelParts
from autocompress.core.scores import least_quality
from autocompress.core.spec import Bound, StudySpec, check_study_name
from autocompress.core.stored_parts import parts_from_json
from autocompress.devices.host import about
from autocompress.errors import SpecError
from autocompress.operators import OPERATORS
from autocompress.planning.stages import PLAN_FACT, reopened
from autocompress.pricing import Pricing, reference_point, repriced
from autocompress.store import Store

logger = logging.getLogger(__name__)

OF_THE_DEVICE: Final = frozenset({"latency_ms", "energy_mj", "throughput"})
"""Metrics whose bounds belong to a device: another one keeps none of them."""


@dataclass(frozen=True, slots=True)
class Retargeted:
    """What became of a study on another device. `kept` candidates were judged there before and fit here; `broken` ones
    break a bound here; `without_quality` were rejected before their quality was known, so nothing can be said of
    them."""

    name: str
    device: DeviceProfile
    kept: int
    broken: int
    without_quality: int
    dropped: tuple[str, ...]

    def to_json(self, origin: str) -> dict[str, Any]:
        return {
            "from": origin,
            "device": self.device.name,
            "source": self.device.source,
            "kept": self.kept,
            "broken": self.broken,
            "without_quality": self.without_quality,
            "dropped_bounds": list(self.dropped),
            "new_evaluations": 0,
        }


@private_files()
def retarget(
    store: Store,
    name: str,
    *,
    device: str,
    new_name: str | None = None,
    bounds: Mapping[str, Bound] | None = None,
) -> Retargeted:
    """Makes a new study of the same model for another device, from the qualities of a stored one.

    Bounds on latency, energy and throughput are dropped unless given anew; those on size and quality stay. A device
    described for another number of threads is used with that number. `host` is this machine, measured where its profile
    is not known or was set aside. Going on with the new study trains and verifies
    its finalists as usual. Raises SpecError when the profile cannot price the model, or the new name is taken.
    """
    row = store.study(name)
    spec = config.study_from_json(row.resolved, operators=OPERATORS).as_served(row.facts)
    shape = parts_from_json(row.facts.get("shape"))
    if shape is None:
        raise SpecError(f"study {name!r} has judged nothing yet; go on with `autocompress resume {name}`")
    profile = _profile(device, spec, shape)
    target = _target(spec, profile, device, check_study_name(new_name or f"{name}-{profile.name}"), dict(bounds or {}))
    if target.name in {study.name for study in store.studies()}:
        raise SpecError(
            f"a study named {target.name!r} exists already; give another one with --name, or remove it with "
            f"`autocompress rm {target.name}`"
        )
    pricing = Pricing.for_study(target, profile, shape)
    judged = [record for record in store.records(name) if isinstance(record.outcome, Evaluated)]
    found = list(repriced(judged, pricing))
    kept = sum(isinstance(record.outcome, Evaluated) for record in found)
    if kept <= 1:
        raise SpecError(f"no candidate of {name!r} fits {_told(target.constraints)} on {profile.name!r}")
    target = replace(target, budget=replace(target.budget, trials=kept))
    result = Retargeted(
        name=target.name,
        device=profile,
        kept=kept,
        broken=len(found) - kept,
        without_quality=store.counts(name).infeasible,
        dropped=tuple(sorted(set(spec.constraints) - set(target.constraints))),
    )
    resolved = config.spec_to_json(target)
    with store.new_study(
        target.name, given=resolved, resolved=resolved, fingerprint=row.fingerprint, objectives=target.objectives
    ) as lease:
        store.adopt(lease, found, points={digest: one.parameters for one, digest in store.proposals(name)})
        for key, value in _facts(row.facts, profile, pricing, target, result.to_json(name)).items():
            store.set_fact(lease, key, value)
        store.set_state(lease, "searching")
    return result


def _profile(device: str, spec: StudySpec, shape: ModelParts) -> DeviceProfile:
    """The named one; this machine is measured where it is not known yet."""
    if device != config.HOST:
        return config.load_device(device)
    from autocompress.devices.profiles import device_profile  # the one that needs a runtime

    return device_profile(replace(spec, device=device), shape, progress=lambda *_: None)


def _target(spec: StudySpec, profile: DeviceProfile, device: str, name: str, bounds: Mapping[str, Bound]) -> StudySpec:
    stays = {metric: bound for metric, bound in spec.constraints.items() if metric not in OF_THE_DEVICE}
    workload = spec.workload
    if profile.cost is not None and not profile.tables:
        workload = replace(workload, threads=profile.cost.threads)
    return replace(spec, name=name, device=device, constraints={**stays, **bounds}, workload=workload)


def _facts(
    known: Mapping[str, Any], profile: DeviceProfile, pricing: Pricing, target: StudySpec, origin: Mapping[str, Any]
) -> dict[str, Any]:
    least = least_quality(target.task.scored, known.get("task", {}).get("chance"))
    return {
        **{key: known[key] for key in ("shape", "task") if key in known},
        **(
            {PLAN_FACT: reopened(known[PLAN_FACT], another=True)} if known.get(PLAN_FACT) else {}
        ),  # its teacher, not another one
        "device": about(profile),
        "reference_point": reference_point(pricing, target.objectives, quality=least),
        "retargeted": dict(origin),
    }


def _told(bounds: Mapping[str, Bound]) -> str:
    return ", ".join(f"{metric} {bound}" for metric, bound in bounds.items()) or "the study"
