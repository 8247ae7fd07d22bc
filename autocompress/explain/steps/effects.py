"""The main effect of a step over all judged candidates, by ordinary least squares (Montgomery, "Design and analysis of
experiments", 2017, chapter 10): what it changes of a score in the mean, whatever the other steps are.

A decision of the space is a factor: whether its step is there, and with which settings. What a step is worth is a
contrast of coefficients, told only where candidates determine it (it lies in the row space of the design: Searle,
"Linear models", 1971, section 5.4), with the t interval of the residuals. The search chooses its candidates, so such a
mean is of what it looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.policy import CompressionPolicy, Setting
from autocompress.explain.steps.groups import Decisions, Group
from autocompress.report.steps.told import Beside

if TYPE_CHECKING:
    from autocompress.explain.steps.judged import Scored

Array = NDArray[np.float64]
Level = Setting | None
"""What a setting is; None where a step does not say."""

_FEW_LEVELS: Final = 6
"""Values of a numeric setting that have an effect each; of more the effect is a straight line."""
_LEAST: Final = 5
"""Candidates more than effects, without which residuals tell nothing."""
_ESTIMABLE: Final = 1e-6
_INTERVAL: Final = 0.975


@dataclass(frozen=True, slots=True)
class Effect:
    """In the score's unit, with its 95 % interval."""

    value: float
    interval: tuple[float, float]
    beside: Beside


@dataclass(frozen=True, slots=True)
class _Factor:
    """One decision: the columns of its presence, and of each setting whose value is not the same in all candidates."""

    settings: Mapping[str, tuple[Level, ...]]

    @property
    def size(self) -> int:
        return 1 + sum(1 if _is_line(values) else len(values) - 1 for values in self.settings.values())

    def row(self, settings: Mapping[str, Setting] | None) -> list[float]:
        """All 0 where the step is not there."""
        if settings is None:
            return [0.0] * self.size
        found = [1.0]
        for name, values in self.settings.items():
            value = settings.get(name)
            if _is_line(values):
                low, given, high = (float(one) for one in (values[0], value, values[-1]) if one is not None)
                found.append((given - low) / (high - low))
            else:
                found += [float(value == one) for one in values[1:]]
        return found


def _is_line(values: Sequence[Level]) -> bool:
    return len(values) > _FEW_LEVELS and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in values
    )


@final
class Effects:
    """The design of one score, solved when it is first asked."""

    def __init__(self, known: Sequence[Scored], decisions: Decisions) -> None:
        self._known, self._decisions = known, decisions
        self._fitted: _Fitted | str | None = None

    def of(self, group: Group, policy: CompressionPolicy) -> Effect | str:
        """Of a group of a policy's steps, or in words why nobody knows."""
        if self._fitted is None:
            self._fitted = _fit([one.policy for one in self._known], self._scores(), self._decisions)
        if isinstance(self._fitted, str):
            return self._fitted
        factors = {self._decisions.factor(policy.steps[place]) for place in group.places}
        return self._fitted.effect(dict.fromkeys(factors, group.settings))

    def _scores(self) -> Array:
        return np.array([one.score.value for one in self._known], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Fitted:
    factors: Mapping[str, _Factor]
    starts: Mapping[str, int]
    design: Array
    inverse: Array
    coefficients: Array
    variance: float
    freedom: int

    def effect(self, levels: Mapping[str, Mapping[str, Setting]]) -> Effect | str:
        """Of the levels of some factors beside none of them; where (nearly) all candidates have these, beside the mean
        of those that do."""
        contrast = np.zeros(self.design.shape[1])
        means = np.zeros(self.design.shape[1])
        for name, settings in levels.items():
            if name not in self.factors:
                return "no judged candidate has this step"
            factor, start = self.factors[name], self.starts[name]
            columns = slice(start, start + factor.size)
            contrast[columns] = factor.row(settings)
            means[columns] = self.design[self.design[:, start] == 1, columns].mean(axis=0)
        if self._is_determined(contrast):
            return self._told(contrast, "without")
        contrast -= means
        if not np.any(np.abs(contrast) > _ESTIMABLE):
            return "all judged candidates that tell of this step have it with the same settings"
        if self._is_determined(contrast):
            return self._told(contrast, "the mean")
        return "no two judged candidates tell this step from others"

    def _is_determined(self, contrast: Array) -> bool:
        """Whether it lies in the row space of the design."""
        known = contrast @ self.inverse @ self.design
        return bool(np.abs(known - contrast).max() < _ESTIMABLE * max(1.0, float(np.abs(contrast).max())))

    def _told(self, contrast: Array, beside: Beside) -> Effect:
        from scipy.special import stdtrit  # where somebody asks: its import takes longer than all else here

        weights = contrast @ self.inverse
        value = float(contrast @ self.coefficients)
        half = float(stdtrit(self.freedom, _INTERVAL)) * float(np.sqrt(self.variance * (weights @ weights)))
        return Effect(value, (value - half, value + half), beside)


def _fit(policies: Sequence[CompressionPolicy], scores: Array, decisions: Decisions) -> _Fitted | str:
    levels = [_levels(policy, decisions) for policy in policies]
    factors = _factors(levels)
    starts, size = {}, 1
    for name, factor in factors.items():
        starts[name] = size
        size += factor.size
    if len(policies) < 1 + _LEAST:
        return f"{len(policies)} candidates were judged, too few to tell the effects of steps apart"
    rows = [
        [1.0, *(value for name, factor in factors.items() for value in factor.row(one.get(name)))] for one in levels
    ]
    design = np.array(rows, dtype=np.float64)
    inverse: Array = np.asarray(np.linalg.pinv(design, rcond=1e-10), dtype=np.float64)
    freedom = len(policies) - int(np.linalg.matrix_rank(design))
    if freedom < _LEAST:
        values = len(policies) - freedom
        return f"{len(policies)} candidates were judged, too few to tell the effects of {values} values of steps apart"
    coefficients = inverse @ scores
    residuals = scores - design @ coefficients
    variance = float(residuals @ residuals) / freedom
    return _Fitted(factors, starts, design, inverse, coefficients, variance, freedom)


def _levels(policy: CompressionPolicy, decisions: Decisions) -> dict[str, Mapping[str, Setting]]:
    """By factor the settings that a policy has; where a decision is about several targets, all have the same."""
    return {decisions.factor(step): step.settings for step in policy.steps}


def _factors(levels: Sequence[Mapping[str, Mapping[str, Setting]]]) -> dict[str, _Factor]:
    """Every decision that any candidate took, with what its settings were."""
    seen: dict[str, list[Mapping[str, Setting]]] = {}
    for one in levels:
        for name, settings in one.items():
            seen.setdefault(name, []).append(settings)
    found = {}
    for name, every in sorted(seen.items()):
        names = dict.fromkeys(setting for settings in every for setting in settings)
        values = {setting: _ordered({settings.get(setting) for settings in every}) for setting in names}
        found[name] = _Factor({setting: those for setting, those in values.items() if len(those) > 1})
    return found


def _ordered(values: Set[Level]) -> tuple[Level, ...]:
    """What is not set comes first, then numbers, then words."""
    numbers = [one for one in values if isinstance(one, int | float)]
    words = [one for one in values if isinstance(one, str)]
    return (*(one for one in values if one is None), *sorted(numbers), *sorted(words))
