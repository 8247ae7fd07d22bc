"""The Audio Spectrogram Transformer (Gong et al. 2021): DeiT over the patches of a log-mel spectrogram. Its head reads
the mean of the two tokens before them."""

from autocompress.families.family import Family, Front
from autocompress.families.vit import LAYERS

AST = Family(
    model_type="audio-spectrogram-transformer",
    stacks=(LAYERS,),
    fronts=(
        Front(
            name="patches",
            kind="patches",
            products=("embeddings.patch_embeddings.projection",),
            vectors=("embeddings.cls_token", "embeddings.distillation_token"),
            tables=("embeddings.position_embeddings",),
        ),
    ),
    ends={"layers": ("layernorm",)},
    reads="audio",
)
