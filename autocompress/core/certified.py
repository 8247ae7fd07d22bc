"""What cross-fitting left with a study: whose students were judged on which folds of the training split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

CERTIFIED_FACT: Final = "certified"
"""The fact of a study that holds it, as `Certified.to_json` makes it."""


@dataclass(frozen=True, slots=True)
class FoldStep:
    """What a `candidate`'s student, by its digest, answered on a fold (1, 2, ...) that it was trained without; of the
    baseline, the fold's teacher. `path` is that of its scores of rows, relative to the artifacts; it took `seconds`."""

    fold: int
    candidate: str
    path: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Certified:
    """The steps that were done, `of` so many folds; `made_of` is the digest of what students were trained from. All of
    it took `seconds`, what came to nothing too."""

    made_of: str
    of: int
    seconds: float = 0.0
    steps: tuple[FoldStep, ...] = ()

    def step(self, fold: int, candidate: str) -> FoldStep | None:
        return next((one for one in self.steps if (one.fold, one.candidate) == (fold, candidate)), None)

    def steps_of(self, candidate: str) -> dict[int, FoldStep]:
        """By fold."""
        return {one.fold: one for one in self.steps if one.candidate == candidate}

    def after(self, step: FoldStep) -> Certified:
        return replace(self, steps=(*self.steps, step))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "steps": [asdict(step) for step in self.steps]}


def certified_of(facts: Mapping[str, Any]) -> Certified | None:
    """By the facts of a study; None where nothing was certified."""
    known = facts.get(CERTIFIED_FACT)
    return None if not known else Certified(**{**known, "steps": tuple(FoldStep(**step) for step in known["steps"])})
