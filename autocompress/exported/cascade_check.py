"""Is an exported cascade what it was: both models, the threshold's promise, and how fast the two are as one?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.cascades import cascade_digest
from autocompress.certainty import doubts_of
from autocompress.deploy.cascade import ExportedCascade
from autocompress.deploy.cascade_folder import LARGE, PLACES, SMALL, CascadeManifest, read_cascade
from autocompress.deploy.folder import CARD, CHECK, MANIFEST, Checked, compared, read_check
from autocompress.devices.timing import timing_lane
from autocompress.errors import IntegrityError
from autocompress.exported.folder_check import FolderReport, verify_folder
from autocompress.inputs.examples import Examples
from autocompress.tasks import task_named

_MOVED: Final = 0.05
"""The share of check texts that another CPU's roundings may move over the threshold."""
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Walked:
    """Milliseconds of texts as they come, one after another, without reading them: over so many."""

    texts: int
    mean_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """What was promised and what was found; `problems` is empty where the folder keeps its word.

    `handed_on` is the share of the check texts that `large` answers here, and `promised_handed_on` what it was for them
    when the two were exported; `share` is what is promised for texts of the same kind. `latency_ms` is the mean that
    follows from the medians of both models here and the promised share, `walked` that of the check texts themselves.
    """

    folder: str
    digest: str
    files: int
    small: FolderReport
    large: FolderReport
    share: float
    share_interval: tuple[float, float]
    texts: int
    handed_on: float | None
    promised_handed_on: float | None
    metric: str
    quality: float | None
    promised_quality: float | None
    latency_ms: float
    promised_latency_ms: float
    worst_latency_ms: float
    walked: Walked | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def speedup(self) -> float | None:
        """Here and now."""
        whole = self.large.baseline_latency_ms
        return None if whole is None else whole / self.latency_ms

    @property
    def lines(self) -> list[str]:
        found = [f"{self.files} files match their SHA-256"]
        for name, one in ((SMALL, self.small), (LARGE, self.large)):
            found += [f"{name}: {line}" for line in one.lines if line not in one.problems]
        if self.handed_on is not None and self.quality is not None:
            found.append(
                f"handed on: {self.handed_on:.1%} of the folder's {self.texts} check texts (was "
                f"{self.promised_handed_on:.1%}); {self.share:.1%} is promised for texts of their kind"
            )
            found.append(f"{self.metric} of the two on them: {self.quality:.4f} (was {self.promised_quality:.4f})")
        faster = "" if self.speedup is None else f", {self.speedup:.1f}x the stock fp32 export"
        found.append(
            f"latency of the two: {self.latency_ms:.3g} ms on average here and now (was "
            f"{self.promised_latency_ms:.3g} ms), {self.worst_latency_ms:.3g} ms at worst{faster}"
        )
        if self.walked is not None:
            found.append(f"check texts as they come: {in_words(self.walked)}")
        return [*found, *self.remarks, *self.problems]

    def to_json(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name not in (SMALL, LARGE, "walked")}
        walked = None if self.walked is None else {name: getattr(self.walked, name) for name in Walked.__slots__}
        models = {SMALL: self.small.to_json(), LARGE: self.large.to_json()}
        return found | models | {"walked": walked, "speedup": self.speedup, "ok": self.ok}


def verify_cascade(folder: str | Path, *, rounds: int = 20, seconds: float = 10) -> CascadeReport:
    """Checks the files, verifies either model as a folder of its own, asks both as one what travels with them, and
    times that. Raises as `verify_folder` does."""
    folder = Path(folder)
    manifest = read_cascade(folder)
    _check_digest(folder, manifest)
    files = compared(folder, manifest)
    if damaged := [line for name, line in files.changed.items() if PurePosixPath(name).name != CARD]:
        raise IntegrityError("\n".join(damaged))
    small, large = (verify_folder(folder / place, rounds=rounds, seconds=seconds) for place in PLACES)
    problems = [*small.problems, *large.problems]
    model = ExportedCascade(folder)
    asked = None if any(f"{place}/{CHECK}" in files.missing for place in PLACES) else _asked(folder, manifest)
    walked = handed = quality = None
    if asked is not None:
        logits, unsure = model.judged(list(asked.checked.tokens))
        moved = int((unsure != asked.unsure).sum())
        if moved > _MOVED * len(unsure):
            problems.append(
                f"{folder}: {moved} of {len(unsure)} check texts are handed on otherwise than when it was exported"
            )
        handed, quality = float(unsure.mean()), asked.scored(manifest, logits)
        walked = walk(model, asked.checked.tokens, rounds=_ROUNDS)
    return CascadeReport(
        folder=str(folder),
        digest=manifest.digest,
        files=len(manifest.files) - len(files.missing) - len(files.changed),
        small=small,
        large=large,
        share=float(manifest.share["value"]),
        share_interval=(float(manifest.share["interval"][0]), float(manifest.share["interval"][1])),
        texts=0 if asked is None else len(asked.unsure),
        handed_on=handed,
        promised_handed_on=None if asked is None else float(asked.unsure.mean()),
        metric=str(manifest.task["metric"]),
        quality=quality,
        promised_quality=None if asked is None else asked.scored(manifest, asked.logits),
        latency_ms=small.latency_ms + float(manifest.share["value"]) * large.latency_ms,
        promised_latency_ms=float(manifest.metrics["latency_ms"]["value"]),
        worst_latency_ms=small.latency_ms + large.latency_ms,
        walked=walked,
        problems=tuple(problems),
        remarks=tuple(_remarks(files.missing, files.added)),
    )


def _check_digest(folder: Path, manifest: CascadeManifest) -> None:
    """Raises IntegrityError where the threshold or a temperature is another than when it was exported."""
    heats = (manifest.small.temperature, manifest.large.temperature)
    if cascade_digest(manifest.small.digest, manifest.large.digest, manifest.doubt, heats) != manifest.digest:
        raise IntegrityError(
            f"{folder / MANIFEST}: its threshold, a temperature or a model is not the one it was exported with; export "
            "the cascade again"
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """The texts that travel with both models; what the two answered as one when they were exported, and to which texts
    the large one did."""

    checked: Checked
    logits: NDArray[np.float32]
    unsure: NDArray[np.bool_]

    def scored(self, manifest: CascadeManifest, logits: NDArray[np.float32]) -> float:
        task, checked = task_named(str(manifest.task["kind"])).served(manifest.task), self.checked
        return task.score(logits, Examples(checked.texts, checked.tokens, checked.labels, task.tokenizer.pad)).value


def _asked(folder: Path, manifest: CascadeManifest) -> _Asked | None:
    """None where the two do not hold the same texts."""
    small, large = (read_check(folder / place)[0] for place in PLACES)
    if small.texts != large.texts or not small.texts:
        return None
    unsure = doubts_of(small.logits, manifest.small.temperature) > manifest.doubt
    logits = np.where(
        unsure[:, None], large.logits / manifest.large.temperature, small.logits / manifest.small.temperature
    )
    return _Asked(small, logits.astype(np.float32), unsure)


def walk(model: ExportedCascade, tokens: Sequence[NDArray[np.int64]], *, rounds: int = 1) -> Walked:
    """Answers texts one by one; of each the median of some rounds counts."""
    for session in (model.small.session, model.large.session):
        session.predict(tokens[:_ROUNDS])
    readings = np.empty((rounds, len(tokens)))
    with timing_lane():
        for row in readings:
            for place, ids in enumerate(tokens):
                start = time.perf_counter()
                model.judged([ids])
                row[place] = 1000 * (time.perf_counter() - start)
    each = np.median(readings, axis=0)
    return Walked(len(tokens), float(each.mean()), float(np.quantile(each, 0.99)), float(each.max()))


def in_words(walked: Walked) -> str:
    return (
        f"{walked.mean_ms:.3g} ms on average over {walked.texts:,} texts, {walked.p99_ms:.3g} ms in 99 of 100, "
        f"{walked.worst_ms:.3g} ms at worst"
    )


def _remarks(missing: Sequence[str], added: Sequence[str]) -> list[str]:
    """What was done to the folder itself; either model says what was done to its own."""
    own = [name for name in added if PurePosixPath(name).parts[0] not in PLACES]
    found = [f"added since, and of no account: {', '.join(own[:5])}"] if own else []
    return found + [f"{name} was removed since: nothing is read from it" for name in missing if "/" not in name]
