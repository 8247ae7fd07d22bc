"""A cascade on a user's own labelled texts, as they come today: what it hands on, how good and how fast it is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from autocompress.cascades import share_interval
from autocompress.core.data_spec import Asset, DataSpec
from autocompress.deploy.cascade import ExportedCascade
from autocompress.deploy.cascade_folder import CascadeManifest
from autocompress.errors import NotFoundError, SpecError
from autocompress.exported.cascade_check import Walked, in_words, walk
from autocompress.inputs.examples import Examples
from autocompress.reading import Rows, ordered, read_labelled
from autocompress.tasks import task_named

_SELF_TOLD: Final = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow")
_OF_LINES: Final = ("format", "pattern", "columns", "delimiter", "quoted")
"""How the study's own file was written, which a file of another kind is not."""
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Fresh:
    """By so many labelled texts: the share handed on and the quality, each with a 95 % interval, and what is promised;
    `warnings` say where that does not hold."""

    file: str
    texts: int
    share: float
    share_interval: tuple[float, float]
    promised_share: float
    metric: str
    quality: float
    quality_interval: tuple[float, float]
    promised_quality: float
    walked: Walked
    promised_latency_ms: float
    warnings: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> list[str]:
        low, high = self.quality_interval
        return [
            f"{self.file}: {self.texts:,} labelled texts",
            f"handed on: {self.share:.1%} of them ({self.share_interval[0]:.1%} to {self.share_interval[1]:.1%}), "
            f"promised {self.promised_share:.1%}",
            f"{self.metric}: {self.quality:.4f} ({low:.4f} to {high:.4f}), promised {self.promised_quality:.4f}",
            f"latency: {in_words(self.walked)}, promised {self.promised_latency_ms:.3g} ms on average",
            *(f"Warning: {one}" for one in self.warnings),
        ]

    def to_json(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name != "walked"}
        return found | {"walked": {name: getattr(self.walked, name) for name in Walked.__slots__}}


def measure_fresh(folder: Path, file: Path) -> Fresh:
    """Raises NotFoundError where there is no such file, SpecError for rows or labels that do not fit, and what loading
    the cascade raises."""
    model = ExportedCascade(folder)
    about = model.manifest
    rows = _rows(about, file)
    places = {label: number for number, label in enumerate(model.labels)}
    if strange := sorted(set(rows.labels) - set(places)):
        raise SpecError(f"{file}: labels {strange} are unknown to the model, which knows {ordered(list(places))}")
    task, tokens = task_named(str(about.task["kind"])).served(about.task), model.tokens(rows.texts)
    logits, unsure = model.judged(tokens)
    labels = np.array([places[label] for label in rows.labels], dtype=np.int64)
    score = task.score(logits, Examples(rows.texts, tuple(tokens), labels, task.tokenizer.pad))
    found = Fresh(
        file=str(file),
        texts=len(rows),
        share=float(unsure.mean()),
        share_interval=share_interval(int(unsure.sum()), len(unsure)),
        promised_share=float(about.share["value"]),
        metric=task.metric,
        quality=score.value,
        quality_interval=score.interval,
        promised_quality=min(float(about.metrics[one]["value"]) for one in _held_out(about)),
        walked=walk(model, tokens),
        promised_latency_ms=float(about.metrics["latency_ms"]["value"]),
    )
    return _warned(found, about)


def _held_out(about: CascadeManifest) -> list[str]:
    return [name for name in ("quality", "test_quality") if name in about.metrics]


def _rows(about: CascadeManifest, file: Path) -> Rows:
    """Labelled rows as the study's were written, or as the file's own name says."""
    if not file.exists():
        raise NotFoundError(f"--data: {file} is not there")
    own = file.name.lower().removesuffix(".gz").endswith(_SELF_TOLD)
    how = {name: value for name, value in about.data.items() if not (own and name in _OF_LINES)}
    if "columns" in how:
        how["columns"] = tuple(how["columns"])
    try:
        spec = DataSpec(source=Asset(path=str(file)), distinct=False, **how)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read as the study's rows were: {error}") from error
    parts = read_labelled(spec, dict.fromkeys(spec.parts, file)).parts
    if len(parts) > 1:
        raise SpecError(f"--data: {file} holds the splits {', '.join(parts)}; give the file of one")
    return next(iter(parts.values()))


def _warned(found: Fresh, about: CascadeManifest) -> Fresh:
    """Where what is promised lies outside of what so many texts can tell."""
    said = []
    both = 1 / found.texts + 1 / max(int(about.share["rows"]), 1)
    spread = math.sqrt(found.promised_share * (1 - found.promised_share) * both)
    if abs(found.share - found.promised_share) > _Z * spread:
        way, then = ("more", "slower") if found.share > found.promised_share else ("fewer", "less careful")
        said.append(
            f"{way} texts are handed on than promised ({found.share:.1%}, not {found.promised_share:.1%}): these are "
            f"of another kind than the study's, and the two are {then} on them"
        )
    if found.quality_interval[1] < found.promised_quality:
        said.append(
            f"{found.metric} is {found.quality:.4f} (at most {found.quality_interval[1]:.4f}), not "
            f"{found.promised_quality:.4f}: these texts are of another kind than the study's, or their labels are"
        )
    worst = float(about.metrics["latency_worst_ms"]["value"])
    if found.walked.mean_ms > worst:
        said.append(
            f"the mean latency is {found.walked.mean_ms:.3g} ms, above the promised worst case of {worst:.3g} ms: this "
            "machine is slower or busier than the study's"
        )
    elif found.walked.mean_ms > 1.5 * found.promised_latency_ms:
        said.append(
            f"the mean latency is {found.walked.mean_ms:.3g} ms, not {found.promised_latency_ms:.3g} ms: more is "
            "handed on, texts are longer, or this machine is slower than the study's"
        )
    return replace(found, warnings=tuple(said))
