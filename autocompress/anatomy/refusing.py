"""Why a model of another family cannot be taken, in words.

What a family needs is named, so that whoever reads it knows whether to wait, to help or to take another checkpoint.
Another `model_type` in a config is never the way: the weights would be read into a model that computes otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autocompress.anatomy.family import Family
from autocompress.errors import SpecError

_RELATIVE = "positions relative to each other in its attention"
_ROTARY = "rotary positions in its attention"
_PRE_NORM = "normalisation before each block instead of after it"
_GATED = "a gated feed-forward block of three products"
_DECODER = "a decoder, in which tokens see earlier ones alone, and a head on its last token"
_OTHER_DATA = "inputs other than the tokens of one text"

_MISSING: Final[Mapping[str, str]] = {
    "big_bird": "attention to blocks of tokens instead of all",
    "bigbird_pegasus": "attention to blocks of tokens instead of all",
    "canine": "characters that are read by hashes and shortened between layers",
    "convbert": "convolutions beside its attention heads",
    "deberta": _RELATIVE,
    "esm": f"{_PRE_NORM} and {_ROTARY}",
    "flaubert": "layers of its own form, and a head that sums up a text in several ways",
    "fnet": "Fourier transforms in place of attention",
    "funnel": f"{_RELATIVE}, and layers that pool tokens",
    "gpt2": _DECODER,
    "gpt_neox": _DECODER,
    "ibert": "its own integer arithmetic in place of plain products",
    "layoutlm": _OTHER_DATA,
    "layoutlmv3": _OTHER_DATA,
    "led": "local attention windows, and a decoder",
    "lilt": _OTHER_DATA,
    "llama": _DECODER,
    "longformer": "local attention windows",
    "luke": f"entities beside words ({_OTHER_DATA})",
    "megatron-bert": _PRE_NORM,
    "mobilebert": "bottlenecks around each layer, and normalisation without means",
    "nomic_bert": f"{_ROTARY} and {_GATED}",
    "nystromformer": "an approximation of attention",
    "qwen2": _DECODER,
    "reformer": "attention by hashes",
    "roberta-prelayernorm": _PRE_NORM,
    "roc_bert": "tables of the shapes and sounds of characters",
    "roformer": _ROTARY,
    "squeezebert": "grouped convolutions in place of products",
    "t5": f"an encoder with a decoder, and {_RELATIVE}",
    "xlm": "layers of its own form, and a head that sums up a text in several ways",
    "xlm-roberta-xl": _PRE_NORM,
    "xlnet": f"{_RELATIVE}, and attention in two streams",
    "xmod": "adapters for each language in its layers",
}
"""What the anatomy and the written graph lack for a family of sequence classifiers."""

_UNKNOWN = (
    "a description of where its parts are, and layers of multi-head attention to all tokens and a feed-forward block "
    "of two products, each followed by a normalisation, above a table of absolute positions"
)


def family_of(model_type: str, families: Mapping[str, Family], *, where: str = "model") -> Family:
    """Raises SpecError naming what is missing for a family that is not among these."""
    if model_type in families:
        return families[model_type]
    missing = _MISSING.get(model_type, _UNKNOWN)
    raise SpecError(
        f"{where}: no anatomy for the family {model_type!r}: it would need {missing} (families that are known: "
        f"{', '.join(sorted(families))}); take a checkpoint of one of these"
    )
