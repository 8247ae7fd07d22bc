"""Layer removal: the layer's input becomes its output (Sajjad et al. 2020, "Poor man's BERT")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.shape import ModelShape, layer_index
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.importance import Importance


@final
class RemoveLayer:
    """Takes one layer out. Which layers go is the policy's choice: one step a layer."""

    name: Final = "remove_layer"
    phase: Final = Phase.DEPTH
    parts: Final = ("layers.*",)
    rules: Final[Mapping[str, SettingRule]] = {}

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        return None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        index = layer_index(step.target)
        if shape.layer(index) is None:
            return shape
        if shape.depth == 1:
            raise CandidateError(f"{step.operator} on {step.target}: the last layer must stay")
        return replace(shape, layers=tuple(layer for layer in shape.layers if layer.index != index))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        gone = layer_index(step.target)
        anatomy.keep_layers([layer.index for layer in anatomy.layers if layer.index != gone])
