"""Whether a teacher knows its task: what its answers say of its labels, and of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.inputs.examples import Rows
from autocompress.tasks.labels import (
    answer_table,
    better_order,
    could_be_better,
    fitting_order,
    labels_block,
    right_answers,
)
from autocompress.tasks.task import Task

Answer = Callable[[Rows], NDArray[np.int64]]
"""The output that a model chooses for each text."""

_ASKED: Final = 512
"""Training texts that are answered to tell labels by: a minute of the largest models that a study takes."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Answers beside labels, [outputs, labels] each: of texts that an order is chosen by, and of others."""

    seen: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def both(self) -> NDArray[np.int64]:
        return self.seen + self.held_out


def answer_tables(task: Task, answer: Answer) -> Tables:
    """Of some training texts, the same every time."""
    train = task.examples("train")
    some = train.take(np.random.default_rng(0).permutation(len(train))[:_ASKED])
    answers, half, outputs = answer(some), len(some) // 2, len(task.labels)
    return Tables(
        answer_table(answers[:half], some.labels[:half], outputs),
        answer_table(answers[half:], some.labels[half:], outputs),
    )


def order_problem(task: Task, names: Sequence[str], validation: NDArray[np.int64], answer: Answer) -> str | None:
    """Says which labels fit the answers better than those that the outputs have, `names` being what the model calls
    them. `validation` are its answers to that split; training texts are looked at only where these give cause."""
    first = answer_table(validation, task.examples("validation").labels, len(task.labels))
    if not could_be_better(first):
        return None
    tables = answer_tables(task, answer)
    order = better_order(tables.seen, tables.held_out + first)
    if order is None:
        return None
    count, now = int(tables.both.sum()), int(np.trace(tables.both))
    return (
        f"its answers are right for {now} of {count} training texts, and for {right_answers(tables.both, order)} if "
        f"its outputs mean other labels; write under `task`: {labels_block(names, [task.labels[i] for i in order])}"
    )


def fitting_labels(task: Task, answer: Answer) -> tuple[str, ...] | None:
    """The label of each output that its answers to training texts tell, where the order in `task` means nothing yet."""
    tables = answer_tables(task, answer)
    order = fitting_order(tables.seen, tables.held_out)
    return None if order is None else tuple(task.labels[label] for label in order)
