"""Which versions are at work, told without importing any of them."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

PACKAGES: Final = ("autocompress", "torch", "transformers", "onnxruntime", "optuna", "ray")


def versions() -> dict[str, str]:
    """Python's and the packages' versions; `not installed` where there is none."""
    return {"python": platform.python_version(), **{name: installed(name) or "not installed" for name in PACKAGES}}


def installed(package: str) -> str | None:
    """A package's version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
