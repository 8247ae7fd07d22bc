"""Attention-head pruning: the least important heads of a layer and their slices of q, k, v and o go
(Michel et al. 2019, "Are sixteen heads really better than one?")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.shape import LayerShape, ModelShape, layer_index
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.importance import Importance


@final
class PruneHeads:
    """Keeps the `heads` most important heads of a layer."""

    name: Final = "prune_heads"
    phase: Final = Phase.WIDTH
    parts: Final = ("layers.*.attention",)
    rules: Final[Mapping[str, SettingRule]] = {
        "heads": SettingRule(low=1, size=True),
        "importance": SettingRule(
            values=(
                "fisher",
                "taylor",
                "confidence",
                "entropy",
                "distance",
                "redundancy",
                "magnitude",
                "combined",
            ),
            default="fisher",
        ),
    }

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        layer = shape.layer(layer_index(target))
        return layer.attention.heads if layer and setting == "heads" else None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        heads = int(step.settings["heads"])

        def pruned(layer: LayerShape) -> LayerShape:
            if heads > layer.attention.heads:
                raise CandidateError(
                    f"{step.operator} on {step.target}: `heads <= {layer.attention.heads}` must hold, got {heads}"
                )
            return replace(layer, attention=replace(layer.attention, heads=heads))

        return shape.with_layer(layer_index(step.target), pruned)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        index, heads = layer_index(step.target), int(step.settings["heads"])
        if heads < anatomy.layer(index).heads:
            anatomy.keep_heads(index, self.kept(step, importance))

    @staticmethod
    def kept(step: Step, importance: Importance) -> list[int]:
        """The heads of the uncompressed layer that a step keeps, in their order in the model."""
        index, heads = layer_index(step.target), int(step.settings["heads"])
        return importance.best_heads(str(step.settings["importance"]), index, heads)
