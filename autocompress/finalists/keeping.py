"""What stays with a study of the answers of its finalists: what each held-out row adds to a model's score."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from autocompress.assets import write_atomically
from autocompress.certainty import to_bytes
from autocompress.store import ROW_SCORES, Artifact
from autocompress.tasks import Outputs, Task

_FOLDER: Final = "row-scores"


def keep_row_scores(
    folder: Path, name: str, task: Task, outputs: Mapping[str, Outputs], *, root: Path
) -> list[Artifact]:
    """Writes those of a model, by splits, below the `folder` of its study; nothing where its task has none. The path of
    an artifact is relative to `root`. Raises HostError when the disk is full."""
    found = {split: task.by_row(given, task.examples(split)) for split, given in outputs.items()}
    known = {split: one for split, one in found.items() if one is not None}
    if len(known) < len(found):
        return []
    path, content = folder / _FOLDER / f"{name}.npz", to_bytes(known)
    write_atomically(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return [Artifact(ROW_SCORES, path.relative_to(root).as_posix(), digest, len(content))]
