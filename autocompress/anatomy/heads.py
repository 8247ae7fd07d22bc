"""Live models by what stands behind their encoder: how one is loaded, and how an empty one is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

SEQUENCE: Final = "sequence"
"""The first token, through a pooler or not, and a dense layer with an output for each label."""

_CLASSES: Final[Mapping[str, Any]] = {SEQUENCE: AutoModelForSequenceClassification}
HEADS: Final = tuple(_CLASSES)


def config_of(settings: Mapping[str, Any]) -> Any:
    """The config object of settings as `to_dict` gives them."""
    return AutoConfig.for_model(**settings)


def config_in(folder: Path) -> Any:
    """That of a folder."""
    return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)


def empty_model(config: Any, head: str) -> Any:
    """A model with random weights, or with none that matter, ready to be used; nobody's random numbers move."""
    with torch.random.fork_rng():
        return _CLASSES[head].from_config(config).eval()


def pretrained(folder: Path, head: str, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """The model in fp32, and what the modelling library reports of its weights: missing, mismatched, unexpected."""
    model, info = _CLASSES[head].from_pretrained(
        str(folder),
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        **options,
    )
    return model, info
