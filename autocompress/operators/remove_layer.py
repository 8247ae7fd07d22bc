"""Layer removal: the layer's input becomes its output (Sajjad et al. 2020, "Poor man's BERT")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class RemoveLayer:
    """Takes one layer out. Which layers go is the policy's choice: one step a layer."""

    name: Final = "remove_layer"
    phase: Final = Phase.DEPTH
    elastic: Final = True
    targets: Final = ("layers.*",)
    rules: Final[Mapping[str, SettingRule]] = {}

    def fits(self, part: Part) -> bool:
        return part.layer is not None

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        gone = model.targeted(step.target)
        if not gone:
            return None
        if len(model.layers(gone[0].stack)) == 1:
            raise CandidateError(f"{step.operator} on {step.target}: the last layer must stay")
        left = model.without(frozenset(part.name for part in gone))
        refuse_blind(left, step)
        return left

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        gone = anatomy.layer_of(step.target)
        anatomy.keep_layers([layer.index for layer in anatomy.layers if layer.index != gone])


def refuse_blind(left: ModelParts, step: Step) -> None:
    """Raises CandidateError for a model of which no layer attends: what a head reads would know of one position."""
    if all(part.mixing is None for part in left.blocks()):
        raise CandidateError(f"{step.operator} on {step.target}: the last attention must stay")
