"""What tasks are called and may be scored by, without loading any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Literal

from autocompress.core.scores import SCORES

ENTRY_POINTS: Final = "autocompress.tasks"
"""The group under which an installed package names tasks of its own: `kind = package.module:Class`."""

_OF_CLASSES: Final = ("accuracy", "macro-f1", "micro-f1", "f1", "mcc", "roc-auc")

_OF_AMOUNTS: Final = ("spearman", "pearson", "rmse")

Targets = Literal["class", "amount", "classes", "tags"]
"""What a row's label is: one class, an amount, a list of classes, which may be empty, or a tag for each word of it."""

Modality = Literal["text", "image", "audio"]
"""What a row is."""

NOUNS: Final[Mapping[Modality, str]] = {"text": "texts", "image": "images", "audio": "recordings"}
"""What rows are called."""


@dataclass(frozen=True, slots=True)
class TaskForm:
    """What a study's keys may say of a task. `metrics` may score it, first the one that is meant where a study names
    none; of texts that come in pairs, `pairs` says whether every row is one, or none may be."""

    metrics: tuple[str, ...]
    targets: Targets = "class"
    pairs: Literal["never", "maybe", "always"] = "never"
    modality: Modality = "text"


OURS: Final[Mapping[str, TaskForm]] = {
    "text-classification": TaskForm(_OF_CLASSES),
    "sentence-pairs": TaskForm(_OF_CLASSES, pairs="always"),
    "regression": TaskForm(_OF_AMOUNTS, targets="amount", pairs="maybe"),
    "sentence-embeddings": TaskForm(("spearman", "pearson", "recall"), targets="amount", pairs="always"),
    "token-classification": TaskForm(("span-f1", "accuracy"), targets="tags"),
    "multi-label": TaskForm(("micro-f1", "macro-f1"), targets="classes", pairs="maybe"),
    "image-classification": TaskForm(_OF_CLASSES, modality="image"),
    "audio-classification": TaskForm(_OF_CLASSES, modality="audio"),
}

EVERY_TOKEN: Final = ("sentence-embeddings", "token-classification")
"""Tasks whose heads read every token of a text."""


def form_of(kind: str) -> TaskForm:
    """One from elsewhere is read like classes, and may use any metric."""
    return OURS.get(kind, TaskForm(tuple(SCORES), pairs="maybe"))


def kinds() -> tuple[str, ...]:
    """Ours, then those of installed packages."""
    return (*OURS, *sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} - set(OURS)))
