"""Live models by what stands behind their encoder: how one is loaded, and how an empty one is made."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from autocompress.anatomy.family import Family
from autocompress.anatomy.inputs import (
    audio_length,
    image_positions,
    image_sides,
    patch_sides,
    reads_wave,
    sound_patches,
)
from autocompress.anatomy.weights import Reads
from autocompress.core.audio_inputs import SAMPLES, SOUND, SPECTRUM
from autocompress.core.image_inputs import PIXELS

SEQUENCE: Final = "sequence"
"""The first token, through a pooler or not, and a dense layer with an output for each label."""

EMBEDDING: Final = "embedding"
"""The mean of the last layer over tokens, brought to length 1."""

TOKENS: Final = "tokens"
"""A dense layer behind every token, with an output for each tag."""

IMAGE: Final = "image"
"""What an image classifier of its family reads: the first position, or the mean over patches beside it."""

AUDIO: Final = "audio"
"""What an audio classifier of its family reads: the mean over time, or the tokens before it."""

_MAKERS: Final[Mapping[str, Any]] = {
    SEQUENCE: AutoModelForSequenceClassification,
    EMBEDDING: AutoModel,
    TOKENS: AutoModelForTokenClassification,
    IMAGE: AutoModelForImageClassification,
    AUDIO: AutoModelForAudioClassification,
}


def auto_class(head: str) -> str:
    """The name of the class by which transformers loads such a model."""
    return str(_MAKERS[head].__name__)


_READS: Final[Mapping[str, Reads]] = {EMBEDDING: "mean", TOKENS: "each"}


_OF_THE_WHOLE: Final = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")
"""How the modelling library calls classifiers that do not answer position by position."""


class MeanPooled(nn.Module):
    """An encoder whose output is the mean over its tokens, of length 1: `logits` [texts, hidden]."""

    base_model_prefix = "encoder"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **more: Any
    ) -> SequenceClassifierOutput:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        seen = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types, **more)
        hidden, mask = seen.last_hidden_state, attention_mask[..., None].to(seen.last_hidden_state.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return SequenceClassifierOutput(
            logits=nn.functional.normalize(mean, dim=-1), hidden_states=seen.hidden_states, attentions=seen.attentions
        )

    def set_attn_implementation(self, name: str) -> None:
        self.encoder.set_attn_implementation(name)


def head_of(model: nn.Module) -> str:
    """What stands behind the encoder of a live model."""
    if isinstance(model, MeanPooled):
        return EMBEDDING
    if getattr(model, "main_input_name", "") == PIXELS:
        return IMAGE
    if getattr(model, "main_input_name", "") in (SPECTRUM, SOUND):
        return AUDIO
    return TOKENS if type(model).__name__.endswith("ForTokenClassification") else SEQUENCE


def reads_of(model: nn.Module) -> Reads:
    """What of the last layer its head reads."""
    return _READS.get(head_of(model), "first")


def dense_of(family: Family, head: str) -> tuple[str, ...]:
    """The dense layers of a head in models of a family, by dotted path, first to last."""
    return {EMBEDDING: (), TOKENS: family.token_head}.get(head, family.head)


def reads_first_alone(model: nn.Module) -> bool:
    """Whether it is a classifier of a text or an image as a whole that reads one position, where its family does."""
    return is_of_the_whole(model) and getattr(model.config, "classifier_pooling", "cls") in ("cls", "bos")


def is_of_the_whole(model: nn.Module) -> bool:
    """Whether it is a classifier of a text, an image or a sound as a whole."""
    return type(model).__name__.endswith(_OF_THE_WHOLE)


def _pooled(encoder: Any) -> MeanPooled:
    """A pooler that belongs to another head is left out."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return MeanPooled(encoder)


def config_of(settings: Mapping[str, Any]) -> Any:
    """The config object of settings as `to_dict` gives them."""
    return AutoConfig.for_model(**settings)


def config_in(folder: Path) -> Any:
    """That of a folder."""
    return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)


def empty_model(config: Any, head: str) -> Any:
    """A model with random weights, or with none that matter, ready to be used; nobody's random numbers move."""
    with torch.random.fork_rng():
        made = _MAKERS[head].from_config(config)
        return (_pooled(made) if head == EMBEDDING else made).eval()


_BY_CHANCE: Final[Mapping[str, Any]] = {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}
"""What models of sounds leave out at random while they are trained: whole layers, and stretches of time by numpy's
random numbers, which nobody seeds. A teacher is trained without."""


def pretrained(folder: Path, head: str, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """The model in fp32, and what the modelling library reports of its weights: missing, mismatched, unexpected."""
    if head == AUDIO:
        config = config_in(folder)
        options |= {name: value for name, value in _BY_CHANCE.items() if hasattr(config, name)}
    model, info = _MAKERS[head].from_pretrained(
        str(folder),
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        **options,
    )
    return (_pooled(model), info) if head == EMBEDDING else (model, info)


_POSITIONS: Final = ("embeddings.position_embeddings", "encoder.embed_positions.weight")


def at_size(model: Any, size: int) -> Any:
    """The image classifier for images of `size` x `size` pixels: its table of positions is interpolated (bicubic, as
    its family does at another size), all else is taken over. The model itself where that is its size."""
    config = copy.deepcopy(model.config)
    before = image_sides(config)
    if before == (size, size):
        return model
    (rows, columns), special = patch_sides(config), image_positions(config, (0, 0))
    config.image_size = size
    with torch.random.fork_rng():
        other = type(model)(config)
    state = model.state_dict()
    name = next(name for name in state if name.endswith(_POSITIONS))
    table = state[name]
    grid = table[:, special:].reshape(1, before[0] // rows, before[1] // columns, -1).permute(0, 3, 1, 2)
    wanted = (size // rows, size // columns)
    found = nn.functional.interpolate(grid.float(), size=wanted, mode="bicubic", align_corners=False)
    state[name] = torch.cat([table[:, :special], found.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)
    other.load_state_dict(state)
    return other.train(model.training)


def at_length(model: Any, length: int) -> Any:
    """The classifier for recordings of so many frames, or samples (`inputs.audio_length`), no more than it was made
    for: of its table of positions the first ones stay. The model itself where that is its length."""
    if reads_wave(model.config):
        setattr(model.config, SAMPLES, length)
        return model
    if audio_length(model.config) == length:
        return model
    config = copy.deepcopy(model.config)
    state = model.state_dict()
    name = next(name for name in state if name.endswith(_POSITIONS))
    if hasattr(config, "max_source_positions"):
        config.max_source_positions = length // 2
        state[name] = state[name][: length // 2]
    else:
        (bands, times), table = sound_patches(config), state[name]
        config.max_length = length
        grid = table[:, -bands * times :].unflatten(1, (bands, times))[:, :, : sound_patches(config)[1]]
        state[name] = torch.cat([table[:, : -bands * times], grid.flatten(1, 2)], dim=1)
    with torch.random.fork_rng():
        other = type(model)(config)
    other.load_state_dict(state)
    return other.train(model.training)
