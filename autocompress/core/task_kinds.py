"""What tasks are called, without loading any of them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

ENTRY_POINTS: Final = "autocompress.tasks"
"""The group under which an installed package names tasks of its own: `kind = package.module:Class`."""

OURS: Final = ("text-classification",)


def kinds() -> tuple[str, ...]:
    """Ours, then those of installed packages."""
    return (*OURS, *sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} - set(OURS)))
