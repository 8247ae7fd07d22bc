"""What verified finalists are expected to lose on rows that nobody has seen, by what a study kept of single rows: of
those held out, and of folds of the training split where it certified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.certainty import (
    CONFIDENCE,
    Belief,
    Doubts,
    Losses,
    RowScores,
    believe,
    doubts_in,
    fold_losses,
    foreseen,
    from_bytes,
    held_out_losses,
    rows_needed,
)
from autocompress.core.certified import Certified, FoldStep, certified_of
from autocompress.errors import IntegrityError
from autocompress.store import Finalist, Store


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one finalist: the loss `value` below the uncompressed model with its 95 % `interval`, and how `uncertain` it
    is, one standard deviation, from so many held-out `rows`; these alone would leave it uncertain `by_rows`. Of folds
    of the training split so many were judged, of so many in all (`folds`)."""

    value: float
    uncertain: float
    rows: int
    folds: tuple[int, int] = (0, 0)
    by_rows: float | None = None

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
        return rows_needed(self.value, self.uncertain, bound, self.rows, by_rows=self.by_rows)


@dataclass(frozen=True, slots=True)
class Expectations:
    """By a finalist's number; where there are none, `why` says what is missing, and `damaged` that it ought to be
    there. `losses` are what the held-out rows show of them, in their order."""

    found: Mapping[int, Expected] = field(default_factory=dict)
    why: str = ""
    damaged: bool = False
    losses: Losses | None = None

    def after_folds(self, number: int, *, rows: int, of: int) -> Expected | None:
        """What would be expected of a finalist after so many folds of training rows, if they show what is expected now;
        None where nothing is."""
        known = self.found.get(number)
        if known is None or self.losses is None:
            return None
        place = list(self.found).index(number)
        then = believe(self.losses, foreseen(self.losses, place, known.value, rows=rows, of=of))
        return replace(known, uncertain=float(then.uncertain[place]))


Folded = Mapping[int, RowScores]
"""Scores of rows by fold of the training split."""


def expectations(store: Store, finalists: Sequence[Finalist], facts: Mapping[str, Any]) -> Expectations:
    """Of the verified ones beside the baseline, by what is stored of a study and its facts. Studies of before rows were
    kept have none, nor have tasks whose scores are of a form of their own."""
    baseline = next((one for one in finalists if one.candidate.policy.is_baseline), None)
    verified = [one for one in finalists if one.state == "verified"]
    if baseline is None or not verified:
        return Expectations(why="nothing is verified yet")
    if any(one.row_scores is None for one in (baseline, *verified)):
        return Expectations(why="the study kept no scores of single rows: it is of before they were kept")
    try:
        teacher, *members = [row_scores(store, one) for one in (baseline, *verified)]
        losses = losses_seen(teacher, members)
        of = fold_scores(store, facts, [one.candidate.digest for one in (baseline, *verified)])
        found = _expected(losses, of[1:], of[0], certified_of(facts))
    except IntegrityError as error:
        return Expectations(why=str(error), damaged=True)
    by_number = {one.candidate.number: known for one, known in zip(verified, found, strict=True)}
    return Expectations(by_number, losses=losses)


def expected_of(teacher: Mapping[str, RowScores], members: Sequence[Mapping[str, RowScores]]) -> list[Expected]:
    """Of members beside their teacher, by held-out rows. Raises IntegrityError where they were not scored on the same
    rows."""
    return _expected(losses_seen(teacher, members), [{} for _ in members], {}, None)


def losses_seen(teacher: Mapping[str, RowScores], members: Sequence[Mapping[str, RowScores]]) -> Losses:
    """By held-out rows. Raises IntegrityError where they were not scored on the same ones."""
    shapes = {(split, len(rows), rows.form) for one in (teacher, *members) for split, rows in one.items()}
    if len(shapes) != len(teacher):
        raise IntegrityError("scores of single rows are not of the same rows: verify the finalists anew")
    return held_out_losses(teacher, members)


def _expected(
    losses: Losses, members: Sequence[Folded], teachers: Folded, certified: Certified | None
) -> list[Expected]:
    alone = believe(losses)
    folds = None if certified is None else fold_losses(teachers, members, of=certified.of)
    if certified is None or folds is None:
        return [
            Expected(float(value), float(uncertain), losses.rows)
            for value, uncertain in zip(alone.expected, alone.uncertain, strict=True)
        ]
    belief = believe(losses, folds)
    return [
        Expected(
            float(belief.expected[i]),
            float(belief.uncertain[i]),
            losses.rows,
            (int((folds.member == i).sum()), certified.of),
            float(alone.uncertain[i]),
        )
        for i in range(len(members))
    ]


def fold_scores(store: Store, facts: Mapping[str, Any], digests: Sequence[str]) -> list[Folded]:
    """Those of candidates, by their digests; none where a study certified nothing. Raises IntegrityError where a file
    is gone or not what the database knows."""
    known = certified_of(facts)
    if known is None:
        return [{} for _ in digests]
    return [
        {fold: _of_fold(store.artifacts / step.path, step) for fold, step in known.steps_of(digest).items()}
        for digest in digests
    ]


def _of_fold(path: Path, step: FoldStep) -> RowScores:
    return next(iter(from_bytes(_read(path, step.sha256), where=str(path)).values()))


def row_scores(store: Store, one: Finalist) -> dict[str, RowScores]:
    """By split. Raises IntegrityError where the file is gone or not what the database knows."""
    path, sha256 = _kept(store, one)
    return from_bytes(_read(path, sha256), where=str(path))


def row_doubts(store: Store, one: Finalist) -> Doubts | None:
    """How unsure it is of each row; None of what was verified before that was kept, and of other tasks than classes.
    Raises IntegrityError as `row_scores` does."""
    path, sha256 = _kept(store, one)
    from_bytes(content := _read(path, sha256), where=str(path))
    return doubts_in(content, where=str(path))


def _kept(store: Store, one: Finalist) -> tuple[Path, str]:
    """The file of row scores, and its SHA-256."""
    known = one.row_scores
    if known is None:
        raise IntegrityError(f"candidate {one.candidate.digest}: no scores of single rows were kept of it")
    return store.artifacts / known.path, known.sha256


def _read(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes() if not path.is_symlink() else b""
    except OSError as error:
        raise IntegrityError(
            f"{path}: the scores of single rows cannot be read ({error.strerror or error}); put the file back, or pick "
            "by --as-seen"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise IntegrityError(
            f"{path}: not what the study's database keeps (SHA-256 {found[:12]}, expected {sha256[:12]}); put "
            "the file back, or pick by --as-seen"
        )
    return content
