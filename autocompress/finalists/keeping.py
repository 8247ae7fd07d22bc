"""What stays with a study of the answers of its finalists, what each held-out row adds to a model's score; and what
follows from it for unseen rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from autocompress.assets import file_digest, write_atomically
from autocompress.certainty import RowScores, to_bytes
from autocompress.core.outcome import Measurement
from autocompress.core.parts import ModelParts
from autocompress.errors import IntegrityError
from autocompress.exported.exporting import retell
from autocompress.exported.verification import Judged
from autocompress.operators import effective
from autocompress.report.expectation import expected_of, row_scores
from autocompress.report.front import front_report
from autocompress.store import ROW_SCORES, Artifact, Lease, Store
from autocompress.tasks import Outputs, Task

logger = logging.getLogger(__name__)

_FOLDER: Final = "row-scores"
_EXPECTED: Final = "expected_drop"


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
        number: Measurement(_EXPECTED, known.value, task.metric, "modelled", known.interval)
        for number, known in zip(own, found, strict=False)
    }


def retell_expected(store: Store, lease: Lease, whole: ModelParts) -> None:
    """What verified finalists are expected to lose, as it is known now, in the place of what was known when they were
    verified: in the database, and in their folders, which stand before it; a crash in between is mended by doing it
    again. `whole` is the uncompressed model."""
    expected = {one.number: one.expected for one in front_report(store, lease.study).verified}
    for one in store.finalists(lease.study):
        known = expected.get(one.candidate.number)
        before = next((found for found in one.measurements if found.metric == _EXPECTED), None)
        if known is None or before is None or before.value == known.value:
            continue
        now = replace(before, value=known.value, interval=known.interval)
        measurements = tuple(now if found is before else found for found in one.measurements)
        policy, folder = one.candidate.policy, store.folder(lease.study) / one.candidate.digest
        retell(folder, policy, effective(policy, whole)[1], measurements)
        others = [file for file in one.artifacts if file.kind == ROW_SCORES]
        files = (*exported_files(folder, store.artifacts), *others)
        store.remeasure(lease, [replace(one, measurements=measurements, artifacts=files)])


def exported_files(folder: Path, root: Path) -> list[Artifact]:
    """A row for every file of an exported folder, the manifest included."""
    return [
        Artifact("export", path.relative_to(root).as_posix(), file_digest(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _by_split(task: Task, outputs: Mapping[str, Outputs]) -> dict[str, RowScores] | None:
    found = {split: task.by_row(given, task.examples(split)) for split, given in outputs.items()}
    known = {split: one for split, one in found.items() if one is not None}
    return known if len(known) == len(found) else None
