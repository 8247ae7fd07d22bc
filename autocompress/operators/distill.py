"""Distillation as a step of a policy: how the student is trained once it has its shape (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, final, get_args

from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.training_spec import AttentionForm, FinalistSpec, LayerMap

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance

_TRAINING: Final = ("learning_rate", "epochs")
"""The settings that belong to the training; the others are the distillation's."""

_WEIGHT: Final = SettingRule(low=0.0, real=True, optional=True)


@final
class Distill:
    """Trains the whole model as its settings say, and as the study says where they are silent. It changes no shape and
    does nothing to a model by itself: `distilled` gives the settings to the training."""

    name: Final = "distill"
    phase: Final = Phase.RECOVERY
    elastic: Final = False
    targets: Final = ("*",)
    rules: Final[Mapping[str, SettingRule]] = {
        "temperature": SettingRule(low=0.1, high=100.0, real=True, optional=True),
        "hard_weight": SettingRule(low=0.0, high=1.0, real=True, optional=True),
        "learning_rate": SettingRule(low=1e-8, high=1.0, real=True, optional=True),
        "epochs": SettingRule(low=1, optional=True),
        "attention": _WEIGHT,
        "attention_form": SettingRule(values=get_args(AttentionForm), optional=True),
        "relations": _WEIGHT,
        "hidden": _WEIGHT,
        "embeddings": _WEIGHT,
        "layer_map": SettingRule(values=get_args(LayerMap), optional=True),
        "adaptive": SettingRule(values=(False, True), optional=True),
    }

    def fits(self, part: Part) -> bool:
        return False

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        return model if step.settings else None

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        return


def distilled(policy: CompressionPolicy, spec: FinalistSpec) -> FinalistSpec:
    """How a policy's student is to be trained: the study's settings, and over them those of its `distill` steps, a
    later one's over an earlier one's."""
    settings: dict[str, Any] = {}
    for step in policy.steps:
        if step.operator == Distill.name:
            settings |= step.settings
    return overridden(spec, settings)


def overridden(spec: FinalistSpec, settings: Mapping[str, Any]) -> FinalistSpec:
    """The spec with settings of a `distill` step in their places."""
    training = {name: value for name, value in settings.items() if name in _TRAINING}
    distillation = {name: value for name, value in settings.items() if name not in _TRAINING}
    return replace(
        spec,
        training=replace(spec.training, **training),
        distillation=replace(spec.distillation, **distillation),
    )
