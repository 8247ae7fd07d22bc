"""Where the layers, heads, channels and embeddings of a model are."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autocompress.anatomy.anatomy import Anatomy, is_settled
from autocompress.anatomy.bert import BERT
from autocompress.anatomy.calibration import Batches
from autocompress.anatomy.distilbert import DISTILBERT
from autocompress.anatomy.electra import ELECTRA
from autocompress.anatomy.ernie import ERNIE
from autocompress.anatomy.family import Family
from autocompress.anatomy.live_anatomy import LiveAnatomy
from autocompress.anatomy.live_families import (
    ALBERT,
    AST,
    DEBERTA,
    DEIT,
    DINOV2,
    EUROBERT,
    HUBERT,
    MODERNBERT,
    MPNET,
    VIT,
    WAV2VEC2,
    WHISPER,
)
from autocompress.anatomy.refusing import family_of
from autocompress.anatomy.rembert import REMBERT
from autocompress.anatomy.roberta import CAMEMBERT, DATA2VEC, ROBERTA, XLM_ROBERTA

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        *(BERT, ROBERTA, DISTILBERT, XLM_ROBERTA, CAMEMBERT, DATA2VEC, ELECTRA, ERNIE, REMBERT),
        *(ALBERT, DEBERTA, EUROBERT, MODERNBERT, MPNET),
        *(VIT, DEIT, DINOV2),
        *(WHISPER, WAV2VEC2, HUBERT, AST),
    )
}


def is_like_bert(family: str) -> bool:
    """Whether layers of a family are those of BERT, so that a profile of their sizes alone tells their time."""
    return family not in FAMILIES or FAMILIES[family].like_bert


def anatomy_of(model: Any, *, texts: Batches = (), settled: Mapping[str, Tensor] | None = None) -> Anatomy:
    """The anatomy of a model of any family that is known. Raises SpecError as `Anatomy` does."""
    family = FAMILIES.get(str(model.config.model_type))
    form = Anatomy if family is None or family.like_bert else LiveAnatomy
    return form(model, FAMILIES, texts=texts, settled=settled)


__all__ = [
    "BERT",
    "DISTILBERT",
    "FAMILIES",
    "ROBERTA",
    "Anatomy",
    "Family",
    "LiveAnatomy",
    "anatomy_of",
    "family_of",
    "is_settled",
    "is_like_bert",
]
