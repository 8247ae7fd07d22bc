"""What is asked of a row."""

from __future__ import annotations

from typing import Final

from autocompress.errors import SpecError
from autocompress.guessing.checkpoints import Checkpoint
from autocompress.guessing.reasons import Reason
from autocompress.guessing.roles import Roles

_OPTION: Final = "say it with --task"


def kind_of(where: str, roles: Roles, checkpoint: Checkpoint) -> Reason:
    """The kind of a task whose rows are texts. Raises SpecError, naming those that are possible, where neither data nor
    checkpoint tell."""
    label = roles.label
    if label.lengths and label.lengths == roles.text.lengths:
        return Reason("task", "token-classification", "rows are lists of words, each with a list of as many tags")
    if label.holds == "lists":
        return Reason("task", "multi-label", f"{label.name!r} holds lists of classes")
    if label.holds == "amounts" or (checkpoint.gives_amounts and label.whole):
        return _of_amounts(where, roles, checkpoint)
    if roles.pair:
        return Reason("task", "sentence-pairs", f"two texts a row, and {label.distinct} classes in {label.name!r}")
    return Reason("task", "text-classification", f"one text a row, and {label.distinct} classes in {label.name!r}")


def _of_amounts(where: str, roles: Roles, checkpoint: Checkpoint) -> Reason:
    label = roles.label
    if roles.pair and checkpoint.embeds:
        return Reason("task", "sentence-embeddings", "two texts a row, amounts, and a model of sentence embeddings")
    if checkpoint.gives_amounts:
        return Reason("task", "regression", f"the model gives one number, and {label.name!r} {label.why}")
    if roles.pair and not checkpoint.head:
        raise SpecError(
            f"{where}: {label.name!r} {label.why}, of two texts a row: {_OPTION} regression, or --task "
            "sentence-embeddings where their vectors are to be compared"
        )
    if label.whole:
        raise SpecError(
            f"{where}: {label.name!r} {label.why}, classes or amounts: {_OPTION} text-classification, or --task "
            "regression; another column of labels is named with --label"
        )
    return Reason("task", "regression", f"{label.name!r} {label.why}")
