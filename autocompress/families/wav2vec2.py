"""wav2vec 2.0 (Baevski et al. 2020) and HuBERT (Hsu et al. 2021): convolutions over sound, and one more for
positions."""

from collections.abc import Mapping
from typing import Final

from autocompress.families.family import Block, Counts, Family, Front, Stack, Writing

ATTENTION = {
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "output": "attention.out_proj",
}
HEADS: Final[Mapping[str, Counts]] = {"num_heads": "heads", "embed_dim": "channels"}
LAYERS = Stack(
    name="layers",
    path="encoder.layers",
    order="post",
    blocks=(
        Block(name="attention", kind="attention", products=ATTENTION, vectors=("layer_norm",), counters=HEADS),
        Block(
            name="feed_forward",
            kind="feed_forward",
            products={"up": "feed_forward.intermediate_dense", "down": "feed_forward.output_dense"},
            vectors=("final_layer_norm",),
        ),
    ),
)
FRONT = Front(
    name="convolutions",
    kind="conv_front",
    strides="conv_stride",
    products=(
        "feature_extractor.conv_layers.*.conv",
        "feature_projection.projection",
        "encoder.pos_conv_embed.conv",
    ),
    vectors=(
        "masked_spec_embed",
        "feature_extractor.conv_layers.*.layer_norm",
        "feature_projection.layer_norm",
        "encoder.layer_norm",
    ),
)

WRITING = Writing(pre_norm="do_stable_layer_norm", head=("projector", "classifier"))

WAV2VEC2, HUBERT = (
    Family(model_type=name, stacks=(LAYERS,), fronts=(FRONT,), writing=WRITING) for name in ("wav2vec2", "hubert")
)
