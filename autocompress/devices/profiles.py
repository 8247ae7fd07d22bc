"""Profiles as files: a machine is profiled into one, going on where it was interrupted, and one is validated."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from autocompress import config
from autocompress.anatomy import Anatomy, LiveAnatomy, is_like_bert
from autocompress.assets import Mark, cache_folder, check_file, find_entry, new_entry, write_atomically
from autocompress.core.attention_form import AttentionForm
from autocompress.core.cores import usable_cores
from autocompress.core.device import DeviceProfile, KernelTable
from autocompress.core.encoders import STACK
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.ports import Phase
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName, named_runtime
from autocompress.core.space import Choice, SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.core.stored_parts import parts_to_json
from autocompress.core.wording import units
from autocompress.core.workload import Workload
from autocompress.deploy.forms import forms_of
from autocompress.deploy.session import runtime
from autocompress.devices.host import fingerprint, is_this_machine
from autocompress.devices.live_profiling import measure_layers
from autocompress.devices.profiling import (
    FULL,
    RECIPE,
    STUDY,
    Effort,
    Progress,
    busy_note,
    largest_shape,
    loads_to_measure,
    profile_host,
    profile_of,
    validate,
)
from autocompress.errors import AutocompressError, HostError, SpecError
from autocompress.operators import OPERATORS
from autocompress.operators.keep_tokens import fewest_in, keeps_in
from autocompress.operators.replace_attention import forms_in

logger = logging.getLogger(__name__)

PROFILE: Final = Mark("a device profile", lambda head: re.search(rb"(?m)^measured_on:", head) is not None)
"""A profile says when it was measured, which no other file of ours does."""


_SECONDS: Final = 20.0
"""About what a table takes (`STUDY`), of a family whose blocks are written; seen on a Xeon of two cores."""
_LIVE_SECONDS: Final = 60.0
"""The same of one that is measured by its own layers."""
_A_FORM: Final = 0.2
"""The share of these that each form of attention takes."""


def device_profile(
    spec: StudySpec, shape: ModelParts, *, progress: Progress, anatomy: Anatomy | None = None
) -> DeviceProfile:
    """The named profile; for `host`, this machine's, measured once for this kind of model, workload and runtime. Of a
    family without a written graph it is the `anatomy` that is measured.

    Raises SpecError when this machine has fewer cores than the workload has threads, and where a model of such a family
    is asked for that is not at hand and was not measured before.
    """
    if spec.device != config.HOST:
        return config.load_device(spec.device)
    first, *others = (_host_profile(name, spec, shape, progress, anatomy) for name in spec.runtimes)
    return replace(
        first,
        tables=tuple(table for one in (first, *others) for table in one.tables),
        notes=tuple(dict.fromkeys(note for one in (first, *others) for note in one.notes)),
        other_runtimes=tuple(one.runtime for one in others),
    )


def known_profile(spec: StudySpec, shape: ModelParts) -> DeviceProfile | None:
    """The same as far as nothing has to be measured for it; None otherwise. Raises NotFoundError and SpecError for a
    named one that is gone or cannot be read."""
    here = spec.device == config.HOST
    if here and not all(find_entry(_host_path(name, spec, shape)) for name in spec.runtimes):
        return None
    return device_profile(spec, shape, progress=lambda _, __: None)


def _host_path(name: str, spec: StudySpec, shape: ModelParts) -> Path:
    """Where the profile of this machine in one runtime is kept."""
    here, load, head_size = fingerprint(), spec.workload, shape.head_size
    measured, asked = _loads(spec, shape), _Asked.by(spec.space)
    lengths = "-".join(str(one.length) for one in measured)
    sizes = f"h{shape.width}x{head_size}-b{load.batch}l{lengths}t{load.threads}"
    sizes += ("-static" if asked.static else "") + ("-ranks" if asked.ranks else "")
    if asked.widths:  # the narrower ones have ranks too, which they had not always
        sizes += "-of-all-widths" if asked.ranks else "-widths"
    sizes += f"-forms-{content_digest(sorted(map(str, asked.forms)))[:8]}" if asked.forms else ""
    sizes += "-keeps" if asked.keeps else ""
    if not is_like_bert(shape.family):
        sizes += f"-{shape.family}-{content_digest([spec.export.form, parts_to_json(_one_layer(shape))])[:8]}"
    return cache_folder() / "profiles" / f"{content_digest([here, asdict(runtime(name)), RECIPE])}-{sizes}.yaml"


def _one_layer(shape: ModelParts) -> ModelParts:
    """What tells models of a family apart that take other times."""
    blocks = shape.of_layer(STACK, shape.layers(STACK)[0])
    return replace(shape, parts=tuple(replace(part, owner=None) for part in blocks))


def seconds_to_profile(spec: StudySpec, shape: ModelParts) -> float:
    """About how long `device_profile` would measure; nothing where the device is known."""
    if spec.device != config.HOST:
        return 0.0
    missing = sum(not find_entry(_host_path(name, spec, shape)) for name in spec.runtimes)
    each = _SECONDS if is_like_bert(shape.family) else _LIVE_SECONDS
    each *= 1 + _A_FORM * len(forms_in(spec.space))
    return missing * each * len(_loads(spec, shape))


def _loads(spec: StudySpec, shape: ModelParts) -> list[Workload]:
    """The lengths to measure for a study: those of its workload, and those of what is left where tokens are kept."""
    return loads_to_measure(spec.workload, fewest=lambda length: fewest_in(spec.space, shape.depth, length))


def _host_profile(
    name: str, spec: StudySpec, shape: ModelParts, progress: Progress, anatomy: Anatomy | None
) -> DeviceProfile:
    """In one runtime, from the cache where it is known."""
    load, path = spec.workload, _host_path(name, spec, shape)
    if load.threads > usable_cores():
        raise SpecError(config.too_many_threads(load.threads, usable_cores()))
    if not find_entry(path):
        if is_like_bert(shape.family):
            asked = _Asked.by(spec.space)
            profile = profile_host(
                shape,
                _loads(spec, shape),
                runtimes=[named_runtime(name)],
                static=asked.static,
                ranks=asked.ranks,
                widths=asked.widths,
                forms=asked.forms,
                keeps=asked.keeps,
                progress=progress,
            )
        elif isinstance(anatomy, LiveAnatomy):
            profile = _live_profile(anatomy, named_runtime(name), spec, progress)
        else:
            raise SpecError(
                f"device 'host': models of the family {shape.family} are measured by their own graph, and no study of "
                "one was run on this machine yet; run it here, or name a device that is described by its rates"
            )
        with new_entry(path) as part:
            part.write_text(config.dump_device(profile), encoding="utf-8")
    return config.load_device(path)


def _live_profile(anatomy: LiveAnatomy, name: RuntimeName, spec: StudySpec, progress: Progress) -> DeviceProfile:
    """In the form that the study asks for; where the faster is to be found yet, in the one that mostly is."""
    asked = _Asked.by(spec.space)
    form = forms_of(anatomy)[0] if spec.export.form == "fastest" else spec.export.form
    tables, notes = [], []
    for load in loads_to_measure(spec.workload):
        table, noticed = measure_layers(
            anatomy,
            load,
            form=form,
            runtime=name,
            seconds=STUDY.seconds,
            static=asked.static,
            ranks=asked.ranks,
            widths=asked.widths,
            progress=progress,
        )
        tables.append(table)
        if noticed:
            notes.append(busy_note(table))
            logger.warning("%s", notes[-1])
    return profile_of(tables, [runtime(name)], notes)


def set_aside(spec: StudySpec, shape: ModelParts) -> bool:
    """Renames this machine's profile, which turned out wrong, so that the next study measures it anew; whether there
    was one of this study."""
    if spec.device != config.HOST:
        return False
    found = [path for name in spec.runtimes if (path := _host_path(name, spec, shape)).exists()]
    for path in found:
        path.replace(path.with_suffix(".wrong"))
    return bool(found)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whether a policy of a space may have static activations, matrices of two factors, or a narrower stream, which
    forms of attention, and whether it may keep some tokens: blocks that are measured only then."""

    static: bool
    ranks: bool
    widths: bool
    forms: tuple[AttentionForm, ...] = ()
    keeps: bool = False

    @staticmethod
    def by(space: SearchSpace) -> _Asked:
        knobs = [step.knobs.get("activations") for step in space.steps]
        fixed = [step.settings.get("activations") for step in space.steps]
        static = "static" in fixed or any(isinstance(knob, Choice) and "static" in knob.choices for knob in knobs)
        ranks = any(OPERATORS[step.operator].phase == Phase.RANK for step in space.steps)
        widths = any("hidden_size" in OPERATORS[step.operator].rules for step in space.steps)
        return _Asked(static, ranks, widths, forms_in(space), keeps_in(space))


def profile_to(
    out: Path,
    largest: ModelParts,
    workloads: Sequence[Workload],
    *,
    effort: Effort = FULL,
    runtimes: Sequence[RuntimeName] = (DEFAULT_RUNTIME,),
    static: bool = False,
    ranks: bool = False,
    widths: bool = False,
    forms: Sequence[AttentionForm] = (),
    replace_it: bool = False,
    progress: Progress = lambda _, __: None,
) -> DeviceProfile:
    """Profiles this machine into a YAML file named `out`, whose stem becomes the device's name; `static` int8,
    blocks of two factors, in `ranks`, narrower streams, in `widths`, and attention in other `forms` too, if asked for.

    Tables are kept in `out`.part until the profile is whole, so an interrupted run goes on where it stopped, and `out`
    is never half-written. Raises SpecError when `out` exists and `replace_it` is not given, HostError when a runtime is
    not installed.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise SpecError(f"--out {out}: a profile is a YAML file; name it {out.stem or 'my-device'}.yaml")
    if out.exists() and not replace_it:
        raise SpecError(f"{out}: exists; name another file, or replace it with --force")
    part = out.with_name(out.name + ".part")
    for file in (out, part):
        check_file(file, PROFILE)

    def named(profile: DeviceProfile) -> DeviceProfile:
        return replace(profile, name=out.stem, description=f"{_about(largest)}, measured by autocompress")

    profile = profile_host(
        largest,
        workloads,
        effort=effort,
        ceilings=True,
        runtimes=runtimes,
        static=static,
        ranks=ranks,
        widths=widths,
        forms=forms,
        known=[
            table
            for table in _kept(part, largest, workloads, runtimes)
            if (table.is_static, table.has_ranks, table.has_widths, set(table.forms))
            == (static, ranks, widths, set(forms))
        ],
        on_table=lambda found: write_atomically(part, config.dump_device(named(found))),
        progress=progress,
    )
    write_atomically(out, config.dump_device(named(profile)))
    part.unlink(missing_ok=True)
    return config.load_device(out)


def _kept(
    part: Path, largest: ModelParts, workloads: Sequence[Workload], runtimes: Sequence[RuntimeName]
) -> list[KernelTable]:
    """The tables of an interrupted run, where it was of this machine, these runtimes and this kind of model."""
    if not part.exists():
        return []
    try:
        found = config.load_device(part)
    except AutocompressError as error:
        logger.warning("%s cannot be gone on with, starting anew: %s", part, error)
        return []
    if not is_this_machine(found) or [found.runtime, *found.other_runtimes] != [runtime(name) for name in runtimes]:
        logger.warning("%s is of another machine or runtime, starting anew", part)
        return []
    return [
        table
        for table in found.tables
        if table.workload in workloads and (table.hidden, table.head_size) == (largest.width, largest.head_size)
    ]


def validate_file(
    path: Path, *, models: int, seed: int | None = None, progress: Progress = lambda _, __: None
) -> DeviceProfile:
    """Finds how far the predictions of a profile lie from fresh random models, deployed and measured here, and writes
    that into the file.

    Raises HostError when the profile belongs to another machine or a runtime of it is not installed, SpecError when it
    holds no kernel table.
    """
    profile = config.load_device(path)
    if not profile.tables:
        raise SpecError(f"{path}: a profile without kernel tables cannot be validated on a machine")
    if not is_this_machine(profile):
        here = fingerprint()
        differs = [
            f"{name}: {profile.fingerprint.get(name)!r} there, {here[name]!r} here"
            for name in ("cpu", "isa", "machine", "cores", "system")
            if profile.fingerprint.get(name) != here[name]
        ]
        raise HostError(f"{path}: measured on another machine ({'; '.join(differs)}); validate it there")
    for then in (profile.runtime, *profile.other_runtimes):
        now = runtime(then.name)
        if then.version != now.version:
            logger.warning("%s was measured with %s %s, here runs %s", path, then.name, then.version, now.version)
    given = {} if seed is None else {"seed": seed}
    for one in dict.fromkeys((table.hidden, table.head_size) for table in profile.tables):
        table = next(table for table in profile.tables if (table.hidden, table.head_size) == one)
        profile = validate(profile, largest_shape(table), models=models, progress=progress, **given)
    write_atomically(path, config.dump_device(profile))
    return profile


def _about(largest: ModelParts) -> str:
    return (
        f"models of hidden size {largest.width}, up to {max(units(largest, 'heads'))} heads of {largest.head_size} and "
        f"feed-forward width {max(units(largest, 'channels'))}"
    )
