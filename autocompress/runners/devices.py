"""Measuring on another machine: a Ray node of the cluster that offers the custom resource `device:NAME`.

Such a node is started on the device with `ray start --address=HEAD --resources='{"device:NAME": 1}'`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from autocompress.errors import HostError

T = TypeVar("T")

_SHARE: Final = 1e-3
"""How much of the resource a measurement takes. The timing lane of the node keeps measurements apart, not this."""

_PATIENCE: Final = 900.0
"""Seconds for the files to travel, the node's worker to start and the measurement itself, of half a minute."""


@dataclass(frozen=True, slots=True)
class Elsewhere(Generic[T]):
    """What a node found, and which node that was."""

    node: str
    found: T


def resource(device: str) -> str:
    """The custom resource of Ray by which a node says that it is a device."""
    return f"device:{device}"


def has_device(ray: Any, device: str) -> bool:
    """Whether a live node of the cluster is this device."""
    return float(ray.cluster_resources().get(resource(device), 0.0)) > 0


def timed_elsewhere(
    ray: Any,
    device: str,
    files: Sequence[bytes | Path],
    timing: Callable[[Sequence[bytes]], T],
    *,
    patience: float = _PATIENCE,
) -> Elsewhere[T]:
    """What `timing` says of the files on the node that is the device. They travel through the object store, each on its
    own, since a task's arguments may not be larger than the node's share of it.

    Raises HostError when the node is lost, cannot run `timing`, or has not answered within `patience` seconds.
    """
    task = ray.remote(_timed).options(num_cpus=0, resources={resource(device): _SHARE}, max_retries=1)
    stored = [ray.put(file if isinstance(file, bytes) else file.read_bytes()) for file in files]
    running = task.remote(timing, *stored)
    try:
        node, found = ray.get(running, timeout=patience)
    except ray.exceptions.RayError as error:
        ray.cancel(running, force=True)
        raise HostError(
            f"device {device!r}: its Ray node did not measure the finalists ({_last_line(error)}); look after it, or "
            "take it off the cluster to have latency predicted, and go on with `autocompress resume`"
        ) from error
    return Elsewhere(node, found)


def _timed(timing: Callable[[Sequence[bytes]], T], *files: bytes) -> tuple[str, T]:
    """Runs on the device."""
    return platform.node() or platform.machine(), timing(files)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
