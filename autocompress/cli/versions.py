"""Which versions are at work, told without importing any of them."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata
from typing import Final

PACKAGES: Final = ("autocompress", "torch", "transformers", "onnxruntime", "optuna", "ray")


def versions() -> dict[str, str]:
    """Python's and the packages' versions; `not installed` where there is none."""
    return {"python": platform.python_version(), **{name: installed(name) or "not installed" for name in PACKAGES}}


def installed(package: str) -> str | None:
    """A package's version, or None. The ONNX Runtime for GPUs stands in the place of the plain one."""
    for name in (package, "onnxruntime-gpu") if package == "onnxruntime" else (package,):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
