"""Scores as sums over rows, so that a thousand resamples of the rows are one product of matrices.

A bootstrap draws rows with replacement (Efron 1979); how often each was drawn are the weights of one draw. Two models
scored under the same weights are paired. A row is what was labelled as one: two texts of an embedding task are one row.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty.doubts import KEY, TEMPERATURE_KEY, Doubts, doubt_arrays
from autocompress.errors import IntegrityError

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
"""[draws, rows]: how often each row counts."""

DRAWS: Final = 1000
_TOGETHER: Final = 4_000_000
"""Weights that are looked at at once: 16 MB."""
_CLASSES: Final = 256


@dataclass(frozen=True, slots=True)
class RowScores:
    """What each row of a split adds to a model's score: `values` [rows, columns], as the `form` of the score wants it.

    quotient: twice what is right and what there is, for accuracy, recall and the F1 of spans or of one class; macro-f1
    and mcc: the class answered, the true one; label-macro-f1: what is answered of each label, then what is true; rmse:
    the error; pearson and spearman: the amount answered, the true one; roc-auc: whether a row is of a class and the
    score it has there, class after class.
    """

    form: str
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.form not in _FORMS:
            raise ValueError(f"no form of scores is called {self.form!r}; known are {', '.join(sorted(_FORMS))}")
        if self.values.ndim != 2:
            raise ValueError(f"`values` must be [rows, columns], got {self.values.shape}")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.int64]) -> RowScores:
        return RowScores(self.form, self.values[rows])

    def beside(self, other: RowScores) -> RowScores:
        """With the rows of another split behind these. Raises ValueError where they are scored otherwise."""
        if other.form != self.form or other.values.shape[1] != self.values.shape[1]:
            raise ValueError(f"rows scored by {self.form} and by {other.form} do not make one score")
        return RowScores(self.form, np.concatenate([self.values, other.values]))

    def score(self) -> float:
        """Of all rows; larger is better, and 0 where it is not defined."""
        return float(self.scores(np.ones((1, len(self)), dtype=np.float32))[0])

    def scores(self, weights: Weights) -> Floats:
        """[draws], for each row of weights."""
        by = _draws_together(len(self))
        parts = [self._defined(weights[at : at + by]) for at in range(0, len(weights), by)]
        found: Floats = np.nan_to_num(np.concatenate(parts), nan=0.0)
        return found

    def _defined(self, weights: Weights) -> Floats:
        """[draws], not a number where the score is not defined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = _FORMS[self.form](self.values, weights)
        return np.where(np.isfinite(found), found, math.nan)


def drawn(rows: int, draws: int, seed: int = 0) -> Weights:
    """Weights [draws, rows] of so many bootstraps, the same every time."""
    return np.concatenate(list(_drawn(rows, draws, seed)))


def resampled(models: Sequence[RowScores], draws: int = DRAWS) -> Floats:
    """[draws, models]: scores of models in the same bootstraps of the rows that all of them have; not a number where a
    score is not defined, as that of a class of which no row was drawn."""
    blocks = _drawn(len(models[0]), draws, seed=0)
    return np.concatenate([np.stack([one._defined(weights) for one in models], axis=-1) for weights in blocks])


def _drawn(rows: int, draws: int, seed: int) -> Iterator[Weights]:
    """Some draws after others, as all at once may be larger than the models."""
    generator, by = np.random.default_rng(seed), _draws_together(rows)
    for first in range(0, draws, by):
        found = np.empty((min(by, draws - first), rows), dtype=np.float32)
        for row in found:
            row[:] = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        yield found


def _draws_together(rows: int) -> int:
    return max(1, _TOGETHER // max(1, rows))


def to_bytes(splits: Mapping[str, RowScores], doubts: Doubts | None = None) -> bytes:
    """As a compressed npz file without objects; with how unsure the model is of each row, where it says so."""
    file = io.BytesIO()
    arrays = {f"{name}.{one.form}": one.values for name, one in splits.items()}
    np.savez_compressed(file, allow_pickle=False, **arrays, **doubt_arrays(doubts))
    return file.getvalue()


def from_bytes(content: bytes, *, where: str) -> dict[str, RowScores]:
    """What `to_bytes` made, but for doubts (`certainty.doubts`). Raises IntegrityError for anything else."""
    found = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            for name in arrays.files:
                split, _, form = name.partition(".")
                if form in (KEY, TEMPERATURE_KEY):
                    continue
                found[split] = RowScores(form, arrays[name].astype(np.float32))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise IntegrityError(f"{where}: holds no scores of rows ({error})") from error
    return found


# Each: values [rows, columns], weights [draws, rows] -> [draws]


def _quotient(values: NDArray[np.float32], weights: Weights) -> Floats:
    sums = _sums(weights, values)
    found: Floats = sums[:, 0] / sums[:, 1]
    return found


def _macro_f1(values: NDArray[np.float32], weights: Weights) -> Floats:
    """Over the classes that occur, as scikit-learn's without `labels`."""
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for hits, given, wanted in _by_class(values, weights):
        either = given + wanted
        total += np.where(either > 0, 2 * hits / either, 0.0).sum(axis=1)
        present += (either > 0).sum(axis=1)
    found: Floats = total / present
    return found


def _mcc(values: NDArray[np.float32], weights: Weights) -> Floats:
    """Of several classes: Gorodkin 2004, equation 8, by sums."""
    right, cross, answered, true = (np.zeros(len(weights)) for _ in range(4))
    for hits, given, wanted in _by_class(values, weights):
        right += hits.sum(axis=1)
        cross += (given * wanted).sum(axis=1)
        answered += (given**2).sum(axis=1)
        true += (wanted**2).sum(axis=1)
    every = weights.sum(axis=1, dtype=np.float64)
    found: Floats = (right * every - cross) / np.sqrt((every**2 - answered) * (every**2 - true))
    return found


def _label_macro_f1(values: NDArray[np.float32], weights: Weights) -> Floats:
    """Over the labels that some row has or is given; 1 where there is none."""
    labels = values.shape[1] // 2
    answered, true = values[:, :labels], values[:, labels:]
    hits, either = _sums(weights, answered * true), _sums(weights, answered) + _sums(weights, true)
    present = (either > 0).sum(axis=1)
    total = np.where(either > 0, 2 * hits / either, 0.0).sum(axis=1)
    found: Floats = np.where(present > 0, total / present, 1.0)
    return found


def _rmse(values: NDArray[np.float32], weights: Weights) -> Floats:
    """Negative."""
    squares = _sums(weights, values.astype(np.float64) ** 2)[:, 0]
    found: Floats = -np.sqrt(squares / weights.sum(axis=1, dtype=np.float64))
    return found


def _pearson(values: NDArray[np.float32], weights: Weights) -> Floats:
    centred = values.astype(np.float64)
    centred -= centred.mean(axis=0)
    x, y = centred.T
    every = weights.sum(axis=1, dtype=np.float64)
    sums = _sums(weights, np.stack([x, y, x * x, y * y, x * y], axis=1)) / every[:, None]
    found: Floats = (sums[:, 4] - sums[:, 0] * sums[:, 1]) / np.sqrt(
        (sums[:, 2] - sums[:, 0] ** 2) * (sums[:, 3] - sums[:, 1] ** 2)
    )
    return found


def _spearman(values: NDArray[np.float32], weights: Weights) -> Floats:
    """Ranks among the rows that were drawn, so the ties of a row with itself count, too."""
    ranks = [_ranks(column, weights) for column in values.T]
    every = weights.sum(axis=1, dtype=np.float64)
    x, y = (one - (one * weights).sum(axis=1, keepdims=True) / every[:, None] for one in ranks)
    found: Floats = (weights * x * y).sum(axis=1) / np.sqrt(
        (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    )
    return found


def _roc_auc(values: NDArray[np.float32], weights: Weights) -> Floats:
    """A mean over the classes that some rows have and some have not (Mann and Whitney's U, ties for a half)."""
    areas = []
    for of_class, scores in zip(values[:, ::2].T, values[:, 1::2].T, strict=True):
        others = weights * (of_class == 0)
        below = _ranks(scores, others)
        own = weights * (of_class != 0)
        areas.append((own * below).sum(axis=1) / (own.sum(axis=1) * others.sum(axis=1, dtype=np.float64)))
    by_class = np.stack(areas)
    known = np.isfinite(by_class)
    found: Floats = np.where(known, by_class, 0.0).sum(axis=0) / known.sum(axis=0)
    return found


def _ranks(column: NDArray[np.float32], weights: Weights) -> Floats:
    """[draws, rows]: how much weight lies below each row, with half of what ties with it."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    group = np.cumsum(np.r_[False, ordered[1:] != ordered[:-1]])
    inside = np.add.reduceat(weights[:, order].astype(np.float64), first, axis=1)
    middle = np.cumsum(inside, axis=1) - inside / 2
    found = np.empty(weights.shape, dtype=np.float64)
    found[:, order] = middle[:, group]
    return found


def _by_class(values: NDArray[np.float32], weights: Weights) -> Iterator[tuple[Floats, Floats, Floats]]:
    """What was right, answered and true of some classes after others, [draws, classes] each."""
    answered, true = values.astype(np.int64).T
    classes = int(values.max(initial=0)) + 1
    for first in range(0, classes, _CLASSES):
        some = np.arange(first, min(first + _CLASSES, classes))
        given, wanted = answered[:, None] == some, true[:, None] == some
        yield _sums(weights, given & wanted), _sums(weights, given), _sums(weights, wanted)


def _sums(weights: Weights, columns: NDArray[np.generic]) -> Floats:
    """[draws, columns]. Products of counts are exact in fp32 up to 16 million; others are taken in fp64."""
    kind = np.float64 if columns.dtype == np.float64 else np.float32
    found: Floats = (weights.astype(kind) @ columns.astype(kind)).astype(np.float64)
    return found


_FORMS: Final[Mapping[str, Callable[[NDArray[np.float32], Weights], Floats]]] = {
    "quotient": _quotient,
    "macro-f1": _macro_f1,
    "mcc": _mcc,
    "label-macro-f1": _label_macro_f1,
    "rmse": _rmse,
    "pearson": _pearson,
    "spearman": _spearman,
    "roc-auc": _roc_auc,
}
