"""EuroBERT (Boizard et al. 2025): LLaMA's layers in an encoder, where every position attends to all. RMS norms, rotary
positions, grouped keys, gated feed-forward blocks; its classifiers mean what they say of each token, unless told
otherwise."""

from autocompress.families.family import Family, Front, Writing
from autocompress.families.llama import LAYERS

EUROBERT = Family(
    model_type="eurobert",
    stacks=(LAYERS,),
    fronts=(Front(name="embeddings", kind="embedding", tables=("embed_tokens",)),),
    ends={"layers": ("norm",)},
    reads_first=True,
    writing=Writing(
        rotary="rotary_emb",
        head=("dense", "classifier"),
        head_bent="gelu",
        by_square=True,
    ),
)
