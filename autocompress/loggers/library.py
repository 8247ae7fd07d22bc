"""A logger's library, which nothing else needs."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from autocompress.errors import HostError


def required(module: str, *, of: str, install: str) -> Any:
    """The module. Raises HostError where it is not installed, with what brings it, or cannot be loaded."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            raise HostError(f"logging to {of}: {module} is installed, and cannot be loaded: {error}") from error
        raise HostError(f"logging to {of} needs {module}, which is not installed; `{install}` brings it") from error
