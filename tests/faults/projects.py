"""The smallest studies that go through all stages, each in a folder and a database of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from autocompress.core.outcome import RUNG_FINALIST, RUNG_SLICED
from autocompress.errors import AutocompressError
from autocompress.store import Store
from tests.faults.counting import Ledger, Row
from tests.faults.programs import PATIENCE, ROOT, Command, Program, Start
from tests.given_study import BOARD, write_data, write_model, write_study
from tests.postgres import Server

NAME: Final = "mine"
BUDGET: Final = 24

_STEPS: Final[list[dict[str, Any]]] = [
    {"operator": "remove_layer", "target": "layers.*", "optional": True},
    {"operator": "prune_heads", "target": "layers.*.attention", "knobs": {"heads": {"choices": ["50%", "100%"]}}},
    {
        "operator": "prune_channels",
        "target": "layers.*.feed_forward",
        "knobs": {"channels": {"low": 8, "high": 64, "step": 4}},
        "settings": {"importance": "magnitude"},
    },
]

WIDE: Final[dict[str, Any]] = {"name": "wide", "version": 1, "steps": _STEPS}
"""Thousands of candidates: what is judged hangs on what the sampler was told, and when."""

WIDEST: Final[dict[str, Any]] = {
    "name": "widest",
    "version": 1,
    "steps": [
        _STEPS[1],
        {**_STEPS[2], "knobs": {"channels": {"low": 8, "high": 64, "step": 1}}},
        {"operator": "quantize", "target": "layers.*", "knobs": {"bits": {"choices": [8, 32]}}},
    ],
}
"""So many that a search of thousands seldom proposes one again."""

NARROW: Final[dict[str, Any]] = {
    "name": "narrow",
    "version": 1,
    "steps": [
        {**_STEPS[1], "per": "step"},
        {**_STEPS[2], "per": "step", "knobs": {"channels": {"low": 16, "high": 64, "step": 16}}},
    ],
}
"""`NARROW_SIZE` candidates, all of which are judged: the front is the same in whatever order outcomes come, so that
searches with several workers can be compared too."""

NARROW_SIZE: Final = 8

_FINALISTS: Final[dict[str, Any]] = {
    "count": 2,
    "training": {"epochs": 6, "batch_size": 16, "learning_rate": 5.0e-3},
}

Front = dict[str, float | None]
"""Digest of each verified finalist -> its quality; of a rejected one, None."""


@dataclass(frozen=True)
class Found:
    """What a study found: its candidates in their order, those on the front of the search, and the finalists."""

    candidates: tuple[str, ...]
    front: frozenset[str]
    finalists: Mapping[str, float | None]


@dataclass
class Project:
    """A user's folder with one study in it. Cache, database and artifacts lie in `kept`."""

    folder: Path
    kept: Path
    storage: str
    start: Start
    ledger: Ledger = field(default_factory=Ledger)
    _labels: Iterator[int] = field(default_factory=itertools.count)

    @property
    def database(self) -> str:
        return "SQLite" if self.storage.startswith("sqlite") else "PostgreSQL"

    @property
    def cache(self) -> Path:
        return self.kept / "cache"

    @property
    def artifacts(self) -> Path:
        return self.kept / ("studies-artifacts" if self.database == "SQLite" else "artifacts")

    def begin(self, *arguments: str, label: str = "") -> Program:
        environment = {
            "AUTOCOMPRESS_CACHE": str(self.cache),
            "AUTOCOMPRESS_STORAGE": self.storage,
            "AUTOCOMPRESS_ARTIFACTS": str(self.kept / "artifacts"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "RAY_worker_niceness": "0",
        }
        return self.start(Command(self.folder, arguments, environment, label or f"said-{next(self._labels)}"))

    def go_on(self, workers: int, *more: str, label: str = "") -> Program:
        """Resumes the study, or begins it where nothing was stored."""
        what = ("resume", NAME) if self.state() else ("run", f"{NAME}.yaml")
        return self.begin(*what, "--workers", str(workers), *more, label=label)

    def unjudged(self) -> set[int]:
        """The numbers of the candidates that have no outcome yet."""
        try:
            with self.store() as store:
                return {one.candidate.number for one in store.records(NAME) if one.outcome is None}
        except AutocompressError:
            return set()

    def store(self) -> Store:
        os.environ["AUTOCOMPRESS_ARTIFACTS"] = str(self.kept / "artifacts")  # of a server's; SQLite's lie beside it
        return Store.open(self.storage, create=False)

    def state(self) -> str:
        """Empty where nothing was stored yet."""
        try:
            with self.store() as store:
                return store.study(NAME).state
        except AutocompressError:
            return ""

    def judged(self) -> int:
        try:
            with self.store() as store:
                return store.counts(NAME).evaluated
        except AutocompressError:
            return 0

    def look(self, row: Row) -> None:
        """Whether what was acknowledged is there still, once."""
        if self.state():
            with self.store() as store:
                self.ledger.look(store, NAME, row)

    def timings(self) -> Mapping[str, float]:
        """Seconds in each stage."""
        with self.store() as store:
            return dict(store.study(NAME).facts["timings"])

    def found(self) -> Found:
        with self.store() as store:
            records = store.records(NAME)
            digests = {one.candidate.number: one.candidate.digest for one in records}
            finalists: Front = {}
            for one in store.finalists(NAME):
                if one.candidate.number:
                    quality = {m.metric: m.value for m in one.measurements}.get("quality")
                    finalists[one.candidate.digest] = quality if one.state == "verified" else None
            front = frozenset(digests[number] for number in store.front(NAME, rung=RUNG_SLICED))
            assert {digests[number] for number in store.front(NAME, rung=RUNG_FINALIST)} <= {*finalists, digests[0]}
        return Found(tuple(digests.values()), front, finalists)

    def brought_to_its_end(self, workers: int, whole: Found | None, row: Row, *, ordered: bool = True) -> bool:
        """Resumes the study until it is complete, and compares what it found with one that was left alone: `ordered`,
        candidate by candidate. Whether it came to its end."""
        program = self.go_on(workers)
        code = program.exit_code(PATIENCE)
        if code is None:
            program.kill()
        self.look(row)
        if code != 0 or self.state() != "complete":
            row.stuck += 1
            row.wrong.append(f"resumed, it ended with {code} and {self.state()!r}: {program.said[-1000:]}")
            return False
        with self.store() as store:
            row.wrong += store.check(NAME)
            counts = store.counts(NAME)
        row.stuck += counts.running + counts.pending
        row.lost += counts.failed
        found = self.found()
        if whole is not None:
            if ordered and found.candidates != whole.candidates:
                row.lost += len({*whole.candidates} - {*found.candidates}) or 1
                row.wrong.append(f"other candidates than of one left alone: {found.candidates}")
            if (found.front, found.finalists) != (whole.front, whole.finalists):
                row.lost += 1
                row.wrong.append(f"another front than of one left alone: {found.front} {found.finalists}")
        return True


@contextlib.contextmanager
def project(
    start: Start, *, server: Server | None = None, cache: Path | None = None, keeps: str = "", **changes: Any
) -> Iterator[Project]:
    """A fresh one on SQLite, or on a server's new database; another one's `cache` may save it the seconds that its
    teacher takes. `changes` are those of the study file; what the study `keeps` lies in a folder of that name."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder, kept = Path(name), Path(name) / keeps
        kept.mkdir(exist_ok=True)
        write_project(folder, **changes)
        if cache is not None:
            shutil.copytree(cache, kept / "cache")
        file = f"sqlite:///{kept / 'studies.db'}"
        yield Project(folder, kept, file if server is None else server.create(f"faults_{next(_numbers)}"), start)


def database_of(server: Server | None) -> str:
    return "SQLite" if server is None else "PostgreSQL"


_numbers: Final = itertools.count()


def write_project(folder: Path, **changes: Any) -> None:
    """Its teacher is trained. What it searches for is counted, not measured: candidates and front must not hang on how
    busy the machine is, and the device is one that is not here."""
    write_data(folder / "texts.csv", rows=120)
    write_model(folder / "model", head=False)
    (folder / "board.yaml").write_text(BOARD)
    given: dict[str, Any] = {
        "space": WIDE,
        "device": "board.yaml",
        "budget": {"trials": BUDGET},
        "objectives": {"quality": "maximize", "size_mb": "minimize", "macs": "minimize"},
        "elastic": {"steps": 4, "batch_size": 16, "learning_rate": 1.0e-3},
        "teacher": {"epochs": 12, "batch_size": 32, "learning_rate": 1.0e-2},
        "finalists": _FINALISTS,
    }
    write_study(folder, name=NAME, **{**given, **changes})


def searched(sampler: str, workers: int) -> dict[str, Any]:
    """What a study file says for a search with so many workers. They take seconds to start, so nothing is started that
    has nothing to do: the small space ends with the budget, and one worker trains one finalist."""
    if workers == 0:
        return {"sampler": sampler}
    if workers == 1:
        return {"sampler": sampler, "finalists": {**_FINALISTS, "count": 1}}
    return {"sampler": sampler, "space": NARROW, "budget": {"trials": NARROW_SIZE}}


def left_alone(start: Start, **changes: Any) -> tuple[Found, Mapping[str, float]]:
    """What such a study finds when nothing happens to it, and its seconds in each stage. Found out once."""
    key = json.dumps(changes, sort_keys=True)
    if key not in _alone:
        with project(start, **changes) as alone:
            program = alone.go_on(0)
            code = program.exit_code(PATIENCE)
            assert code == 0, program.said
            _alone[key] = alone.found(), alone.timings()
    return _alone[key]


_alone: dict[str, tuple[Found, Mapping[str, float]]] = {}
