"""What models are for: one file per task, each a `Task` (`tasks.task`), by name in `tasks.registry`."""

from autocompress.inputs.examples import Batch, Examples, Rows, batches, judging, of_tokens, with_tokens
from autocompress.tasks.own_score import Scoring, can_score, with_score
from autocompress.tasks.registry import TASKS, served_task, task_named
from autocompress.tasks.task import Outputs, Score, Task
from autocompress.tasks.text_classification import TextClassification
from autocompress.tasks.tokenization import HARD_TEXTS

__all__ = [
    "HARD_TEXTS",
    "TASKS",
    "Batch",
    "Examples",
    "Outputs",
    "Rows",
    "Score",
    "Scoring",
    "Task",
    "TextClassification",
    "batches",
    "can_score",
    "judging",
    "of_tokens",
    "served_task",
    "task_named",
    "with_score",
    "with_tokens",
]
