"""A logger's library, which nothing else needs."""

from __future__ import annotations

import importlib
from typing import Any

from autocompress.errors import HostError


def required(module: str, *, of: str, install: str) -> Any:
    """The module. Raises HostError with what brings it where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise HostError(f"logging to {of} needs {module}, which is not installed; `{install}` brings it") from error
