"""Starting and joining Ray: token on, dashboard off, nothing sent home, nothing left behind."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autocompress.core.interruption import shielded
from autocompress.errors import HostError
from autocompress.runners.environment import without_secrets
from autocompress.runners.handlers import kept_handlers
from autocompress.runners.sessions import (
    RAY,
    end_session,
    end_started,
    new_session,
    note_processes,
    remove_abandoned,
    why_not_started,
)

logger = logging.getLogger(__name__)

ADDRESS: Final = "RAY_ADDRESS"
"""The environment variable by which Ray itself finds a cluster; `local` means none."""

_PROBE_SECONDS: Final = 5.0
QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


_ITS_OWN: Final = ("RaySystemError", "LocalRayletDiedError", "ObjectStoreFullError", "OutOfDiskError")
"""Ray's errors that no candidate has caused."""


_STARTS: Final = 3
_LATE: Final = "timed out during startup"
"""What Ray says of processes that did not stand within 30 s: on a machine that others keep busy that says nothing."""


class _TooSlow(HostError):
    """Ray did not stand in time."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster, and what it offers."""

    name: str
    cpus: float
    here: bool


def address_of(given: str | None) -> str | None:
    """The cluster to join: the one that is given, else that of the environment; None to start one here."""
    found = given or os.environ.get(ADDRESS, "").strip()
    return None if found in ("", "local") else found


def check_cluster(*, workers: int | None, address: str | None) -> list[Node]:
    """Joins the cluster that a study is to use, if it is not to start its own, and leaves it again. Returns its nodes.

    Raises HostError when it cannot be joined: said now, not when the search begins.
    """
    remove_abandoned()
    place = None if workers == 0 else address_of(address)
    if place is None:
        return []
    with cluster(workers=1, address=place) as ray:
        return nodes(ray)


def nodes(ray: Any) -> list[Node]:
    """The live nodes of a cluster, this one first."""
    here = ray.get_runtime_context().get_node_id()
    found = [
        Node(str(one["NodeManagerHostname"]), float(one["Resources"].get("CPU", 0.0)), one["NodeID"] == here)
        for one in ray.nodes()
        if one["Alive"]
    ]
    return sorted(found, key=lambda node: (not node.here, node.name))


@contextmanager
def cluster(*, workers: int, address: str | None = None) -> Iterator[Any]:
    """A local Ray of `workers` CPUs, or an existing cluster at `address`; yields the `ray` module.

    The token lives in this process's environment only. Ray listens on every interface and has no switch for loopback,
    so a token is never left out. Signals wait until Ray stands or is gone: seconds. Raises HostError when Ray cannot be
    started or joined; one that did not stand in time is started `_STARTS` times.
    """
    # ray reads these when it is imported, in this process and in every worker it starts
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # one a process: Ray reads it once
        remove_abandoned()
    else:
        _probe(address)
    with shielded():
        import ray
    folder = None if address else new_session()
    try:
        _stand(ray, workers=workers, address=address, folder=folder)
        yield ray
    except tuple(getattr(ray.exceptions, name) for name in _ITS_OWN) as error:
        raise HostError(
            f"Ray cannot go on: {_reason(error)}; give it more room (its files lie in the temporary folder and in "
            "/dev/shm), or do without: `--workers 0`"
        ) from error
    finally:
        with shielded():
            with kept_handlers():
                ray.shutdown()
            if folder is not None:
                end_session(folder)


def _stand(ray: Any, *, workers: int, address: str | None, folder: Path | None) -> None:
    """Starts or joins it. Signals act between two starts."""
    for left in reversed(range(_STARTS)):
        try:
            with shielded():
                with kept_handlers():
                    _init(ray, workers=workers, address=address, folder="" if folder is None else str(folder / RAY))
                if folder is not None:
                    note_processes(folder)
        except _TooSlow:
            if not left or folder is None:
                raise
            logger.warning("Ray did not stand within the time that it gives itself; starting it again")
            with shielded():
                end_started(folder)
        else:
            return


@contextmanager
def _apart() -> Iterator[None]:
    """Ray's processes are in no group of ours: a SIGTERM to all of it (`timeout`, a service manager, a shell) would end
    them before us, and the library then ends this process with 1, whatever it is about to say."""
    services: Any = sys.modules.get("ray._private.services")
    start = getattr(services, "ConsolePopen", None)
    if start is None or sys.platform == "win32":
        yield
        return
    services.ConsolePopen = functools.partial(start, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = start


def _quieten() -> None:
    """Ray prints what happened to workers to stdout, among a command's data, whatever it is told about logs. What
    became of them is said where their candidates are."""
    parts: Any = sys.modules.get("ray._private.worker")
    if hasattr(parts, "print_to_stdstream"):
        parts.print_to_stdstream = lambda told, *_, **__: logger.debug("ray: %s", told)


def _probe(address: str) -> None:
    """Raises HostError where nobody listens at `HOST:PORT`: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _not_joined(address, str(error)) from error


def _not_joined(address: str, reason: str) -> HostError:
    origin = f", which {ADDRESS} names" if os.environ.get(ADDRESS, "").strip() == address else ""
    return HostError(
        f"cannot join the Ray cluster at {address}{origin}: {reason}; look whether it runs and whether RAY_AUTH_TOKEN "
        f"is its token, set {ADDRESS}=local to start one here, or do without: `--workers 0`"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _init(ray: Any, *, workers: int, address: str | None, folder: str) -> None:
    _quieten()
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address is None:  # said explicitly: by default Ray joins whatever the environment names
        options |= {"address": "local", "include_dashboard": False, "num_cpus": workers, "_temp_dir": folder}
    else:
        options |= {"address": address}
    try:
        with without_secrets(), _apart():
            ray.init(**options)
    except Exception as error:  # its own exceptions have no common root
        reason = _reason(error)
        if address is None:
            told = why_not_started(Path(folder))
            kind = HostError if told or _LATE not in reason else _TooSlow
            reason = told or reason
            raise kind(
                f"cannot start Ray: {reason}; `autocompress doctor --deep` checks it, `--workers 0` does without"
            ) from error
        raise _not_joined(address, reason) from error
