"""What the units of a teacher are worth: measured once, on a fixed sample of its training rows, and cached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from autocompress.assets import cache_folder, find_entry, new_entry
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.spec import StudySpec
from autocompress.core.vocabulary import with_uses
from autocompress.importance import EVERYTHING, VARIANCE, Importance, measure_importance
from autocompress.inputs.examples import Examples, in_parts
from autocompress.inputs.vocabulary import row_scores, uses_of
from autocompress.operators import cuts_words
from autocompress.tasks import Task, batches
from autocompress.teacher.teacher import Teacher

_RECIPE: Final = 2
"""Raised whenever a criterion, or the file that scores are kept in, changes."""

_ROWS: Final = 1024
_BATCH: Final = 32


def criteria_of(spec: StudySpec) -> frozenset[str]:
    """The importance criteria a space may ask for."""
    found: set[str] = set()
    for step in spec.space.steps:
        if "importance" in step.settings:
            found.add(str(step.settings["importance"]))
        elif "importance" in step.knobs:
            found.update(map(str, getattr(step.knobs["importance"], "choices", ())))
        elif step.operator in {"prune_heads", "prune_channels"}:
            found.add("fisher")
        elif step.operator == "prune_hidden":
            found.add(VARIANCE)
    return frozenset(found)


def prepare_importance(
    spec: StudySpec, teacher: Teacher, *, unlabelled: Callable[[], Examples | None] = lambda: None
) -> Importance:
    """The scores a space needs, from a fixed sample of training texts; cached by content. Where words may go their uses
    are counted in all training texts, and in `unlabelled` ones. Raises SpecError for a tokenizer that must stay
    whole."""
    found = _cached_importance(spec, teacher, criteria_of(spec))
    if not cuts_words(spec.space):
        return found
    texts = [teacher.task.examples("train"), more] if (more := unlabelled()) else [teacher.task.examples("train")]
    count = teacher.anatomy.word_embeddings.num_embeddings
    return replace(found, rows=row_scores(teacher.task.tokenizer, count, texts))


def counted(shape: ModelParts, importance: Importance, task: Task) -> ModelParts:
    """A teacher's parts with what is known of the uses of its words, if they were counted."""
    if importance.rows is None:
        return shape
    return with_uses(shape, uses_of(task.tokenizer, importance.rows, task.examples("validation")))


def whole_importance(spec: StudySpec, teacher: Teacher) -> Importance:
    """The same under every criterion. Only explanations need them: a search that asks for gradients alone would take
    half as long again to read the maps (3.5 s after 6.2 s of one core for the quickstart's teacher)."""
    return _cached_importance(spec, teacher, EVERYTHING, known=prepare_importance(spec, teacher))


def _cached_importance(
    spec: StudySpec, teacher: Teacher, criteria: Collection[str], *, known: Importance | None = None
) -> Importance:
    wanted = sorted(criteria)
    inputs = {"teacher": teacher.digest, "criteria": wanted, "seed": spec.seed, "recipe": _RECIPE}
    path = cache_folder() / "importance" / f"{content_digest(inputs)}.npz"
    if find_entry(path):
        return _read_importance(path)
    examples = teacher.task.examples("train")
    rows = np.random.default_rng(spec.seed).permutation(len(examples))[:_ROWS]
    sample = [part for batch in batches(examples.take(rows), _BATCH) for part in in_parts(batch)]
    importance = measure_importance(
        teacher.anatomy,
        sample,
        wanted,
        loss=teacher.task.importance_loss,
        known=known or Importance({}, {}),
    )
    tables: Mapping[str, Mapping[str, Mapping[int, Any]]] = {
        "heads": importance.heads,
        "channels": importance.channels,
        "layers": importance.layers,
        "hidden": {criterion: {0: scores} for criterion, scores in importance.hidden.items()},
    }
    arrays = {
        f"{part}/{criterion}/{layer}": scores
        for part, table in tables.items()
        for criterion, layers in table.items()
        for layer, scores in layers.items()
    }
    with new_entry(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return importance


def _read_importance(path: Path) -> Importance:
    found: dict[str, dict[str, dict[int, Any]]] = {"heads": {}, "channels": {}, "layers": {}, "hidden": {}}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            part, criterion, layer = name.split("/")
            scores = arrays[name]
            found[part].setdefault(criterion, {})[int(layer)] = float(scores) if part == "layers" else scores
    hidden = {criterion: scores[0] for criterion, scores in found["hidden"].items()}
    return Importance(found["heads"], found["channels"], found["layers"], hidden)
