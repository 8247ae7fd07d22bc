"""Folds of the training split: parts of which each is left out of a training once, to be judged on."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from autocompress.core.task_kinds import NOUNS
from autocompress.inputs.examples import Examples, Rows
from autocompress.tasks.classes import OfClasses
from autocompress.tasks.splitting import Places, draw
from autocompress.tasks.task import Task

T = TypeVar("T", bound=Task)

_FEWEST: Final = 10
"""Rows that a fold needs at least, to tell anything."""


def folds(task: Task, count: int, *, seed: int) -> list[Places]:
    """Places of the training rows in so many folds of about the same size, each with its share of every class. Rows
    that the model cannot tell apart stay together: none is learned from where it is judged."""
    train = task.examples("train")
    units, unit_of = _units(train)
    labels = train.labels[units] if isinstance(task, OfClasses) else np.zeros(len(units), dtype=np.int64)
    parts, _ = draw(labels, np.full(count, 1 / count), seed=seed)
    number = np.empty(len(units), dtype=np.int64)
    for place, part in enumerate(parts):
        number[part] = place
    return [np.flatnonzero(number[unit_of] == place) for place in range(count)]


def folding_problem(task: Task, count: int) -> str:
    """Why the training split cannot be cut into so many folds; empty where it can."""
    train, nouns = task.examples("train"), NOUNS[task.modality]
    units, _ = _units(train)
    if len(units) < count * _FEWEST:
        return (
            f"{count} folds of {len(units)} different training {nouns} have fewer than {_FEWEST} each; take fewer "
            f"folds, or give more {nouns}"
        )
    if not isinstance(task, OfClasses):
        return ""
    rows = np.bincount(train.labels[units], minlength=len(task.labels))
    rare = [f"{task.labels[i]!r} has {rows[i]}" for i in np.argsort(rows, kind="stable") if 0 < rows[i] < count]
    if not rare:
        return ""
    shown = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
    return (
        f"every one of {count} folds needs {nouns} of every class, and of the training {nouns} {shown}; take fewer "
        f"folds, or give more {nouns} of these classes"
    )


def without_fold(task: T, fold: Places) -> T:
    """The task that learns from all training rows but those of a fold, which are its test split; rows of the own test
    split are not in it."""
    train = task.examples("train")
    others = np.setdiff1d(np.arange(len(train)), fold)
    return dataclasses.replace(task, splits={**task.splits, "train": train.take(others), "test": train.take(fold)})


def _units(rows: Rows) -> tuple[Places, NDArray[np.int64]]:
    """Places of the first of rows that are alike, and for every row whose alike it is."""
    seen: dict[Hashable, int] = {}
    first: list[int] = []
    unit_of = np.empty(len(rows), dtype=np.int64)
    for place, key in enumerate(_keys(rows)):
        if key not in seen:
            seen[key] = len(first)
            first.append(place)
        unit_of[place] = seen[key]
    return np.array(first, dtype=np.int64), unit_of


def _keys(rows: Rows) -> Sequence[Hashable]:
    """What is equal of rows that a model cannot tell apart: tokens of texts, and what was given of others."""
    if not isinstance(rows, Examples):
        return rows.given
    types = rows.types or rows.tokens
    return [(ids.tobytes(), kinds.tobytes()) for ids, kinds in zip(rows.tokens, types, strict=True)]
