"""How far predictions lie from measurements, always as the same six figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from autocompress.core.device import Accuracy


def accuracy(predicted: ArrayLike, measured: ArrayLike, how: str) -> Accuracy:
    """Compares predictions with measurements of the same `n` models, both in one unit and shaped [n].

    Errors are shares of the measurement: `mape` is their mean, `median` their median, `within_5` and `within_10` the
    shares of models at most 5 % and 10 % off. `spearman` and `kendall` (tau-b) compare the order; where one side is
    constant there is no order to compare, and both are 0. `how` says which models these were and who had seen them.

    Raises ValueError for fewer than two models, unequal lengths, a measurement <= 0 or a number that is not finite.
    """
    guess, truth = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if guess.shape != truth.shape or guess.ndim != 1:
        raise ValueError(f"`predicted` and `measured` must be lists of one length, got {guess.shape}, {truth.shape}")
    if truth.size < 2:
        raise ValueError(f"an accuracy needs at least 2 models, got {truth.size}")
    if not (np.isfinite(guess).all() and np.isfinite(truth).all()):
        raise ValueError("`predicted` and `measured` must be finite numbers")
    if truth.min() <= 0:
        raise ValueError(f"`measured > 0` must hold, got {truth.min()}")
    errors = np.abs(guess - truth) / truth
    ordered = np.ptp(guess) > 0 and np.ptp(truth) > 0
    return Accuracy(
        n=truth.size,
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        within_5=float(np.mean(errors <= 0.05)),
        within_10=float(np.mean(errors <= 0.10)),
        spearman=float(stats.spearmanr(guess, truth).statistic) if ordered else 0.0,
        kendall=float(stats.kendalltau(guess, truth).statistic) if ordered else 0.0,
        how=how,
    )
