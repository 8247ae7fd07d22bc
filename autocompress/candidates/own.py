"""The life of a candidate that a user's own evaluation judges."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Evaluated, Failed, Infeasible, Measurement, Measurements, Outcome, Stage
from autocompress.core.policy import CompressionPolicy
from autocompress.core.spec import Bound
from autocompress.errors import CandidateError
from autocompress.operators.own import ModuleOperator, applied


@dataclass(frozen=True, slots=True)
class OwnSetup:
    """All that a worker needs. `model` is None where the evaluation makes its own."""

    evaluate: Callable[..., Any]
    model: Any
    operators: Mapping[str, ModuleOperator]
    needed: Sequence[str]
    constraints: Mapping[str, Bound]


class OwnEvaluator:
    """Asks the user's function: `evaluate(policy)`, or `evaluate(policy, model)` with a copy of the model that the
    policy was applied to."""

    def __init__(self, setup: OwnSetup) -> None:
        self._setup = setup

    def __call__(self, policy: CompressionPolicy) -> Outcome:
        """Never raises: whatever goes wrong with one candidate is its outcome, and the search goes on."""
        setup = self._setup
        stage: Stage = "build"
        try:
            given = [] if setup.model is None else [applied(policy, setup.model, setup.operators)]
            stage = "score"
            found = measured(setup.evaluate(policy, *given), setup.needed)
        except Exception as error:  # noqa: BLE001 - the one broad handler: see the docstring
            return Failed(stage, type(error).__name__, str(error), traceback.format_exc())
        for one in found:
            bound = setup.constraints.get(one.metric)
            if bound is not None and bound.violation(one.value) and not policy.is_baseline:
                return Infeasible(f"{one.metric} {bound}", found)
        return Evaluated(found)


def measured(told: Any, needed: Sequence[str]) -> Measurements:
    """What an evaluation told, as measurements. Raises CandidateError where it is no mapping of names to finite
    numbers, or lacks a metric that the search asks for."""
    if not isinstance(told, Mapping):
        example = ", ".join(f"{one!r}: 0.5" for one in needed)
        raise CandidateError(
            f"evaluate: must return a mapping of metrics to numbers, as {{{example}}}, got {type(told).__name__}"
        )
    if missing := [metric for metric in needed if metric not in told]:
        names = ", ".join(map(str, told)) or "nothing"
        raise CandidateError(f"evaluate: must tell {', '.join(missing)}, which the search asks for; it told {names}")
    found = []
    for metric, value in told.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or not isinstance(metric, str):
            raise CandidateError(f"evaluate: {metric!r} must be a finite number, got {str(value)[:60]}")
        unit = METRICS[metric].unit if metric in METRICS else ""
        found.append(Measurement(metric, number, unit, "measured"))
    return tuple(found)
