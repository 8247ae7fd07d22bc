"""The libraries that a result depends on, told without importing any of them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

PACKAGES: Final = ("autocompress", "torch", "transformers", "onnxruntime", "optuna", "ray")
ABSENT: Final = "not installed"


def versions() -> Mapping[str, str]:
    """Their versions."""
    return {name: installed(name) or ABSENT for name in PACKAGES}


def with_python() -> Mapping[str, str]:
    """Python's version before them: what a report of a fault tells."""
    return {"python": platform.python_version(), **versions()}


def installed(package: str) -> str | None:
    """A package's version, or None. The ONNX Runtime for GPUs stands in the place of the plain one."""
    from importlib import metadata  # takes as long to load as half of the command line does

    for name in (package, "onnxruntime-gpu") if package == "onnxruntime" else (package,):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
