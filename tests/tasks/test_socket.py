"""A task is found by its name, ours or another package's, and refused by what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autocompress.core.data_spec import TaskSpec
from autocompress.core.task_kinds import OURS
from autocompress.deploy.answers import FORMS
from autocompress.errors import SpecError
from autocompress.tasks import TASKS, TextClassification, task_named

PLUGIN = """
from typing import ClassVar
from dataclasses import dataclass
from autocompress.tasks.text_classification import TextClassification

class Sentiment(TextClassification):
    kind: ClassVar[str] = "sentiment"

NO_TASK = 3
"""
ENTRIES = "[autocompress.tasks]\nsentiment = strangers:Sentiment\nbroken = strangers:NO_TASK\n"
ASK = """
from autocompress.core.data_spec import TaskSpec
from autocompress.errors import SpecError
from autocompress.tasks import task_named
assert TaskSpec(kind="sentiment").kind == task_named("sentiment").kind
try:
    task_named("broken")
except SpecError as error:
    print(error)
"""


def installed(folder: Path) -> Path:
    """A package with a task, as pip leaves one behind."""
    (folder / "strangers.py").write_text(PLUGIN)
    about = folder / "strangers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    return folder


def test_every_task_of_ours_is_named_once_and_has_a_form_of_answers() -> None:
    assert tuple(TASKS) == tuple(OURS)
    assert all(task.answer in FORMS for task in TASKS.values())


@pytest.mark.long
def test_a_task_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(installed(tmp_path))!r})\n{ASK}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'broken' is strangers:NO_TASK, which is no `autocompress.tasks.Task`" in done.stdout


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"task\.kind: no task is called 'text-clasification'; did you mean"):
        task_named("text-clasification")
    with pytest.raises(ValueError, match="no task is called 'images'"):
        TaskSpec(kind="images")


def test_a_task_is_known_again_by_its_manifest(small_task: TextClassification) -> None:
    again = task_named(small_task.kind).served(small_task.about())
    examples = small_task.examples("validation")
    outputs = np.eye(3, dtype=np.float32)[examples.labels]
    assert again.score(outputs, examples) == small_task.score(outputs, examples)
    assert again.agreed(outputs, outputs[::-1]) < 1
