"""The latency of a device that somebody else measured, from a table of architecture features and milliseconds.

A Gaussian process on logarithms (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2
and 5). Its linear part is a power law, a product of the features with an exponent each: what ten samples can support.
Its curved part bends that law where more samples ask for it; how much each feature matters to either is one number,
found by the marginal likelihood with a prior that holds it small. Published tables contain readings from minutes in
which the machine was slow; they are given less weight, as a Student-t noise would (section 9.3 there; by iterated
weights, Lange, Little and Taylor, "Robust statistical modeling using the t distribution", JASA 1989).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, stats

from autocompress.core.device import Accuracy
from autocompress.devices.accuracy import accuracy
from autocompress.errors import NotFoundError, SpecError, did_you_mean

Array = NDArray[np.float64]

FEWEST: Final = 5
"""Samples below which no fit is tried."""

_MOST: Final = 3000
"""Samples a fit uses; of more it draws so many. Its time grows with their cube."""

_MISTAKES: Final = 10
"""Mistakes of a file that are listed."""

_LARGEST: Final = 1e30
"""Numbers beyond this are typing errors, and their squares overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Models that were measured: features [n, k] named by `names` [k], and milliseconds [n] > 0."""

    names: tuple[str, ...]
    features: Array
    milliseconds: Array

    def __post_init__(self) -> None:
        n, k = len(self.milliseconds), len(self.names)
        if self.features.shape != (n, k):
            raise ValueError(f"`features` must be [{n}, {k}], got {list(self.features.shape)}")

    def __len__(self) -> int:
        return len(self.milliseconds)

    def take(self, rows: NDArray[np.intp] | slice) -> Samples:
        """The samples of these rows."""
        return Samples(self.names, self.features[rows], self.milliseconds[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted latency: features [m, k] to milliseconds [m].

    `spread` is the half-width of the 95 % interval of a prediction as a share of it, from models the prediction had not
    seen: it holds for models like those of the samples.
    """

    names: tuple[str, ...]
    spread: float
    _axes: _Axes
    _kernel: _Kernel
    _points: Array
    _pull: Array
    _centre: float
    _unit: float

    def __call__(self, features: Array) -> Array:
        """Raises ValueError for another number of columns, numbers that are not finite, or a feature <= 0 that was
        positive in every sample."""
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise ValueError(f"`features` must be [m, {len(self.names)}] ({', '.join(self.names)})")
        if not np.isfinite(features).all():
            raise ValueError("`features` must be finite numbers")
        wrong = [name for j, name in enumerate(self.names) if self._axes.logged[j] and (features[:, j] <= 0).any()]
        if wrong:
            raise ValueError(f"`{wrong[0]} > 0` must hold, as it did in every sample")
        found: Array = np.exp(
            self._centre + self._unit * (self._kernel(self._axes(features), self._points) @ self._pull)
        )
        return found


def read_samples(path: str | Path, *, target: Sequence[str], drop: Sequence[str] = ()) -> Samples:
    """Reads a CSV with a header: `target` columns hold milliseconds and are summed, `drop` columns are left out, and
    every other column is a feature.

    Raises NotFoundError, or SpecError with the first mistakes, each with its file, line and column.
    """
    path = Path(path)
    lines = _lines(path)
    if not lines:
        raise SpecError(f"{path}: the file is empty; its first line must name the columns")
    line, header = lines[0]
    header = [name.strip() for name in header]
    _refuse(_header_problems(f"{path}:{line}", header, target, drop))
    features = [place for place, name in enumerate(header) if name not in {*target, *drop}]
    targets = [header.index(name) for name in target]
    rows: list[list[float]] = []
    problems: list[str] = []
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            problems.append(f"{path}:{line}: got {len(cells)} values; the header names {len(header)} columns")
            continue
        row, wrong = _numbers(f"{path}:{line}", header, cells, features, targets)
        problems += wrong
        rows.append(row)
    if not problems and len(rows) < FEWEST:
        problems.append(f"{path}: got {len(rows)} rows; a fit needs at least {FEWEST}: add measured models")
    _refuse(problems)
    table = np.array(rows, dtype=np.float64)
    return Samples(
        tuple(header[place] for place in features), table[:, : len(features)], table[:, len(features) :].sum(axis=1)
    )


def fit(samples: Samples, *, seed: int = 0) -> Fitted:
    """Fits the latency of a device. Deterministic for a seed; two seconds for 1,600 samples on one core.

    Raises ValueError for fewer than `FEWEST` samples, numbers that are not finite, or a latency <= 0.
    """
    _check(samples, len(samples))
    if len(samples) > _MOST:
        samples = samples.take(np.sort(np.random.default_rng(seed).permutation(len(samples))[:_MOST]))
    logged = _positive(samples.features)
    fitted, ratios = _fit(samples, logged, seed)
    if len(samples) < _FEW:
        everything = np.arange(len(samples))
        for row in everything:
            without, _ = _fit(samples.take(everything[everything != row]), logged, seed)
            ratios[row] = samples.milliseconds[row] / without(samples.features[row : row + 1])[0]
    return replace(fitted, spread=_spread(ratios))


def cross_validate(samples: Samples, *, folds: int, seed: int) -> Accuracy:
    """How well `fit` predicts samples it has not seen: each fold is predicted by a fit to the others.

    Raises ValueError unless `2 <= folds <= n`, or for samples that `fit` refuses once a fold is left out.
    """
    if not 2 <= folds <= len(samples):
        raise ValueError(f"`2 <= folds <= {len(samples)}` (the samples) must hold, got folds={folds}")
    _check(samples, len(samples) - math.ceil(len(samples) / folds))
    logged = _positive(samples.features)
    order = np.random.default_rng(seed).permutation(len(samples))
    predicted = np.empty(len(samples))
    for fold in np.array_split(order, folds):
        fitted, _ = _fit(samples.take(np.setdiff1d(order, fold, assume_unique=True)[:_MOST]), logged, seed)
        predicted[fold] = fitted(samples.features[fold])
    return accuracy(predicted, samples.milliseconds, f"{folds}-fold cross-validation of {len(samples)} models")


def _check(samples: Samples, fitted: int) -> None:
    if fitted < FEWEST:
        raise ValueError(f"a fit needs at least {FEWEST} samples, got {fitted}")
    if not (np.isfinite(samples.features).all() and np.isfinite(samples.milliseconds).all()):
        raise ValueError("`features` and `milliseconds` must be finite numbers")
    if samples.milliseconds.min() <= 0:
        raise ValueError(f"`milliseconds > 0` must hold, got {samples.milliseconds.min()}")


# -- The fit

_FREEDOM: Final = 2.0
"""Degrees of freedom of the noise: two is heavy-tailed, as published tables are."""

_FOR_KERNEL: Final = 300
"""Samples the kernel's few numbers are found on; the prediction itself uses all."""

_ROUNDS: Final = 4
"""Times that kernel and trust are found in turns; two more would move predictions by less than 0.1 %."""

_FEW: Final = 40
"""Samples below which the spread is found by leaving out each in a fit of its own: so few choose the kernel together,
and one that helped to choose it is predicted too well."""


def _fit(samples: Samples, logged: NDArray[np.bool_], seed: int) -> tuple[Fitted, Array]:
    """A fit without its spread, and measured / predicted of each sample when that is left out [n] (by the same
    kernel); `logged` are the features to take logarithms of [k]."""
    axes = _axes(samples.features, logged)
    points = axes(samples.features)
    logarithms = np.log(samples.milliseconds)
    centre, unit = float(np.median(logarithms)), float(logarithms.std()) or 1.0
    values = (logarithms - centre) / unit
    some = np.random.default_rng(seed).permutation(len(samples))[:_FOR_KERNEL]
    kernel, trust = _start(points.shape[1]), np.ones(len(samples))
    for _ in range(_ROUNDS):
        kernel = _likeliest(kernel, points[some], values[some], trust[some])
        pull, left_out = _solve(kernel, points, values, trust)
        trust = (_FREEDOM + 1) / (_FREEDOM + left_out**2 / kernel.noise)
    pull, left_out = _solve(kernel, points, values, trust)
    ratios = np.exp(unit * left_out)
    shift = _least_relative_error(ratios)
    return Fitted(samples.names, 0.0, axes, kernel, points, pull, centre + math.log(shift), unit), ratios / shift


@dataclass(frozen=True, slots=True, eq=False)
class _Axes:
    """Where features lie: logarithms of the positive ones, each centred and in units of its deviation."""

    logged: NDArray[np.bool_]
    middle: Array
    width: Array
    varies: NDArray[np.bool_]

    def __call__(self, features: Array) -> Array:
        found: Array = ((_logarithms(features, self.logged) - self.middle) / self.width)[:, self.varies]
        return found


def _positive(features: Array) -> NDArray[np.bool_]:
    return np.asarray(np.all(features > 0, axis=0))


def _axes(features: Array, logged: NDArray[np.bool_]) -> _Axes:
    logs = _logarithms(features, logged)
    middle, width = logs.mean(axis=0), logs.std(axis=0)
    varies = width > 1e-9 * np.maximum(1.0, np.abs(middle))  # a constant's deviation is rounding
    return _Axes(logged, middle, np.where(varies, width, 1.0), varies)


def _logarithms(features: Array, logged: NDArray[np.bool_]) -> Array:
    return np.where(logged, np.log(np.where(logged, features, 1.0)), features)


@dataclass(frozen=True, slots=True, eq=False)
class _Kernel:
    """1 + linear * <a, b> + curved * exp(-|a - b|^2 / 2), each axis scaled by its relevance, beside noise.

    `logs` holds the logarithms of the relevances [k], of `linear`, `curved` and `noise`.
    """

    logs: Array

    @property
    def noise(self) -> float:
        return float(np.exp(self.logs[-1]))

    def parts(self, a: Array, b: Array) -> tuple[Array, Array]:
        """The linear and the curved part, [len(a), len(b)]."""
        relevance, (linear, curved) = np.exp(self.logs[:-3]), np.exp(self.logs[-3:-1])
        products = (a * relevance) @ b.T
        distance = ((a * a) @ relevance)[:, None] + (b * b) @ relevance - 2 * products
        return linear * products, curved * np.exp(-np.maximum(distance, 0) / 2)

    def __call__(self, a: Array, b: Array) -> Array:
        first, second = self.parts(a, b)
        return 1 + first + second


_EXPECTED: Final = np.log([1.0, 0.3, 0.1])
_EXPECTED_RELEVANCE: Final = math.log(0.3)
_DOUBT: Final = (1.5, 1.5, 2.0)
"""The prior of the kernel's logarithms, normal: a law mostly linear in the logarithms, of a tenth noise, give or take a
factor of 4.5 (7 for the noise)."""


def _start(features: int) -> _Kernel:
    return _Kernel(np.concatenate([np.full(features, _EXPECTED_RELEVANCE), _EXPECTED]))


def _likeliest(kernel: _Kernel, points: Array, values: Array, trust: Array) -> _Kernel:
    """The kernel of the highest marginal likelihood times prior, by its gradient (equations 2.30 and 5.9)."""
    expected = _start(points.shape[1]).logs
    doubt = np.concatenate([np.full(points.shape[1], _DOUBT[0]), _DOUBT])

    def loss(logs: Array) -> tuple[float, Array]:
        kernel = _Kernel(logs)
        linear, curved = kernel.parts(points, points)
        factor, inverse = _inverse(1 + linear + curved, kernel.noise / trust)
        pull = inverse @ values
        away = (logs - expected) / doubt
        value = values @ pull / 2 + np.log(np.diag(factor)).sum() + away @ away / 2
        slope = (inverse - np.outer(pull, pull)) / 2
        by_curved = slope * curved
        rows = by_curved.sum(axis=1)
        by_product = slope * math.exp(logs[-3]) + by_curved  # d / d(scaled product) of both parts
        squares = np.einsum("ij,ik,kj->j", points, by_product, points) - (points * points).T @ rows
        ends = (slope * linear).sum(), by_curved.sum(), (np.diag(slope) / trust).sum() * kernel.noise
        gradient = np.concatenate([np.exp(logs[:-3]) * squares, ends]) + away / doubt
        return float(value), gradient

    bounds = [(middle - 6 * width, middle + 6 * width) for middle, width in zip(expected, doubt, strict=True)]
    found = optimize.minimize(loss, kernel.logs, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40})
    return _Kernel(np.asarray(found.x, dtype=np.float64))


def _solve(kernel: _Kernel, points: Array, values: Array, trust: Array) -> tuple[Array, Array]:
    """The weights of the samples in a prediction, and what each misses its sample by when that is left out
    (equation 5.12)."""
    _, inverse = _inverse(kernel(points, points), kernel.noise / trust)
    pull = inverse @ values
    return pull, pull / np.diag(inverse)


def _inverse(covariance: Array, noise: Array) -> tuple[Array, Array]:
    """Cholesky factor and inverse of a covariance with noise on its diagonal."""
    factor, low = linalg.cho_factor(covariance + np.diag(noise + 1e-8), lower=True)
    return factor, linalg.cho_solve((factor, low), np.eye(len(covariance)))


def _least_relative_error(ratio: Array) -> float:
    """The factor on all predictions that makes the mean of |predicted - measured| / measured least: a weighted median
    of measured / predicted, as |f - ratio| / ratio is the error."""
    order = np.argsort(ratio)
    weight = np.cumsum(1 / ratio[order])
    return float(ratio[order][np.searchsorted(weight, weight[-1] / 2)])


def _spread(ratio: Array) -> float:
    """Half-width of the 95 % interval, a share, from measured / predicted of samples that were left out [n].

    The conformal rank (Vovk, Gammerman and Shafer, 2005, chapter 2) asks for 19 samples; below that Student's t
    widens the residuals' root mean square instead.
    """
    residuals, n = np.sort(np.abs(ratio - 1)), len(ratio)
    rank = math.ceil(0.95 * (n + 1))
    if rank <= n:
        return float(residuals[rank - 1])
    student = stats.t.ppf(0.975, n - 1) * math.sqrt(np.mean(residuals**2) * (1 + 1 / n))
    return float(max(residuals[-1], student))


# -- Reading

_REMOVE: Final = "mend the value or remove the line"


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(line, values) of every line that is not blank."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: the file is not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise SpecError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _header_problems(where: str, header: list[str], target: Sequence[str], drop: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(name for name in header if header.count(name) > 1):
        yield f"{where}: column {name!r} is named {header.count(name)} times; name every column once"
    for option, names in (("target", target), ("drop", drop)):
        for name in names:
            if name not in header:
                yield f"{where}: `{option}`: no column {name!r}; {did_you_mean(name, header)}"
    for name in sorted(set(target) & set(drop)):
        yield f"{where}: column {name!r} is both `target` and `drop`; leave it out of one"
    for name in sorted({name for name in target if list(target).count(name) > 1}):
        yield f"{where}: `target` names {name!r} twice, which would count it twice; name it once"
    if not target:
        yield f"{where}: `target` names no column; give the columns of milliseconds ({did_you_mean('', header)})"
    elif not set(header) - {*target, *drop}:
        yield f"{where}: no column is left as a feature; drop fewer"


def _numbers(
    where: str, header: list[str], cells: list[str], features: list[int], targets: list[int]
) -> tuple[list[float], list[str]]:
    """The numbers of a line, features first, and its mistakes."""
    row, problems = [], []
    for place in (*features, *targets):
        value = _number(cells[place])
        row.append(value)
        if math.isnan(value) or abs(value) > _LARGEST:
            problems.append(
                f"{where}: column {header[place]!r}: got {cells[place][:40]!r}; allowed: a finite number of usual "
                "size; mend the value, or remove the line or the column (`drop`)"
            )
        elif place in targets and value < 0:
            problems.append(f"{where}: column {header[place]!r}: got {value:g}; allowed: milliseconds > 0; {_REMOVE}")
    if not problems and sum(row[len(features) :]) <= 0:
        names = " + ".join(header[place] for place in targets)
        problems.append(f"{where}: column {names}: got 0; allowed: milliseconds > 0; {_REMOVE}")
    return row, problems


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _refuse(problems: Iterator[str] | list[str]) -> None:
    found = list(problems)
    if found:
        more = [f"and {len(found) - _MISTAKES} more"] if len(found) > _MISTAKES else []
        raise SpecError(*found[:_MISTAKES], *more)
