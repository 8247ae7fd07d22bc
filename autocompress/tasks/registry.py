"""The tasks there are: ours, and those that an installed package brings along as an entry point."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from autocompress.core.task_kinds import ENTRY_POINTS, kinds
from autocompress.errors import SpecError, did_you_mean
from autocompress.tasks.audio_classification import AudioClassification
from autocompress.tasks.image_classification import ImageClassification
from autocompress.tasks.multi_label import MultiLabel
from autocompress.tasks.own_score import OWN, with_score
from autocompress.tasks.regression import Regression
from autocompress.tasks.sentence_embeddings import SentenceEmbeddings
from autocompress.tasks.sentence_pairs import SentencePairs
from autocompress.tasks.task import Task
from autocompress.tasks.text_classification import TextClassification
from autocompress.tasks.token_classification import TokenClassification

TASKS: Final[Mapping[str, type[Task]]] = {
    task.kind: task
    for task in (
        *(TextClassification, SentencePairs, Regression, SentenceEmbeddings, TokenClassification, MultiLabel),
        *(ImageClassification, AudioClassification),
    )
}


def task_named(kind: str) -> type[Task]:
    """Raises SpecError when no task is called so, or what a package brings along is none."""
    if kind in TASKS:
        return TASKS[kind]
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        found = entry.load()
        if not (isinstance(found, type) and issubclass(found, Task)):
            raise SpecError(f"task.kind: {kind!r} is {entry.value}, which is no `autocompress.tasks.Task`")
        return found
    raise SpecError(f"task.kind: no task is called {kind!r}; {did_you_mean(kind, kinds())}")


def served_task(about: Mapping[str, Any]) -> Task:
    """That of an exported folder, by what its manifest says of it. A function of the user's that judged it is not at
    hand: a folder of somebody else's must not name what is run here."""
    task = task_named(str(about["kind"])).served(about)
    return with_score(task, task.metric, None) if OWN in about else task
