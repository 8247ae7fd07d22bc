"""ViT (Dosovitskiy et al. 2021), DeiT (Touvron et al. 2021) and DINOv2 (Oquab et al. 2023), whose layers scale what
they add channel by channel (LayerScale; Touvron et al. 2021b)."""

from collections.abc import Mapping
from typing import Final

from autocompress.families.family import Block, Counts, Family, Front, Stack, Writing

ATTENTION = {
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "output": "attention.o_proj",
}
HEADS: Final[Mapping[str, Counts]] = {"num_attention_heads": "heads"}
MLP = {"up": "mlp.fc1", "down": "mlp.fc2"}
LAYERS = Stack(
    name="layers",
    path="layers",
    order="pre",
    blocks=(
        Block(name="attention", kind="attention", products=ATTENTION, vectors=("layernorm_before",), counters=HEADS),
        Block(name="feed_forward", kind="feed_forward", products=MLP, vectors=("layernorm_after",)),
    ),
)
PATCHES = Front(
    name="patches",
    kind="patches",
    products=("embeddings.patch_embeddings.projection",),
    vectors=("embeddings.cls_token", "embeddings.distillation_token", "embeddings.mask_token"),
    tables=("embeddings.position_embeddings",),
)

VIT, DEIT = (
    Family(
        model_type=name,
        stacks=(LAYERS,),
        fronts=(PATCHES,),
        ends={"layers": ("layernorm",)},
        heads=("pooler.dense",),
        reads_first=True,
        writing=Writing(head=("classifier",)),
    )
    for name in ("vit", "deit")
)

DINOV2 = Family(
    model_type="dinov2",
    stacks=(
        Stack(
            name="layers",
            path="encoder.layer",
            order="pre",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products=ATTENTION,
                    vectors=("norm1", "layer_scale1"),
                    counters=HEADS,
                ),
                Block(name="feed_forward", kind="feed_forward", products=MLP, vectors=("norm2", "layer_scale2")),
            ),
        ),
    ),
    fronts=(PATCHES,),
    ends={"layers": ("layernorm",)},
)
