"""The compression operators, and what a policy does to a shape and to a model.

To add one: write its file, pass `autocompress.testing.operator_contract`, add a line to `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Operator, Phase
from autocompress.core.shape import ModelShape
from autocompress.core.space import SearchSpace, StepSpace
from autocompress.operators.choose_runtime import ChooseRuntime
from autocompress.operators.distill import Distill
from autocompress.operators.prune_channels import PruneChannels
from autocompress.operators.prune_heads import PruneHeads
from autocompress.operators.quantize import Quantize
from autocompress.operators.remove_layer import RemoveLayer

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.importance import Importance

OPERATORS: Final[Mapping[str, Operator]] = {
    operator.name: operator
    for operator in (RemoveLayer(), PruneHeads(), PruneChannels(), Distill(), Quantize(), ChooseRuntime())
}


def bound(space: SearchSpace, shape: ModelShape) -> SearchSpace:
    """A space over the parts of one model, its shares as numbers. Raises ValueError where it does not fit."""

    def size_of(operator: str, target: str, knob: str) -> int | None:
        return OPERATORS[operator].size_of(shape, target, knob)

    return space.bind(shape.names(), size_of)


def effective(policy: CompressionPolicy, shape: ModelShape) -> tuple[CompressionPolicy, ModelShape]:
    """The policy without the steps that change nothing, and the shape it leads to.

    A step on a removed layer, or one that keeps all heads, leaves no trace: policies that do the same to the model get
    the same digest and are evaluated once. Steps of the recovery phase change no shape but what the model learns; they
    stay where they say anything. Raises CandidateError when a step cannot be applied.
    """
    kept = []
    for step in policy.steps:
        after = OPERATORS[step.operator].reshape(shape, _with_defaults(step))
        if after != shape or (_is_recovery(step) and step.settings):
            kept.append(_with_defaults(step))
        shape = after
    return CompressionPolicy(tuple(kept)), shape


def cuts(steps: Iterable[Step | StepSpace]) -> bool:
    """Whether any of these steps takes anything away from a model, before it is trained and quantized."""
    return any(OPERATORS[step.operator].phase < Phase.RECOVERY for step in steps)


def only_rounded(policy: CompressionPolicy) -> bool:
    """Whether a policy changes how the model is stored and run, and nothing that training could heal."""
    known = (OPERATORS.get(step.operator) for step in policy.steps)
    return all(operator is not None and operator.phase > Phase.RECOVERY for operator in known)


def apply(
    policy: CompressionPolicy,
    anatomy: Anatomy,
    importance: Importance,
    *,
    since: Phase = Phase.DEPTH,
    before: Phase | None = None,
) -> None:
    """Shrink a model in place by an effective policy, or by those of its steps that belong to the phases from `since`
    to just before `before`: training happens between two of them."""
    for step in policy.steps:
        operator = OPERATORS[step.operator]
        if operator.phase >= since and (before is None or operator.phase < before):
            operator.apply(anatomy, step, importance)


def _is_recovery(step: Step) -> bool:
    return OPERATORS[step.operator].phase == Phase.RECOVERY


def _with_defaults(step: Step) -> Step:
    rules = OPERATORS[step.operator].rules
    defaults = {name: rule.default for name, rule in rules.items() if rule.default is not None}
    return Step(step.operator, step.target, {**defaults, **step.settings})
