"""What a study is made of, fetched and checked before anything is trained: its model, its data, its texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autocompress.assets import check_cache, fetch, file_digest
from autocompress.assets.model_folders import model_folder_problems
from autocompress.core.data_spec import Asset
from autocompress.core.functions import Function
from autocompress.core.ports import Observer
from autocompress.core.spec import StudySpec
from autocompress.deploy.session import runtime
from autocompress.errors import SpecError
from autocompress.exported.forms import form_problems
from autocompress.reading import read_texts
from autocompress.study.preflight import misfits


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model's folder, the files of the data by what they hold (`DataSpec.parts`), and those of unlabelled texts, if
    any, with digests of their content."""

    model: Path
    data: Mapping[str, Path]
    digests: Mapping[str, str]
    texts: Path | None = None
    scoring: Function | None = None
    """What the study is scored by, where that is a function of the user's."""


def gather(spec: StudySpec, observer: Observer, *, kept: Path | None = None) -> Inputs:
    """Fetches the model, the data and the unlabelled texts. `kept` is where what came from Python is kept."""
    observer.stage("assets", ", ".join(map(str, spec.sources.values())))

    check_cache()

    def fetched(name: str, asset: Asset) -> Path:
        return fetch(
            asset,
            kind="model" if name == "model" else "dataset",
            kept=kept,
            progress=lambda what, done, total: observer.progress(done, total, what),
        )

    if not spec.task.data.parts:
        raise SpecError("task.data: names no texts; give `source` or `train`, or from Python `run(..., data=...)`")
    found = {name: fetched(name, asset) for name, asset in spec.sources.items()}
    if not model_folder_problems(found["model"]):
        settings = json.loads((found["model"] / "config.json").read_bytes())
        if problems := [*misfits(spec, found["model"]), *form_problems(spec, settings)]:
            raise SpecError(*problems)
    digests = {name: file_digest(path) for name, path in found.items()}
    parts = spec.task.data.parts
    data = {part: found[name] for part, name in zip(parts, spec.task.data.sources, strict=True)}
    return Inputs(found["model"], data, digests, found.get("texts"))


def unlabelled_texts(spec: StudySpec, inputs: Inputs) -> list[str] | None:
    """Those that the study names, if any."""
    wanted = spec.finalists.transfer.texts
    return None if wanted is None or inputs.texts is None else read_texts(wanted, inputs.texts, seed=spec.seed)


def check_runtimes(spec: StudySpec) -> None:
    """Raises HostError when a runtime of the study cannot be used here: whatever the device is, quality is that of the
    file in its runtime on this machine."""
    for name in spec.runtimes:
        runtime(name)
