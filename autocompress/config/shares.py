"""Shares that a study file may also write as percentages: `quality: {min: 94%}`."""

from __future__ import annotations

from typing import Any, Final

from autocompress.config.problems import Problems
from autocompress.core.scores import score_named
from autocompress.core.shares import share

_QUALITY: Final = ("constraints", "quality")
_ENDS: Final = ("min", "max")
_DROP: Final = ("finalists", "certify", "drop")
_OTHERS: Final = (("budget", "failure_share"), ("finalists", "quantization_loss"))
"""Shares that mean something at 1, too: all of them."""


def place_shares(tree: dict[str, Any], problems: Problems) -> None:
    """Puts the share in place of a percentage. A bare number of 1 or more, which may mean either, is a problem; so it
    is of the others where it is more than 1."""
    of_quality: list[tuple[str, ...]] = [*((*_QUALITY, end) for end in _ENDS), _DROP]
    for place in of_quality if _has_points(tree) else ():
        _place(tree, place, problems, whole=False)
    for place in _OTHERS:
        _place(tree, place, problems, whole=True)


def _has_points(tree: dict[str, Any]) -> bool:
    """Whether the study's metric is told in hundredths; others have bounds in their own unit."""
    task = tree.get("task")
    metric = task.get("metric") if isinstance(task, dict) else None
    name = metric.get("name") if isinstance(metric, dict) else metric
    return not isinstance(name, str) or score_named(name).points


def _place(tree: dict[str, Any], place: tuple[str, ...], problems: Problems, *, whole: bool) -> None:
    inner: Any = tree
    for key in place[:-1]:
        inner = inner.get(key) if isinstance(inner, dict) else None
    written = inner.get(place[-1]) if isinstance(inner, dict) else None
    if isinstance(written, bool) or not isinstance(written, int | float | str) or (whole and written == 1):
        return  # nothing is written there, or what is no share of any form: the type's own rule says so
    try:
        inner[place[-1]] = share(written)
    except ValueError as error:
        problems.add(place, str(error))
        inner[place[-1]] = 1.0 if place[-1] == "max" else 0.0
