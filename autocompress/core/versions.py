"""The libraries that a result depends on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version


def versions() -> Mapping[str, str]:
    """Their versions, told without importing any of them."""
    names = ("autocompress", "torch", "transformers", "optuna", "ray")
    try:
        runtime = version("onnxruntime")
    except PackageNotFoundError:
        runtime = version("onnxruntime-gpu")  # the same module, from the package for GPUs
    return {**{name: version(name) for name in names}, "onnxruntime": runtime}
