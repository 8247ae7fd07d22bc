"""What a study's numbers depend on beside its spec and its inputs: the machine, the runtimes, the libraries.

A front never mixes two machines: a study of this machine (`device: host`) that is opened on another one is refused in
one sentence, and `resume --here` takes it over: this machine is profiled, what was judged keeps its quality and gets
the costs that it has here, and finalists are verified again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from autocompress import config
from autocompress.core.device import DeviceProfile
from autocompress.core.outcome import Evaluated, Infeasible, Record
from autocompress.core.ports import Observer
from autocompress.core.scores import least_quality
from autocompress.core.spec import StudySpec
from autocompress.core.versions import versions
from autocompress.deploy.session import runtime
from autocompress.devices.host import about, fingerprint, is_like_this
from autocompress.errors import SpecError
from autocompress.pricing import Pricing, reference_point, repriced
from autocompress.store import PROFILE_FACT, Lease, Store, StudyRow

ENVIRONMENT_FACT: Final = "environment"


def environment(spec: StudySpec) -> dict[str, Any]:
    """As it is now. Raises HostError when a runtime of the study is not installed."""
    runtimes = {name: asdict(runtime(name))["version"] for name in spec.runtimes}
    return {"host": fingerprint(), "runtimes": runtimes, "versions": dict(versions())}


def check_environment(row: StudyRow, spec: StudySpec, observer: Observer) -> None:
    """Compares it with that of the study's beginning; other libraries are told.

    Raises SpecError when the study is one of this machine, and that or the version of a runtime is another now."""
    known = _known(row)
    now = environment(spec)
    problems = [*_of_machine(row, spec, known), *_of_runtimes(row, spec, known, now)]
    if problems:
        raise SpecError(*problems)
    before = known.get("versions", {})
    changed = [
        f"{name} {before[name]} -> {now['versions'].get(name)}"
        for name in sorted(before)
        if name != "ray" and before[name] != now["versions"].get(name)
    ]
    if changed:
        told = ", ".join(changed)
        observer.note(f"since the study began libraries have changed, and what follows is made with these: {told}")


def take_over(
    spec: StudySpec, store: Store, lease: Lease, profile: DeviceProfile, pricing: Pricing, observer: Observer
) -> None:
    """Gives a study's candidates the costs that they have on this machine, in one step: qualities stay, finalists wait
    to be verified here. What was infeasible elsewhere and fits here waits to be judged."""
    found = list(_here(store.records(spec.name), pricing))
    known = store.study(spec.name).facts.get("task", {})
    least = least_quality(spec.task.scored, known.get("chance"))
    facts = {
        "device": about(profile),
        "reference_point": reference_point(pricing, spec.objectives, quality=least),
        PROFILE_FACT: config.device_to_json(profile),
        ENVIRONMENT_FACT: environment(spec),
    }
    before = _known(store.study(spec.name)).get("host", {}).get("cpu", "another machine")
    store.reprice(lease, found, resolved=config.spec_to_json(spec), facts=facts)
    judged = sum(isinstance(one.outcome, Evaluated) for one in found)
    waiting = sum(one.outcome is None for one in found)
    more = f", {waiting} that did not fit there are judged now" if waiting else ""
    observer.note(f"taken over from {before}: {judged} candidates keep their quality and are priced here{more}")


def _here(records: list[Record], pricing: Pricing) -> Iterator[Record]:
    judged = [one for one in records if isinstance(one.outcome, Evaluated)]
    yield from repriced(judged, pricing)
    for one in records:
        if isinstance(one.outcome, Infeasible):
            priced = pricing(one.candidate.policy)
            outcome = Infeasible(priced.broken, priced.measurements) if priced.broken else None
            yield replace(one, outcome=outcome)


def _known(row: StudyRow) -> Mapping[str, Any]:
    """What a study remembers of its surroundings; of one of before, the machine alone."""
    found: Mapping[str, Any] | None = row.facts.get(ENVIRONMENT_FACT)
    device: Mapping[str, Any] = row.facts.get("device") or {}
    return found or ({"host": device["fingerprint"]} if device.get("here") else {})


def _of_machine(row: StudyRow, spec: StudySpec, known: Mapping[str, Any]) -> Iterator[str]:
    host = known.get("host")
    if spec.device == config.HOST and host and not is_like_this(host):
        yield (
            f"study {row.name!r} was made on {_named(host)}, and this machine is {_named(fingerprint())}: latencies of "
            f"both must not stand on one front; `autocompress resume {row.name} --here` measures this one, keeps every "
            "quality and goes on here"
        )


def _of_runtimes(row: StudyRow, spec: StudySpec, known: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, version in known.get("runtimes", {}).items():
        here = now["runtimes"].get(name)
        if spec.device == config.HOST and here is not None and here != version:
            yield (
                f"study {row.name!r} was made with {name} {version}, and {here} is installed: latencies of both must "
                f"not stand on one front; install {version} again, or `autocompress resume {row.name} --here` measures "
                "anew, keeps every quality and goes on"
            )


def _named(host: Mapping[str, str]) -> str:
    return f"{host.get('cpu', 'an unknown processor')} ({host.get('cores', '?')} cores)"
