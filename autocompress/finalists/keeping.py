"""What stays with a study of the answers of its finalists, what each held-out row adds to a model's score; and what
follows from it for unseen rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from autocompress.assets import write_atomically
from autocompress.certainty import RowScores, to_bytes
from autocompress.core.outcome import Measurement
from autocompress.errors import IntegrityError
from autocompress.exported.verification import Judged
from autocompress.report.expectation import expected_of, row_scores
from autocompress.store import ROW_SCORES, Artifact, Store
from autocompress.tasks import Outputs, Task

logger = logging.getLogger(__name__)

_FOLDER: Final = "row-scores"


def keep_row_scores(
    folder: Path, name: str, task: Task, outputs: Mapping[str, Outputs], *, root: Path
) -> list[Artifact]:
    """Writes those of a model, by splits, below the `folder` of its study, with how unsure it is of its answers where
    its task can tell; nothing where that keeps no rows. The path of an artifact is relative to `root`. Raises HostError
    when the disk is full."""
    known = _by_split(task, outputs)
    if known is None:
        return []
    path, content = folder / _FOLDER / f"{name}.npz", to_bytes(known, task.doubts(outputs))
    write_atomically(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return [Artifact(ROW_SCORES, path.relative_to(root).as_posix(), digest, len(content))]


def expected_drops(
    store: Store, name: str, task: Task, baseline: Judged, judged: Mapping[int, Judged]
) -> dict[int, Measurement]:
    """What each of the files, by their candidates' numbers, is expected to lose on rows that nobody has seen, beside
    those that were verified before; nothing where the task keeps no rows."""
    teacher = _by_split(task, baseline.outputs)
    own = {number: rows for number, one in judged.items() if (rows := _by_split(task, one.outputs)) is not None}
    if teacher is None or not own:
        return {}
    try:
        before = [
            row_scores(store, one)
            for one in store.finalists(name)
            if one.state == "verified" and one.candidate.number not in judged and one.row_scores is not None
        ]
        found = expected_of(teacher, [*own.values(), *before])
    except IntegrityError as error:
        logger.warning("%s", error)
        found = expected_of(teacher, list(own.values()))
    return {
        number: Measurement("expected_drop", known.value, task.metric, "modelled", known.interval)
        for number, known in zip(own, found, strict=False)
    }


def _by_split(task: Task, outputs: Mapping[str, Outputs]) -> dict[str, RowScores] | None:
    found = {split: task.by_row(given, task.examples(split)) for split, given in outputs.items()}
    known = {split: one for split, one in found.items() if one is not None}
    return known if len(known) == len(found) else None
