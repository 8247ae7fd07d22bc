"""Removal of half a layer: its attention or its feed-forward block goes, with its normalisation, and what went into it
goes on (He et al. 2024, "What matters in transformers? Not all attention is needed")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast, final

from autocompress.core.attention_form import ALLOWED
from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError
from autocompress.operators.remove_layer import refuse_blind

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.anatomy import Block
    from autocompress.anatomy.scores import Importance


@final
class RemoveBlock:
    """Takes the attention or the feed-forward block of one layer out: one step a block. A layer that loses both is
    gone."""

    name: Final = "remove_block"
    phase: Final = Phase.DEPTH
    elastic: Final = True
    targets: Final = ("layers.*.attention", "layers.*.feed_forward")
    rules: Final[Mapping[str, SettingRule]] = {}

    def fits(self, part: Part) -> bool:
        return part.layer is not None and part.kind in ("attention", "feed_forward") and part.owner is None

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        gone = [part.name for part in model.targeted(step.target) if self.fits(part)]
        if not gone:
            return None
        if why := why_whole_layers(model.family):
            raise CandidateError(f"{self.name} on {step.target}: {why}")
        left = model.without(frozenset(gone))
        refuse_blind(left, step)
        return left

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        block = step.target.rpartition(".")[2]
        anatomy.remove_block(anatomy.layer_of(step.target), cast("Block", block))


def why_whole_layers(family: str) -> str:
    """What keeps the halves of a family's layers together; empty where nothing does."""
    if family in ALLOWED:
        return ""
    return f"of a {family} whole layers go, by `remove_layer` (half ones: {', '.join(ALLOWED)})"
