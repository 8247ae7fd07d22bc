"""What members lose on rows that nobody has seen, and which of them keep a bound.

The best of several seen losses is partly luck, so it is too low on average, and what it promises is not kept: the
winner's curse. Three ways out are known: to estimate by how much (Tibshirani and Tibshirani 2009), to bootstrap the
whole choice (BBC-CV: Tsamardinos, Greasidou and Borboudakis 2018, algorithm 5), and to shrink every estimate towards
what members like it lose, after which choosing does no harm (empirical Bayes: Efron 2011). The last is done here, as it
gives each member one number that is true whatever it is chosen by; the others check it (`tests/certainty`, and
`studies/benchmarks/promise.py` on the rows of real studies).

What a member loses is near a share of how much it differs from its teacher. Of the rows that the two answer
differently, students of the quickstart lose 31 to 46 % net; a member that answers everything as its teacher loses
nothing. How many rows differ is known several times better than what they sum up to. So:

    loss_i = (share + deviation_i) * differs_i,   share ~ N(0.4, 0.2),   deviation_i ~ N(0, spread)
    seen   = loss + noise of the covariance that its rows have
    differs_i is itself counted: 0.4 of its error counts as more deviation
    spread ~ half-normal(0.2), summed over a grid (Gelman 2006 on few groups: no single guess at a spread is safe)

Where folds of the training split were judged too (`folds`), they are further losses that were seen, of the same
members; the noise of their training is one more thing that is not known and summed over:

    training ~ half-normal(0.3), a share of differs_i, 0.08 at least

All of it is normal given spread and training, so the posterior is a product of matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty.folds import Folds
from autocompress.certainty.losses import Losses

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.9
"""A member keeps a bound if it is so probable that it does."""
_SHARE, _SHARE_SPREAD, _SPREAD = 0.4, 0.2, 0.2
_GRID: Final = np.linspace(0.02, 0.6, 12)
_TRAINING: Final = 0.3
_TRAININGS: Final = np.linspace(0.08, 0.68, 7)
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Belief:
    """Of members, [..., members]: the `expected` losses on rows that nobody has seen, and how `uncertain` each is, one
    standard deviation."""

    expected: Floats
    uncertain: Floats

    def upper(self, confidence: float = CONFIDENCE) -> Floats:
        """No more is lost than this, with that confidence in each member by itself."""
        return self.expected + _NORMAL.inv_cdf(confidence) * self.uncertain

    def interval(self, member: int) -> tuple[float, float]:
        """95 %, of one study."""
        half = _NORMAL.inv_cdf(0.975) * float(self.uncertain[member])
        return float(self.expected[member]) - half, float(self.expected[member]) + half

    def keeps(self, bound: float, confidence: float = CONFIDENCE) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.upper(confidence) <= bound
        return found

    def kept(self, member: int, bound: float) -> float:
        """How probable it is that a member of one study keeps a bound."""
        return _NORMAL.cdf((bound - float(self.expected[member])) / float(self.uncertain[member]))


def believe(losses: Losses, folds: Folds | None = None) -> Belief:
    """Of studies side by side, each with the same number of members, of which some were judged on folds too."""
    if folds is None:
        member = np.arange(losses.seen.shape[-1])
        return _posterior(losses, losses.seen, losses.covariance, member, _GRID, 0.5 * (_GRID / _SPREAD) ** 2)
    member = np.concatenate([np.arange(losses.seen.shape[-1]), folds.member])
    seen = np.concatenate([losses.seen, folds.seen], axis=-1)
    spreads, trainings = (one.ravel() for one in np.meshgrid(_GRID, _TRAININGS, indexing="ij"))
    by_rows = _apart(losses.covariance, folds.covariance)
    by_training = _apart(np.zeros_like(losses.covariance), folds.noise(losses.differs))
    covariance = by_rows + _beside(trainings, by_training) ** 2 * by_training
    doubt = 0.5 * (spreads / _SPREAD) ** 2 + 0.5 * (trainings / _TRAINING) ** 2
    return _posterior(losses, seen, covariance, member, spreads, doubt)


def _posterior(
    losses: Losses, seen: Floats, covariance: Floats, member: NDArray[np.int64], spreads: Floats, doubt: Floats
) -> Belief:
    """By losses `seen` [..., seen], each of a `member`, of a `covariance` [..., seen, seen] that may be another at
    every point of a grid, its first axis; there members vary by `spreads`, which is so improbable (`doubt`, minus the
    logarithm of the prior)."""
    differs = losses.differs
    shared = _SHARE_SPREAD**2 * differs[..., :, None] * differs[..., None, :]
    own = differs[..., :, None] ** 2 * np.eye(differs.shape[-1])
    fixed = shared + _SHARE**2 * losses.vague[..., :, None] ** 2 * own
    prior = fixed + _beside(spreads, own) ** 2 * own  # [grid, ..., members, members]
    along = np.take(prior, member, axis=-2)  # [grid, ..., seen, members]
    back = np.take(prior, member, axis=-1)
    total = np.take(along, member, axis=-1) + covariance
    away = (seen - _SHARE * differs[..., member])[..., None]
    solved = np.linalg.solve(total, np.concatenate([np.broadcast_to(away, (*total.shape[:-1], 1)), along], axis=-1))
    means = _SHARE * differs + (back @ solved[..., :1])[..., 0]
    variances = np.diagonal(prior - back @ solved[..., 1:], axis1=-2, axis2=-1)
    fits = -0.5 * (np.swapaxes(away, -1, -2) @ solved[..., :1])[..., 0, 0] - 0.5 * np.linalg.slogdet(total)[1]
    fits -= _beside(doubt, fits[0])
    weights = np.exp(fits - fits.max(axis=0))[..., None]
    weights /= weights.sum(axis=0)
    expected = (weights * means).sum(axis=0)
    spread = (weights * (variances + (means - expected) ** 2)).sum(axis=0)
    return Belief(expected, np.sqrt(np.maximum(spread, 1e-18)))


def _beside(grid: Floats, each: Floats) -> Floats:
    """The points of a grid as a first axis before those of `each`."""
    return grid.reshape(-1, *([1] * each.ndim))


def _apart(first: Floats, second: Floats) -> Floats:
    """One matrix of two [..., n, n] and [..., m, m] that have nothing to do with each other."""
    n, m = first.shape[-1], second.shape[-1]
    found = np.zeros((*first.shape[:-2], n + m, n + m))
    found[..., :n, :n], found[..., n:, n:] = first, second
    return found


def rows_needed(
    expected: float,
    error: float,
    bound: float,
    rows: int,
    confidence: float = CONFIDENCE,
    *,
    by_rows: float | None = None,
) -> int | None:
    """So many rows in all, about, would show that a member keeps a bound, if it loses what is expected: its standard
    error falls with the root of their number. None where it is expected to break it. `by_rows` is the error that the
    rows leave by themselves, where others (folds) told something too."""
    room = bound - expected
    if room <= 0:
        return None
    allowed = room / _NORMAL.inv_cdf(confidence)
    if by_rows is None or by_rows <= error:
        return math.ceil(rows * (error / allowed) ** 2)
    return math.ceil(rows * (1 + by_rows**2 * (allowed**-2 - error**-2)))
