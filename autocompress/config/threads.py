"""How many threads a workload has: a number, or `all` cores of its device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from autocompress.config.devices import load_device
from autocompress.config.problems import Problems, shown
from autocompress.core.cores import usable_cores
from autocompress.core.device import HOST, DeviceProfile
from autocompress.core.names import locate
from autocompress.errors import NotFoundError, SpecError

ALL: Final = "all"


def too_many_threads(asked: int, cores: int) -> str:
    """What is said of more threads than this machine has cores: two of a core only slow each other down."""
    return f"`workload.threads` must be <= {cores}, the cores of this machine, got {asked}; `{ALL}` takes them all"


def threads_of(written: str) -> int:
    """A number of threads on this machine, as it is written on a command line. Raises SpecError."""
    if written == ALL:
        return usable_cores()
    if not written.isdecimal() or not 1 <= int(written) <= usable_cores():
        raise SpecError(
            f"--threads: must be 1 to {usable_cores()}, the cores of this machine, or {ALL}; got {written!r}"
        )
    return int(written)


def place_threads(tree: dict[str, Any], problems: Problems, *, base: Path) -> None:
    """Puts the number in place of the word."""
    workload = tree.get("workload")
    if not isinstance(workload, dict) or "threads" not in workload:
        return
    written, place = workload["threads"], ("workload", "threads")
    is_number = isinstance(written, int) and not isinstance(written, bool)
    if is_number and written > usable_cores() and tree.get("device") == HOST:
        problems.add(place, too_many_threads(written, usable_cores()).removeprefix("`workload.threads` "))
    if not isinstance(written, str):
        return
    workload["threads"] = 1
    if written != ALL:
        problems.add(place, f"must be a whole number, or `{ALL}` cores of the device, got {shown(written)}")
        return
    try:
        workload["threads"] = _cores_of(tree.get("device"), base)
    except NotFoundError:
        return  # said where the device is named
    except SpecError as error:
        problems.add(place, str(error))


def _cores_of(device: Any, base: Path) -> int:
    """Raises NotFoundError, or SpecError for a device that does not say."""
    if device == HOST or not isinstance(device, str):
        return usable_cores()
    profile = load_device(locate("device", device, base=base))
    known = _known_cores(profile)
    if known is None:
        raise SpecError(f"device {profile.name!r} does not say how many cores it has; write their number, not `{ALL}`")
    return known


def _known_cores(profile: DeviceProfile) -> int | None:
    """A device that nobody measured block by block is described for one number of threads."""
    if profile.cost is not None and not profile.tables:
        return profile.cost.threads
    cores = profile.fingerprint.get("cores", "")
    return int(cores) if cores.isdecimal() and int(cores) else None
