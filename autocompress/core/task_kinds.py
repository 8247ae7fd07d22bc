"""What tasks are called and may be scored by, without loading any of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

ENTRY_POINTS: Final = "autocompress.tasks"
"""The group under which an installed package names tasks of its own: `kind = package.module:Class`."""

_OF_CLASSES: Final = ("accuracy", "macro-f1", "micro-f1", "f1", "mcc", "roc-auc")

OURS: Final[Mapping[str, tuple[str, ...]]] = {
    "text-classification": _OF_CLASSES,
}
"""Kind -> the metrics that it may be scored by, first the one that is meant where a study names none."""


def kinds() -> tuple[str, ...]:
    """Ours, then those of installed packages."""
    return (*OURS, *sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} - set(OURS)))
