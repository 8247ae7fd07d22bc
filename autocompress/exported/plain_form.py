"""The torch form of a folder as any transformers reads it, where a config of the model's family can say what was cut.

`from_pretrained(FOLDER)` of the task's auto class and `pipeline("text-classification", model=FOLDER)` then
load the compressed model without autocompress: `config.json` has its sizes, and `model.safetensors.index.json` says
that its tensors lie in `weights.safetensors`, so that nothing is stored twice. It computes in fp32, as the student did
before it was rounded to 8 bits or fewer: its answers are those of the file up to that rounding.

Whether a config can say it is tried: a model of the changed config must have these very tensors. None has them where
layers differ, or matrices are two factors. What tensors do not show is asked for: heads, which must be all there and of
their old size, as most configs derive one from the other; words, whose special ones are renumbered; kinds of layers;
attention of another form, and tokens that go no further, which no config can say. Where it cannot, the config stays
that of the uncompressed model, and tells `exported.adapter` how it was cut.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from autocompress.anatomy.heads import EMBEDDING, empty_model
from autocompress.core.parts import ModelParts
from autocompress.deploy.folder import INDEX, WEIGHTS
from autocompress.exported.adapter import KEY, is_cut

logger = logging.getLogger(__name__)

UNCUT: Final = "autocompress_uncut"
"""The key of `config.json` under which sizes of the uncompressed model stand that the compressed one has not."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": ("num_hidden_layers", "n_layers"),
    "channels": ("intermediate_size", "hidden_dim"),
    "hidden": ("hidden_size", "dim"),
}
_HEADS: Final = ("num_attention_heads", "n_heads")
_PROBLEMS: Final = {
    "multi-label": "multi_label_classification",
    "regression": "regression",
    "text-classification": "single_label_classification",
    "sentence-pairs": "single_label_classification",
}


def plain_config(
    config: Any, head: str, shape: ModelParts, weights: Mapping[str, Tensor], task: Mapping[str, Any]
) -> Any | None:
    """A config of the uncompressed model's family that says what is left of it, with the names of its answers; None
    where none can. `task` is what the manifest says of it."""
    if head == EMBEDDING or any(part.mixing and not part.mixing.is_usual for part in shape.blocks()):
        return None
    sizes = dict(_sizes(config, shape))
    found = copy.deepcopy(config)
    for name, value in sizes.items():
        setattr(found, name, value)
    if not _keeps_heads_and_words(config, shape) or _lists_layers(config, shape) or not _has(found, head, weights):
        return None
    setattr(
        found, UNCUT, {name: getattr(config, name) for name, value in sizes.items() if getattr(config, name) != value}
    )
    found.id2label = dict(enumerate(map(str, task["labels"]))) or found.id2label
    found.label2id = {label: number for number, label in found.id2label.items()}
    found.problem_type = _PROBLEMS.get(str(task["kind"]))
    return found


def uncut(config: Any) -> Any:
    """The config of the uncompressed model, by that of a folder."""
    found = copy.deepcopy(config)
    for name, value in (getattr(config, UNCUT, None) or {}).items():
        setattr(found, name, value)
    if is_cut(config):
        delattr(found, KEY)
    return found


def write_index(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Where transformers finds the tensors."""
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in weights.values())},
        "weight_map": dict.fromkeys(sorted(weights), WEIGHTS),
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _sizes(config: Any, shape: ModelParts) -> Iterator[tuple[str, int]]:
    """Names of the config with what is left; where layers differ the tensors tell that it is not so."""
    channels = [part.units["channels"] for part in shape.blocks() if "channels" in part.units]
    left = {
        "layers": shape.depth,
        "channels": channels[0] if channels else None,
        "hidden": shape.width,
    }
    for size, names in _NAMES.items():
        name = next((name for name in names if hasattr(config, name)), None)
        value = left[size]
        if name is not None and value is not None:
            yield name, value


def _keeps_heads_and_words(config: Any, shape: ModelParts) -> bool:
    """Whether all heads are there, of the size that a model of as many channels would give them, and all words."""
    name = next((name for name in _HEADS if hasattr(config, name)), None)
    count = getattr(config, name) if name else 0
    heads = {part.units["heads"] for part in shape.blocks() if "heads" in part.units}
    derived = getattr(config, "head_dim", None) or shape.width / max(count, 1)
    words = getattr(config, "vocab_size", shape.vocabulary) == shape.vocabulary or not shape.vocabulary
    return heads == {count} and shape.head_size == derived and words


def _lists_layers(config: Any, shape: ModelParts) -> bool:
    """Whether the config has an entry for each layer, and layers went: their kinds would be those of others."""
    name = next((name for name in _NAMES["layers"] if hasattr(config, name)), None)
    count = getattr(config, name) if name else 0
    listed = [value for value in config.to_dict().values() if isinstance(value, list) and len(value) == count]
    return bool(listed) and shape.depth != count


def _has(config: Any, head: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a model of the config has tensors of just these names and shapes; nothing is allocated for it."""
    try:
        with torch.device("meta"):
            model = empty_model(config, head)
    except Exception:  # sizes that its family refuses, or what it computes as it is made: there is no plain form
        logger.debug("no plain form", exc_info=True)
        return False
    lasting = model.state_dict().keys()
    named = dict(model.named_parameters())
    named |= {name: tensor for name, tensor in model.named_buffers() if name in lasting}
    return {name: tuple(tensor.shape) for name, tensor in named.items()} == {
        name: tuple(tensor.shape) for name, tensor in weights.items()
    }
