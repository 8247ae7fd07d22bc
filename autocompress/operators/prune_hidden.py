"""Hidden size: channels of the residual stream go, from the embeddings to the head, those that vary least (Muralidharan
et al. 2024, "Compact language models via pruning and knowledge distillation", section 2.2, ranks them so).
What reads the stream is told what they would have said, as far as the others know it (`anatomy.narrowing`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from autocompress.core.narrowing import narrowed, why_whole
from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance

MULTIPLE: Final = 16
"""Kernels compute so many channels at once; of other numbers they compute the rest, and throw it away."""


@final
class PruneHidden:
    """Keeps those `hidden_size` channels of the residual stream that vary most, the same in every layer. Heads and
    feed-forward channels are as many as before. On training texts is found what the kept channels tell of the others;
    that is multiplied into whatever reads the stream."""

    name: Final = "prune_hidden"
    phase: Final = Phase.WIDTH
    elastic: Final = False
    targets: Final = ("*",)
    rules: Final[Mapping[str, SettingRule]] = {
        "hidden_size": SettingRule(low=MULTIPLE, size=True, multiple=MULTIPLE),
    }

    def fits(self, part: Part) -> bool:
        return part.layer is not None and bool(part.matrices)

    def size_of(self, part: Part, setting: str) -> int | None:
        return part.matrices[0].inputs if setting == "hidden_size" else None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        size, before = int(step.settings["hidden_size"]), model.width
        if size == before:
            return None
        if why := why_whole(model):
            raise CandidateError(f"{self.name}: {why}")
        if size > before:
            raise CandidateError(f"{self.name}: `hidden_size <= {before}` must hold, got {size}")
        if size % MULTIPLE:
            near = max(MULTIPLE, round(size / MULTIPLE) * MULTIPLE)
            raise CandidateError(
                f"{self.name}: `hidden_size` must be a multiple of {MULTIPLE}, got {size}; take {near}, as kernels "
                "compute it at the same cost"
            )
        return narrowed(model, size)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        size = int(step.settings["hidden_size"])
        if size < len(anatomy.hidden):
            anatomy.keep_hidden(importance.best_hidden(size, of=anatomy.hidden))
