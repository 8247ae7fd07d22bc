"""What the settings of a checkpoint say of the task it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autocompress.assets.model_folders import numbered_names
from autocompress.core.positions import places_in
from autocompress.core.task_kinds import Modality
from autocompress.families import FAMILIES

_ENDINGS: Final = {
    "ForSequenceClassification": "text",
    "ForTokenClassification": "tokens",
    "ForImageClassification": "image",
    "ForAudioClassification": "audio",
}
_ANONYMOUS: Final = "LABEL_"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`head` is what it answers about, `text`, `tokens`, `image` or `audio`; empty where it is an encoder alone.
    `outputs` are the names of its answers, `problem` what its config calls them. `positions` is the most tokens that it
    reads, None where nothing says it. It `embeds` where a library for sentence embeddings wrote its folder."""

    model_type: str
    modality: Modality
    head: str = ""
    outputs: tuple[str, ...] = ()
    problem: str = ""
    positions: int | None = None
    embeds: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """Its answers, where they have names of their own."""
        return () if all(name.startswith(_ANONYMOUS) for name in self.outputs) else self.outputs

    @property
    def gives_amounts(self) -> bool:
        return bool(self.head) and (self.problem == "regression" or len(self.outputs) == 1)


def checkpoint_of(settings: Mapping[str, Any], *, embeds: bool = False) -> Checkpoint:
    """By a `config.json`."""
    model_type = str(settings.get("model_type"))
    family = FAMILIES.get(model_type)
    classes = [str(name) for name in settings.get("architectures") or ()]
    head = next((said for end, said in _ENDINGS.items() if any(name.endswith(end) for name in classes)), "")
    names = numbered_names(settings.get("id2label")) or numbered_names(settings.get("label2id"), backwards=True)
    if names:
        outputs = tuple(names[number] for number in sorted(names))
    else:  # as the modelling library has it
        count = settings.get("num_labels", 2)
        outputs = tuple(f"{_ANONYMOUS}{number}" for number in range(count if isinstance(count, int) else 2))
    return Checkpoint(
        model_type,
        family.modality if family else "text",
        head,
        outputs if head else (),
        str(settings.get("problem_type") or ""),
        places_in(settings),
        embeds,
    )
