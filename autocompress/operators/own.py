"""Operators of a user's own, on any `torch.nn.Module`: what a search over his own evaluation is made of."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase, SettingRule


class ModuleOperator(ABC):
    """One way to make a module smaller. A class says what it is called (`name`) and what its settings may be (`rules`),
    and does it (`apply`)."""

    name: ClassVar[str]
    rules: ClassVar[Mapping[str, SettingRule]] = {}
    phase: ClassVar[Phase] = Phase.WIDTH
    targets: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def apply(self, model: Any, step: Step) -> Any:
        """Changes the model as `step.settings` say, at `step.target`: the name of one of its modules, or `*`. In place,
        or by giving another model back."""

    def fits(self, module: Any) -> bool:
        """Whether a step may name this module, where its target is a pattern."""
        return True

    def size_of(self, module: Any, setting: str) -> int | None:
        """What the module has of a setting that is a size, so that shares such as `50%` mean something."""
        return None


def applied(policy: CompressionPolicy, model: Any, operators: Mapping[str, ModuleOperator]) -> Any:
    """A copy of the model that the steps of a policy were applied to, in their order."""
    student = copy.deepcopy(model)
    for step in policy.steps:
        changed = operators[step.operator].apply(student, step)
        student = student if changed is None else changed
    return student
