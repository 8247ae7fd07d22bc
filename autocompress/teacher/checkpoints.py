"""A checkpoint before anything is done with it: what it is, what it was fine-tuned for, what its outputs are called.

A folder is taken at its word only where its parts agree: config, weights and what the modelling library reports of both
after loading. Whatever float type the weights come in, they are read as fp32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from autocompress.anatomy import FAMILIES, Family, family_of
from autocompress.anatomy.blueprint import at, base_of
from autocompress.anatomy.heads import (
    AUDIO,
    EMBEDDING,
    IMAGE,
    SEQUENCE,
    TOKENS,
    at_length,
    at_size,
    config_in,
    dense_of,
    empty_model,
    head_of,
    pretrained,
)
from autocompress.anatomy.positions import give_positions
from autocompress.assets import check_model_folder
from autocompress.assets.model_folders import config_errors, numbered_names, tensor_shapes
from autocompress.core.positions import Extension
from autocompress.core.task_kinds import NOUNS, form_of, kinds
from autocompress.errors import SpecError
from autocompress.families import FAMILIES as READ

_PURPOSES: Final = {
    SEQUENCE: "ForSequenceClassification",
    TOKENS: "ForTokenClassification",
    IMAGE: "ForImageClassification",
    AUDIO: "ForAudioClassification",
}
"""What the modelling library calls models with a head, at the end of their names."""
NEW_HEAD = "`teacher: {head: new}` in the study trains a new head for your labels on its encoder"
_SHOWN = 5
_SLACK = 2**20
"""Parameters that a new head may have beside those of the weights."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of a known family, with the `head` that it is wanted for (`anatomy.heads`). `shapes` are those of its
    tensors, by name; `settings` is its config.json."""

    folder: Path
    config: Any
    settings: Mapping[str, Any]
    family: Family
    shapes: Mapping[str, tuple[int, ...]]
    head: str = SEQUENCE

    @property
    def dense(self) -> tuple[str, ...]:
        """The dense layers of its head, first to last."""
        return dense_of(self.family, self.head)

    @property
    def has_head(self) -> bool:
        """Whether it was fine-tuned for something: the last layer of a classifier is there."""
        return any(f"{path}.weight" in self.shapes for path in self.dense[-1:])

    @property
    def outputs(self) -> int:
        return int(self.shapes[f"{self.dense[-1]}.weight"][0])

    @property
    def purpose(self) -> str:
        """What its config says that it is: BertForTokenClassification."""
        written = self.settings.get("architectures")
        return str(written[0]) if isinstance(written, list) and written else ""

    def check_modality(self, kind: str) -> None:
        """Raises SpecError where the task gives the model what it cannot read: images to a model of texts."""
        wanted, reads = form_of(kind).modality, self.family.modality
        if wanted != reads:
            fitting = [name for name in kinds() if form_of(name).modality == reads]
            mine, theirs = NOUNS[reads], NOUNS[wanted]
            raise SpecError(
                f"{self.folder}: a {self.family.model_type} reads {mine}, and {kind} gives it {theirs}; take a "
                f"model of {theirs}, or a task of {mine} ({', '.join(fitting)})"
            )

    def check_head(self, problem: str) -> None:
        """Raises SpecError when it answers something else than the task asks (`tasks.Task.problem`), or when a part of
        its head is missing: the modelling library would fill that with random numbers."""
        self._check_purpose()
        lacking = [path for path in self.dense if f"{path}.weight" not in self.shapes]
        if lacking:
            raise SpecError(
                f"{self.folder}: holds {self.dense[-1]!r}, but not {', '.join(map(repr, lacking))}, without "
                f"which its answers are random; {NEW_HEAD}"
            )
        said = self.settings.get("problem_type")
        is_amount = self.outputs < 2 or said == "regression"
        where = f"{self.folder}: {_outputs(self.outputs)}{_said(said)}"
        if problem == "tags":
            if self.outputs < 2:
                raise SpecError(f"{where}: tags of words need two at least; {NEW_HEAD}")
            return
        if problem == "regression":
            if self.outputs != 1:
                raise SpecError(f"{where}: its answers are classes, and regression needs one output; {NEW_HEAD}")
            return
        if is_amount and not (problem == said and self.outputs):
            raise SpecError(
                f"{where}: its answers are amounts, and a study needs a class for each text (at least two outputs); "
                f"{NEW_HEAD}"
            )
        if problem == "classes" and said == "multi_label_classification":
            raise SpecError(
                f"{where}: it says yes or no to each class, and a study needs one class for each text; {NEW_HEAD}, or "
                "remove `problem_type` from its config if the largest output is the answer"
            )
        if problem == "multi_label_classification" and said != problem:
            raise SpecError(
                f"{where}: its largest output is the answer, and a multi-label study needs yes or no to each label; "
                f"{NEW_HEAD}, or write `problem_type: {problem}` into its config if that is what it says"
            )

    def _check_purpose(self) -> None:
        """Raises SpecError for the head of another purpose, as its config says, or by what else is there of it."""
        wanted = _PURPOSES[self.head]
        known = {wanted, _PURPOSES[SEQUENCE]} if self.head == AUDIO else {wanted}  # as it is called in some families
        if self.purpose.endswith(tuple({*_OTHER_PURPOSES, *_PURPOSES.values()} - known)):
            raise SpecError(
                f"{self.folder}: its config says {self.purpose}, and a study takes a {wanted} as it is; {NEW_HEAD}"
            )
        strange = [path for path in self.family.head if path not in self.dense and f"{path}.weight" in self.shapes]
        if self.head == TOKENS and not self.purpose and strange:
            raise SpecError(
                f"{self.folder}: holds {strange[0]!r}, which classifiers of whole texts have, and its config says no "
                f"`architectures`; write {wanted} there if it tells words apart, or {NEW_HEAD}"
            )

    def names(self) -> tuple[str, ...]:
        """What its outputs are called, in their order; LABEL_0, LABEL_1, ... where nobody named them.

        Numbers with gaps name the outputs in their order. Raises SpecError when config and weights disagree.
        """
        numbered = _numbered(self.settings)
        names = [f"LABEL_{place}" for place in range(self.outputs)]
        if len(numbered) == self.outputs:
            return tuple(numbered[number] for number in sorted(numbered))
        if all(name == f"LABEL_{number}" for number, name in numbered.items()):
            return tuple(names)
        if numbered and max(numbered) >= self.outputs:
            raise SpecError(
                f"{self.folder / 'config.json'}: `id2label` names {len(numbered)} classes, but the weights have "
                f"{self.outputs} outputs; name them all, from 0 to {self.outputs - 1}"
            )
        for number, name in numbered.items():
            names[number] = name
        return tuple(names)


_OTHER_PURPOSES: Final = (
    *("ForMultipleChoice", "ForQuestionAnswering", "ForPreTraining"),
    *("ForAudioFrameClassification", "ForXVector"),
)
"""Whose heads have tensors of the same names as a classifier's in some family, as those of classifiers have of each
other's."""


def _outputs(count: int) -> str:
    return f"has {count} output{'' if count == 1 else 's'}"


def _said(problem: Any) -> str:
    return f" and `problem_type: {problem}`" if problem else ""


def _numbered(settings: Mapping[str, Any]) -> dict[int, str]:
    """Output -> name, of `id2label`, or of `label2id` where the first is missing or says nothing."""
    forwards = numbered_names(settings.get("id2label")) or {}
    backwards = numbered_names(settings.get("label2id"), backwards=True) or {}
    says_nothing = all(name == f"LABEL_{number}" for number, name in forwards.items())
    return backwards if says_nothing and len(backwards) >= len(forwards) else forwards


def read_checkpoint(folder: Path, head: str = SEQUENCE) -> Checkpoint:
    """A folder whose model is wanted with this head. Raises SpecError when it is of no known family or its config
    cannot be read, IntegrityError when its weights are damaged."""
    check_model_folder(folder)
    settings = json.loads((folder / "config.json").read_bytes())
    family = family_of(str(settings["model_type"]), FAMILIES, where=str(folder))
    with config_errors(folder):
        config = config_in(folder)
    return Checkpoint(folder, config, settings, family, tensor_shapes(folder), head)


def load_model(
    checkpoint: Checkpoint,
    head: str,
    labels: Sequence[str],
    *,
    new_head: bool,
    outputs: int = 0,
    types: bool = False,
    image_size: int | None = None,
    audio_length: int | None = None,
    max_length: int = 0,
    positions: Extension | None = None,
) -> Any:
    """The model with this head (`anatomy.heads`), in fp32. A new head has an output for each label, or as
    many `outputs`, and starts the same way every time. With `types` rows are pairs, whose token types it is told; an
    `image_size` is that of the images that it is to read, `audio_length` the frames or samples of recordings;
    `positions` says how it is made to read texts of `max_length` tokens where it has no places for so many.

    Raises SpecError when weights are missing, of another size, left over or not finite.
    """
    names = dict(enumerate(labels or [f"LABEL_{place}" for place in range(outputs)]))
    _check_sizes(checkpoint, head)
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        with config_errors(checkpoint.folder):
            about: dict[str, Any] = {
                "num_labels": len(names),
                "id2label": names,
                "label2id": {name: i for i, name in names.items()},
                "problem_type": None,
            }
            model, info = pretrained(checkpoint.folder, head, **(about if names else {}))
        if types:  # the deployed graph is written so, wherever the model is loaded from
            model.config.two_texts = True
        _check_loaded(checkpoint, model, info, new_head=new_head)
        if new_head and checkpoint.has_head:
            _renew_head(model, checkpoint.dense)
    if positions:
        give_positions(model, checkpoint.family, max_length, positions)
    if audio_length:
        return at_length(model, audio_length)
    return at_size(model, image_size) if image_size else model


def _check_sizes(checkpoint: Checkpoint, head: str) -> None:
    """Raises SpecError for a config whose model is far larger than its weights: seen before so much memory is taken.
    Further differences are found, and named, when it is loaded."""
    with config_errors(checkpoint.folder), torch.device("meta"), quiet():
        asked = sum(parameter.numel() for parameter in empty_model(checkpoint.config, head).parameters())
    held = sum(math.prod(shape) for shape in checkpoint.shapes.values())
    if asked > 2 * held + _SLACK:
        raise SpecError(
            f"{checkpoint.folder / 'config.json'}: its sizes ask for {asked:,} parameters, and the weights beside it "
            f"are {held:,}; put the config there that the model was saved with"
        )


def _check_loaded(checkpoint: Checkpoint, model: Any, info: Mapping[str, Any], *, new_head: bool) -> None:
    folder, spared = checkpoint.folder, (*checkpoint.dense, *checkpoint.family.head_norms) if new_head else ()
    if head_of(model) == EMBEDDING:
        spared = ("pooler.",)
    wrong = sorted(key for key in info["missing_keys"] if not key.startswith(spared))
    wrong += [
        f"{entry[0]} {list(entry[1])} instead of {list(entry[2])}"
        for entry in info["mismatched_keys"]
        if not entry[0].startswith(spared)
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise SpecError(
            f"{folder}: {len(wrong)} weights do not fit the model's config: {', '.join(wrong[:_SHOWN])}{more}"
        )
    layers, others = f"{model.base_model_prefix}.", _other_stacks(checkpoint, model)
    left = [key for key in info["unexpected_keys"] if key.startswith(layers) and ".layer" in key]
    left = sorted(key for key in left if not key.removeprefix(layers).startswith(others))
    if left:
        raise SpecError(
            f"{folder}: {len(left)} weights of layers that its config does not have: {', '.join(left[:_SHOWN])}; put "
            "the config there that the model was saved with"
        )
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise SpecError(
            f"{folder}: {len(broken)} weights hold NaN or infinite values: {', '.join(broken[:_SHOWN])}; take a "
            "checkpoint from before its training diverged, or fetch it again"
        )


def _other_stacks(checkpoint: Checkpoint, model: Any) -> tuple[str, ...]:
    """How the names of weights begin that belong to stacks which the model goes without: the decoder of a Whisper."""
    known = READ.get(checkpoint.family.model_type)
    paths = [stack.path for stack in known.stacks] if known else []
    return tuple(f"{path.partition('.')[0]}." for path in paths if at(base_of(model), path) is None)


def _renew_head(model: Any, dense: Sequence[str]) -> None:
    """The layers above the encoder; a pooler belongs to that, and stays."""
    for path in dense:
        if not path.startswith(f"{model.base_model_prefix}."):
            linear = model.get_submodule(path)
            nn.init.normal_(linear.weight, std=float(getattr(model.config, "initializer_range", 0.02)))
            nn.init.zeros_(linear.bias)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's own bars and reports: a missing head is what fine-tuning is for."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if had_bars:
            transformers_logging.enable_progress_bar()
