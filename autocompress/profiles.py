"""Profiles as files: a machine is profiled into one, going on where it was interrupted, and one is validated."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from autocompress import config
from autocompress.assets import Mark, check_file, write_atomically
from autocompress.core.device import DeviceProfile, KernelTable
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName
from autocompress.core.shape import ModelShape
from autocompress.core.workload import Workload
from autocompress.deploy.session import runtime
from autocompress.devices.host import fingerprint, is_this_machine
from autocompress.devices.profiling import FULL, Effort, Progress, largest_shape, profile_host, validate
from autocompress.errors import AutocompressError, HostError, SpecError

logger = logging.getLogger(__name__)

PROFILE: Final = Mark("a device profile", lambda head: re.search(rb"(?m)^measured_on:", head) is not None)
"""A profile says when it was measured, which no other file of ours does."""


def profile_to(
    out: Path,
    largest: ModelShape,
    workloads: Sequence[Workload],
    *,
    effort: Effort = FULL,
    runtimes: Sequence[RuntimeName] = (DEFAULT_RUNTIME,),
    static: bool = False,
    replace_it: bool = False,
    progress: Progress = lambda _, __: None,
) -> DeviceProfile:
    """Profiles this machine into a YAML file named `out`, whose stem becomes the device's name; `static` int8 too, if
    asked for.

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
        known=[table for table in _kept(part, largest, workloads, runtimes) if table.is_static == static],
        on_table=lambda found: write_atomically(part, config.dump_device(named(found))),
        progress=progress,
    )
    write_atomically(out, config.dump_device(named(profile)))
    part.unlink(missing_ok=True)
    return config.load_device(out)


def _kept(
    part: Path, largest: ModelShape, workloads: Sequence[Workload], runtimes: Sequence[RuntimeName]
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
        if table.workload in workloads
        and (table.hidden, table.head_size) == (largest.hidden, largest.layers[0].attention.head_size)
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


def _about(largest: ModelShape) -> str:
    attention, feed_forward = largest.layers[0].attention, largest.layers[0].feed_forward
    return (
        f"models of hidden size {largest.hidden}, up to {attention.heads} heads of {attention.head_size} and "
        f"feed-forward width {feed_forward.width}"
    )
