"""What verified finalists are expected to lose on rows that nobody has seen, by what a study kept of single rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autocompress.certainty import CONFIDENCE, Belief, RowScores, believe, from_bytes, held_out_losses, rows_needed
from autocompress.errors import IntegrityError
from autocompress.store import Finalist, Store


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one finalist: the loss `value` below the uncompressed model with its 95 % `interval`, and how `uncertain` it
    is, one standard deviation, from so many held-out `rows`."""

    value: float
    uncertain: float
    rows: int

    @property
    def belief(self) -> Belief:
        return Belief(np.array([self.value]), np.array([self.uncertain]))

    @property
    def interval(self) -> tuple[float, float]:
        return self.belief.interval(0)

    @property
    def at_most(self) -> float:
        """What it loses at most, with the confidence that keeping a bound asks for."""
        return float(self.belief.upper(CONFIDENCE)[0])

    def kept(self, bound: float) -> float:
        """How probable it is that it loses no more than that."""
        return self.belief.kept(0, bound)

    def rows_for(self, bound: float) -> int | None:
        """So many labelled rows, about, would show that it keeps a bound; None if it is expected to break it."""
        return rows_needed(self.value, self.uncertain, bound, self.rows)


@dataclass(frozen=True, slots=True)
class Expectations:
    """By a finalist's number; where there are none, `why` says what is missing, and `damaged` that it ought to be
    there."""

    found: Mapping[int, Expected] = field(default_factory=dict)
    why: str = ""
    damaged: bool = False


def expectations(store: Store, finalists: Sequence[Finalist]) -> Expectations:
    """Of the verified ones beside the baseline. Studies of before rows were kept have none, nor have tasks whose scores
    are of a form of their own."""
    baseline = next((one for one in finalists if one.candidate.policy.is_baseline), None)
    verified = [one for one in finalists if one.state == "verified"]
    if baseline is None or not verified:
        return Expectations(why="nothing is verified yet")
    if any(one.row_scores is None for one in (baseline, *verified)):
        return Expectations(why="the study kept no scores of single rows: it is of before they were kept")
    try:
        teacher, *members = [row_scores(store, one) for one in (baseline, *verified)]
        found = expected_of(teacher, members)
    except IntegrityError as error:
        return Expectations(why=str(error), damaged=True)
    return Expectations({one.candidate.number: known for one, known in zip(verified, found, strict=True)})


def expected_of(teacher: Mapping[str, RowScores], members: Sequence[Mapping[str, RowScores]]) -> list[Expected]:
    """Of members beside their teacher. Raises IntegrityError where they were not scored on the same rows."""
    shapes = {(split, len(rows), rows.form) for one in (teacher, *members) for split, rows in one.items()}
    if len(shapes) != len(teacher):
        raise IntegrityError("scores of single rows are not of the same rows: verify the finalists anew")
    losses = held_out_losses(teacher, members)
    belief = believe(losses)
    return [
        Expected(float(value), float(uncertain), losses.rows)
        for value, uncertain in zip(belief.expected, belief.uncertain, strict=True)
    ]


def row_scores(store: Store, one: Finalist) -> dict[str, RowScores]:
    """By split. Raises IntegrityError where the file is gone or not what the database knows."""
    known = one.row_scores
    if known is None:
        raise IntegrityError(f"candidate {one.candidate.digest}: no scores of single rows were kept of it")
    path = store.artifacts / known.path
    try:
        content = path.read_bytes() if not path.is_symlink() else b""
    except OSError as error:
        raise IntegrityError(
            f"{path}: the scores of single rows cannot be read ({error.strerror or error}); put the file back, or pick "
            "by --as-seen"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256:
        raise IntegrityError(
            f"{path}: not what the study's database keeps (SHA-256 {found[:12]}, expected {known.sha256[:12]}); put "
            "the file back, or pick by --as-seen"
        )
    return from_bytes(content, where=str(path))
