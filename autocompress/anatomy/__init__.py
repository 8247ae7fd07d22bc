"""Where the layers, heads, channels and embeddings of a model are."""

from autocompress.anatomy.anatomy import Anatomy, is_settled
from autocompress.anatomy.bert import BERT
from autocompress.anatomy.distilbert import DISTILBERT
from autocompress.anatomy.electra import ELECTRA
from autocompress.anatomy.ernie import ERNIE
from autocompress.anatomy.family import Family
from autocompress.anatomy.refusing import family_of
from autocompress.anatomy.rembert import REMBERT
from autocompress.anatomy.roberta import CAMEMBERT, DATA2VEC, ROBERTA, XLM_ROBERTA

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (BERT, ROBERTA, DISTILBERT, XLM_ROBERTA, CAMEMBERT, DATA2VEC, ELECTRA, ERNIE, REMBERT)
}

__all__ = ["BERT", "DISTILBERT", "FAMILIES", "ROBERTA", "Anatomy", "Family", "family_of", "is_settled"]
