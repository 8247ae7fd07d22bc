"""Feed-forward channel pruning: the least important channels of a layer's block go
(McCarley et al. 2019, "Structured pruning of a BERT-based question answering model")."""

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
class PruneChannels:
    """Keeps the `channels` most important channels of a feed-forward block."""

    name: Final = "prune_channels"
    phase: Final = Phase.WIDTH
    parts: Final = ("layers.*.feed_forward",)
    rules: Final[Mapping[str, SettingRule]] = {
        "channels": SettingRule(low=1, size=True),
        "importance": SettingRule(values=("fisher", "taylor", "magnitude", "combined"), default="fisher"),
    }

    def size_of(self, shape: ModelShape, target: str, setting: str) -> int | None:
        layer = shape.layer(layer_index(target))
        return layer.feed_forward.width if layer and setting == "channels" else None

    def reshape(self, shape: ModelShape, step: Step) -> ModelShape:
        channels = int(step.settings["channels"])

        def pruned(layer: LayerShape) -> LayerShape:
            if channels > layer.feed_forward.width:
                raise CandidateError(
                    f"{step.operator} on {step.target}: `channels <= {layer.feed_forward.width}` must hold, "
                    f"got {channels}"
                )
            return replace(layer, feed_forward=replace(layer.feed_forward, width=channels))

        return shape.with_layer(layer_index(step.target), pruned)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        index, channels = layer_index(step.target), int(step.settings["channels"])
        if channels < anatomy.layer(index).width:
            anatomy.keep_channels(index, importance.best_channels(str(step.settings["importance"]), index, channels))
