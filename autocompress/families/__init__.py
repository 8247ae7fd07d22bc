"""Families of transformers, one file for each kind of module tree.

To add one: write its `Family`, add a line here, and pass `tests/families`, which find every tensor of a live model; or
let a package of yours declare it (`core.extensions`).
"""

from collections.abc import Mapping
from typing import Final

from autocompress.core.extensions import Registry
from autocompress.families.albert import ALBERT
from autocompress.families.ast import AST
from autocompress.families.bert import BERT, CAMEMBERT, ELECTRA, ROBERTA, XLM_ROBERTA
from autocompress.families.deberta import DEBERTA
from autocompress.families.distilbert import DISTILBERT
from autocompress.families.eurobert import EUROBERT
from autocompress.families.family import Block, Family, Front, Order, Stack, Writing
from autocompress.families.gpt2 import GPT2
from autocompress.families.llama import LLAMA, QWEN2
from autocompress.families.marian import MARIAN
from autocompress.families.modernbert import MODERNBERT
from autocompress.families.mpnet import MPNET
from autocompress.families.t5 import T5
from autocompress.families.vit import DEIT, DINOV2, VIT
from autocompress.families.wav2vec2 import HUBERT, WAV2VEC2
from autocompress.families.whisper import WHISPER

_OURS: Final = (
    *(BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ELECTRA, DISTILBERT, MPNET, ALBERT, DEBERTA, MODERNBERT),
    EUROBERT,
    *(VIT, DEIT, DINOV2, AST, WAV2VEC2, HUBERT, WHISPER),
    *(GPT2, LLAMA, QWEN2, T5, MARIAN),
)
FAMILIES: Final[Mapping[str, Family]] = Registry(
    "families",
    _OURS,
    needs=("ends", "fronts", "heads", "model_type", "stacks"),
    name_of=lambda family: family.model_type,
)

__all__ = ["FAMILIES", "Block", "Family", "Front", "Order", "Stack", "Writing"]
