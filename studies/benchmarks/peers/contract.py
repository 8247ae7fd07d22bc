"""What the driver and the peers tell each other, as JSON files. Standard library only: every environment imports it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Job:
    """What a peer is asked. `teacher` is a Hugging Face folder, `data` holds one `SPLIT.jsonl` a split (text, label and
    token ids a line), `reference` is the stock fp32 export of the teacher; what is deployed goes to `out`."""

    peer: str
    teacher: str
    data: str
    reference: str
    out: str
    lengths: tuple[int, ...]
    calibration: int
    study: str
    storage: str | None = None
    quick: bool = False

    @property
    def folder(self) -> Path:
        return Path(self.out)

    def rows(self, split: str, count: int | None = None) -> list[dict[str, Any]]:
        """The first texts of a split."""
        lines = (Path(self.data) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines[:count]]

    def calibration_rows(self) -> list[dict[str, Any]]:
        """The training texts, the same for every tool, that may be looked at to choose scales."""
        return self.rows("train", self.calibration)


@dataclass(frozen=True)
class Deployed:
    """A model that can be served. `runtime` is `onnxruntime`, `openvino`, `autocompress` (what its own loader opens) or
    `torch` (then the peer's module has a `load(path)`); `path` and the further `files` that make its size are relative
    to the job's folder; `seconds` are the tool's own, from the teacher, or its stock export, to the file."""

    name: str
    runtime: str
    path: str
    seconds: float
    files: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass
class Clock:
    """Seconds so far."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


def peer_main(make: Callable[[Job], list[Deployed]], *, packages: tuple[str, ...]) -> None:
    """The body of every peer's script: reads the job named on the command line, makes its models, says what it made."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job(**{**given, "lengths": tuple(given["lengths"])})
    job.folder.mkdir(parents=True, exist_ok=True)
    made = make(job)
    versions = {name: metadata.version(name) for name in packages}
    result = {"models": [asdict(one) for one in made], "versions": versions}
    (job.folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
