"""Where the layers, heads, channels and embeddings of a model are."""

from autocompress.anatomy.anatomy import Anatomy, is_settled
from autocompress.anatomy.bert import BERT
from autocompress.anatomy.distilbert import DISTILBERT
from autocompress.anatomy.family import Family
from autocompress.anatomy.refusing import family_of
from autocompress.anatomy.roberta import ROBERTA

FAMILIES: dict[str, Family] = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT)}

__all__ = ["BERT", "DISTILBERT", "FAMILIES", "ROBERTA", "Anatomy", "Family", "family_of", "is_settled"]
