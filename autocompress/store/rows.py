"""What the store hands out: plain values, independent of any database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from autocompress.core.metrics import Direction
from autocompress.core.outcome import Candidate, Measurements, Outcome

StudyState = Literal["created", "searching", "verifying", "interrupted", "failed", "complete"]
FinalistState = Literal["nominated", "verified", "rejected"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a study is. `repeated` proposals led to a candidate that was known already; the baseline counts as a
    candidate, but neither as verified nor as rejected."""

    proposals: int = 0
    candidates: int = 0
    evaluated: int = 0
    infeasible: int = 0
    failed: int = 0
    running: int = 0
    pending: int = 0
    verified: int = 0
    rejected: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study as it was asked for (`given`), as it was understood (`resolved`), and what was found on the way."""

    name: str
    state: StudyState
    given: Mapping[str, Any]
    resolved: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    objectives: Mapping[str, Direction]
    facts: Mapping[str, Any]
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One line of `autocompress list`."""

    name: str
    state: StudyState
    counts: Counts
    created: datetime
    last_activity: datetime

    @property
    def verified(self) -> int:
        return self.counts.verified


@dataclass(frozen=True, slots=True)
class Proposed:
    """Where a proposal led. `outcome` is None while the candidate is pending or running."""

    candidate: Candidate
    is_new: bool
    outcome: Outcome | None


ROW_SCORES: Final = "row scores"
"""The kind of artifact that keeps what each held-out row adds to a model's score (`certainty.rows`). All others are the
files of an exported folder."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file below the store's artifact folder; `path` is relative to it, with forward slashes."""

    kind: str
    path: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in self.path:
            raise ValueError(f"an artifact's `path` must lie inside the artifact folder, got {self.path!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"`sha256` must be 64 lower-case hex digits, got {self.sha256!r}")
        if self.bytes < 0:
            raise ValueError(f"`bytes >= 0` must hold, got {self.bytes}")


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A stored file of a study's candidate, found by its content."""

    study: str
    candidate: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate chosen to be trained, exported and verified. The baseline stands at position 0."""

    candidate: Candidate
    position: int
    state: FinalistState
    reason: str
    provenance: Mapping[str, Any]
    measurements: Measurements
    artifacts: tuple[Artifact, ...]

    @property
    def exported(self) -> tuple[Artifact, ...]:
        """The files of its exported folder."""
        return tuple(one for one in self.artifacts if one.kind != ROW_SCORES)

    @property
    def row_scores(self) -> Artifact | None:
        """None of studies of before they were kept, and of tasks that have none."""
        return next((one for one in self.artifacts if one.kind == ROW_SCORES), None)
