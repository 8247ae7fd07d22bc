"""What members are seen to lose on rows of the training split, by students that were trained without them.

Cross-fitting: teacher and students are trained anew on all folds of the training split but one, and judged on that one.
So rows that were learned from tell what a recipe loses, and there are several times as many of them as of held-out
ones. But they tell it of other weights than those that are deployed, and two trainings of one recipe do not lose the
same. What a fold shows is therefore

    seen = loss of the deployed weights + noise of the fold's rows + noise of the fold's training
           + noise that all folds share: of the deployed weights' own training, and of training sets that overlap

with the training noise of a fold a share (`training`) of how much a member differs from its teacher, half of it the
teacher's and so alike for all members of a fold. What is shared does not average out over folds. Of the variance
between folds it is 1 for the deployed weights, and rows of a fold / rows learned from = 1 / (folds - 1) for the
overlap (Nadeau and Bengio 2003, section 3 and equation 11: the corrected variance of a mean over splits is
(1/J + n2/n1) S^2, where the plain one is far too small). How large the training noise is, the scatter between folds
tells, beyond what their rows explain (random effects: DerSimonian and Laird 1986); as there are few folds, no single
guess of it is made (`belief`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty.losses import Losses, losses_of
from autocompress.certainty.rows import RowScores

Floats = NDArray[np.float64]

_OF_THE_TEACHER: Final = 0.5
"""The share of the training noise's variance that all members of a fold have in common."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Losses that were `seen` [..., judged], each of a `member` and on a `fold` [judged], with their covariance by rows
    alone [..., judged, judged]; `of` so many folds in all. Leading axes are studies side by side."""

    seen: Floats
    covariance: Floats
    member: NDArray[np.int64]
    fold: NDArray[np.int64]
    of: int

    def __post_init__(self) -> None:
        if self.of < 2:
            raise ValueError(f"`of >= 2` must hold, got {self.of}")
        if not len(self.member) == len(self.fold) == self.seen.shape[-1]:
            raise ValueError(
                f"{self.seen.shape[-1]} losses are of {len(self.member)} members on {len(self.fold)} folds"
            )

    def noise(self, differs: Floats) -> Floats:
        """The covariance [..., judged, judged] that trainings add, where their noise is all of what a member `differs`
        [..., members]."""
        size = differs[..., self.member]
        alike = _OF_THE_TEACHER + (1 - _OF_THE_TEACHER) * (self.member[:, None] == self.member)
        shared = 1 + 1 / (self.of - 1) + (self.fold[:, None] == self.fold)
        found: Floats = size[..., :, None] * size[..., None, :] * alike * shared
        return found


def fold_losses(
    teachers: Mapping[int, RowScores], members: Sequence[Mapping[int, RowScores]], *, of: int
) -> Folds | None:
    """From scores of rows by fold: of each fold's teacher, and of the members' students that were judged there; None
    where there is none."""
    seen: list[Floats] = []
    blocks: list[Floats] = []
    member: list[int] = []
    fold: list[int] = []
    for number, teacher in sorted(teachers.items()):
        judged = [place for place, one in enumerate(members) if number in one]
        if not judged:
            continue
        losses = losses_of(teacher, [members[place][number] for place in judged])
        seen.append(losses.seen)
        blocks.append(losses.covariance)
        member += judged
        fold += [number] * len(judged)
    if not seen:
        return None
    covariance = np.zeros((len(member), len(member)))
    for number, block in zip(dict.fromkeys(fold), blocks, strict=True):
        own = np.flatnonzero(np.array(fold) == number)
        covariance[np.ix_(own, own)] = block
    return Folds(np.concatenate(seen), covariance, np.array(member), np.array(fold), of)


def foreseen(losses: Losses, member: int, expected: float, *, rows: int, of: int) -> Folds:
    """What folds of so many rows in all would show of a member of one study, if it loses what is expected of it."""
    by_fold = losses.covariance[member, member] * losses.rows * of / rows
    return Folds(np.full(of, expected), by_fold * np.eye(of), np.full(of, member), np.arange(of), of)
