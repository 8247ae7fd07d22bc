"""Starting and joining Ray: token on, dashboard off, nothing sent home."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from autocompress.errors import HostError

logger = logging.getLogger(__name__)

_SESSIONS: Final = Path("/tmp")
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@contextmanager
def cluster(*, workers: int, address: str | None = None) -> Iterator[Any]:
    """A local Ray of `workers` CPUs, or an existing cluster at `address`; yields the `ray` module.

    The token lives in this process's environment only. Ray listens on every interface and has no switch for loopback,
    so a token is never left out. Raises HostError when Ray cannot be started or joined.
    """
    # ray reads these when it is imported, in this process and in every worker it starts
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # one a process: Ray reads it once
    import ray

    # a Unix socket's path ends at 107 bytes, so the session must live in a short one
    folder = _SESSIONS / f"ac-{os.getpid()}"
    options: dict[str, Any] = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        _remove_abandoned()
        options |= {"num_cpus": workers, "_temp_dir": str(folder)}
    else:
        options = {"address": address, "logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        place = f"join the Ray cluster at {address}" if address else "start Ray"
        raise HostError(
            f"cannot {place}: {error}; `autocompress doctor` checks it, `--workers 0` does without"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    """Session folders of drivers that were killed."""
    for folder in _SESSIONS.glob("ac-*"):
        owner = folder.name.removeprefix("ac-")
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
