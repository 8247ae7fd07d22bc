"""Attention-head pruning: the least important heads of a layer and their slices of q, k, v and o go
(Michel et al. 2019, "Are sixteen heads really better than one?")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import Matrix, Mixing, Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class PruneHeads(PartOperator):
    """Keeps the `heads` most important heads of a layer. Where several share a key they go together."""

    name: Final = "prune_heads"
    phase: Final = Phase.WIDTH
    elastic: Final = True
    targets: Final = ("layers.*.attention", "layers.*.cross_attention")
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

    def fits(self, part: Part) -> bool:
        return part.mixing is not None and part.owner is None

    def size_of(self, part: Part, setting: str) -> int | None:
        return part.units["heads"] if setting == "heads" else None

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        heads, mixing = int(settings["heads"]), part.mixing
        assert mixing is not None, "only what has heads fits"
        if heads > mixing.heads:
            raise CandidateError(f"{self.name} on {part.name}: `heads <= {mixing.heads}` must hold, got {heads}")
        shared = mixing.heads // mixing.key_value_heads
        if heads % shared:
            raise CandidateError(
                f"{self.name} on {part.name}: `heads` must be a multiple of {shared}, the heads that share a key, "
                f"got {heads}"
            )
        if heads == mixing.heads:
            return None
        kept = replace(mixing, heads=heads, key_value_heads=heads // shared)
        return replace(part, mixing=kept, matrices=tuple(_narrowed(one, kept) for one in part.matrices))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        index, heads = anatomy.layer_of(step.target), int(step.settings["heads"])
        block = anatomy.layer(index).of_attention
        if heads < block.heads:
            anatomy.keep_heads(index, self.kept(step, index, importance, together=block.queries_per_key))

    @staticmethod
    def kept(step: Step, layer: int, importance: Importance, *, together: int) -> list[int]:
        """The heads of the uncompressed layer that a step keeps, in their order in the model: those that share a key
        stay or go `together`, so many."""
        criterion, heads = str(step.settings["importance"]), int(step.settings["heads"])
        return importance.best_heads(criterion, layer, heads, together=together)


def _narrowed(matrix: Matrix, kept: Mixing) -> Matrix:
    queries, keys = kept.heads * kept.head_size, kept.key_value_heads * kept.head_size
    match matrix.name:
        case "query" | "position_query":
            return replace(matrix, outputs=queries)
        case "key" | "value" | "position_key":
            return replace(matrix, outputs=keys)
        case "output":
            return replace(matrix, inputs=queries)
    return matrix
