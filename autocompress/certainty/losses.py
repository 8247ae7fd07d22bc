"""How far models score below their teacher on the same rows, how sure that is, and how much they differ from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty.rows import RowScores, resampled

Floats = NDArray[np.float64]

_NOTHING: Final = 1e-12
"""The variance of losses that differ by roundings alone."""
_CHOSE: Final = 0.5
"""Rows of the validation split chose: which candidates are trained, and after which epoch each is kept, the teacher
too. By how much they flatter all alike is not known; it is taken for as uncertain as half a standard error of theirs,
which makes them count for four fifths of rows that chose nothing."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Of members beside their teacher, [..., members]: the `seen` losses, their covariance [..., members, members]; how
    much each `differs`, in the metric's unit (for accuracy the share of rows that one of the two alone answers right,
    and a loss is at most that), and how `vague` that is, a standard deviation as a share of it. Leading axes are
    studies of the same size."""

    seen: Floats
    covariance: Floats
    differs: Floats
    vague: Floats
    rows: int

    @property
    def errors(self) -> Floats:
        """Standard errors [..., members]."""
        found: Floats = np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        return found


def losses_of(teacher: RowScores, members: Sequence[RowScores]) -> Losses:
    """On the rows of one split. Where scores are quotients of sums, their covariance is that of what single rows do to
    them; elsewhere that of 1,000 paired bootstraps."""
    rows = len(teacher)
    seen = np.array([teacher.score() - one.score() for one in members])
    if teacher.form == "quotient":
        effects = np.stack([_effects(teacher) - _effects(one) for one in members], axis=-1)
        covariance = np.cov(effects, rowvar=False, ddof=0).reshape(len(members), len(members)) / rows
    else:
        scores = np.nan_to_num(resampled([teacher, *members]), nan=0.0)
        losses = scores[:, :1] - scores[:, 1:]
        covariance = np.cov(losses, rowvar=False).reshape(len(members), len(members))
    changed = np.array([(one.values != teacher.values).any(axis=1).sum() for one in members], dtype=np.float64)
    return with_floor(seen, covariance, changed, rows)


def with_floor(seen: Floats, covariance: Floats, changed: Floats, rows: int) -> Losses:
    """From how many rows `changed` [..., members]. What few rows cannot show is not taken for certain: one more row on
    which either alone is right stands for it (Bonett and Price 2012), with the effect that such a row has elsewhere."""
    variances = np.diagonal(covariance, axis1=-2, axis2=-1)
    changed = np.where(variances > _NOTHING, changed, 0.0)  # amounts that moved and left all ranks in their order
    known = changed.sum(axis=-1)
    effect = np.where(known > 0, rows**2 * variances.sum(axis=-1) / np.maximum(known, 1), 1.0)[..., None]
    floor = 2 * effect / rows**2
    share = (changed + 1) / (rows + 1)
    differs = np.sqrt(share * rows * (variances + floor / 2))
    wider = covariance + _diagonal(np.broadcast_to(floor, seen.shape))
    return Losses(seen, wider, differs, 1 / np.sqrt(changed + 1), rows)


def pooled(chose: Losses, free: Losses) -> Losses:
    """From rows that chose among the members and from rows that chose nothing, weighed by how sure either are. The
    former may be wrong for all alike."""
    shared = _CHOSE**2 * _mean_variance(chose)
    of_chose, of_free = 1 / (_mean_variance(chose) + shared), 1 / _mean_variance(free)
    a = (of_chose / (of_chose + of_free))[..., None]
    covariance = (a[..., None] ** 2) * (chose.covariance + shared[..., None, None]) + (1 - a[..., None]) ** 2 * (
        free.covariance
    )
    return Losses(
        a * chose.seen + (1 - a) * free.seen,
        covariance,
        a * chose.differs + (1 - a) * free.differs,
        1 / np.sqrt(chose.vague**-2 + free.vague**-2),
        chose.rows + free.rows,
    )


def held_out_losses(teacher: Mapping[str, RowScores], members: Sequence[Mapping[str, RowScores]]) -> Losses:
    """From scores of rows by split: `validation`, which chose, and `test`, which did not, where there are both."""
    by_split = {
        name: losses_of(teacher[name], [one[name] for one in members]) for name in teacher if len(teacher[name])
    }
    if len(by_split) == 1:
        return next(iter(by_split.values()))
    return pooled(by_split["validation"], by_split["test"])


def _effects(rows: RowScores) -> Floats:
    """[rows]: by how much a row moves a quotient of sums, times the number of rows (its influence, to first order)."""
    above, below = rows.values.astype(np.float64).T
    total = below.mean()
    if total <= 0:
        return np.zeros(len(rows))
    found: Floats = (above - above.mean() / total * below) / total
    return found


def _mean_variance(losses: Losses) -> Floats:
    found: Floats = np.diagonal(losses.covariance, axis1=-2, axis2=-1).mean(axis=-1)
    return found


def _diagonal(values: Floats) -> Floats:
    found: Floats = values[..., None] * np.eye(values.shape[-1])
    return found
