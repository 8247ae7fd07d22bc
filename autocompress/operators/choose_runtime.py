"""The runtime that a model is deployed in, as the last step of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIME_STEP, RUNTIMES

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class ChooseRuntime:
    """Serves the whole model in a `runtime`. It touches no weight: the runtime decides what the shape costs, and in
    what precision the parts compute that are not quantized."""

    name: Final = RUNTIME_STEP
    phase: Final = Phase.DEPLOYMENT
    elastic: Final = False
    targets: Final = ("*",)
    rules: Final[Mapping[str, SettingRule]] = {RUNTIME_STEP: SettingRule(values=tuple(RUNTIMES))}

    def fits(self, part: Part) -> bool:
        return False

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        runtime = str(step.settings[RUNTIME_STEP])
        return None if runtime == model.runtime else replace(model, runtime=runtime)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        anatomy.runtime = str(step.settings[RUNTIME_STEP])


def runtime_of(policy: CompressionPolicy) -> str:
    """The runtime that a policy's model is deployed in."""
    chosen = [str(step.settings[RUNTIME_STEP]) for step in policy.steps if step.operator == ChooseRuntime.name]
    return chosen[-1] if chosen else DEFAULT_RUNTIME
