"""Feed-forward channel pruning: the least important channels of a layer's block go
(McCarley et al. 2019, "Structured pruning of a BERT-based question answering model")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class PruneChannels(PartOperator):
    """Keeps the `channels` most important channels of a feed-forward block."""

    name: Final = "prune_channels"
    phase: Final = Phase.WIDTH
    elastic: Final = True
    targets: Final = ("layers.*.feed_forward",)
    rules: Final[Mapping[str, SettingRule]] = {
        "channels": SettingRule(low=1, size=True),
        "importance": SettingRule(values=("fisher", "taylor", "magnitude", "combined"), default="fisher"),
    }

    def fits(self, part: Part) -> bool:
        return "channels" in part.units and part.owner is None

    def size_of(self, part: Part, setting: str) -> int | None:
        return part.units["channels"] if setting == "channels" else None

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        channels, before = int(settings["channels"]), part.units["channels"]
        if channels > before:
            raise CandidateError(f"{self.name} on {part.name}: `channels <= {before}` must hold, got {channels}")
        if channels == before:
            return None
        *first, last = part.matrices
        narrow = (*(replace(one, outputs=channels) for one in first), replace(last, inputs=channels))
        return replace(part, matrices=narrow)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        index, channels = anatomy.layer_of(step.target), int(step.settings["channels"])
        if channels < anatomy.layer(index).of_feed_forward.width:
            anatomy.keep_channels(index, importance.best_channels(str(step.settings["importance"]), index, channels))
