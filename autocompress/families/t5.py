"""T5 (Raffel et al. 2020) and T5 v1.1, whose feed-forward blocks are gated: relative positions in the first layer's
scores, RMS norms, no biases, one table for both stacks."""

from collections.abc import Mapping
from typing import Final

from autocompress.families.family import Block, Counts, Family, Front, Stack

COUNTERS: Final[Mapping[str, Counts]] = {"n_heads": "heads", "inner_dim": "channels"}


def attention(path: str) -> dict[str, str]:
    return {"query": f"{path}.q", "key": f"{path}.k", "value": f"{path}.v", "output": f"{path}.o"}


def feed_forward(place: int) -> tuple[Block, Block]:
    """Plain, as in T5, or gated, as in T5 v1.1: a model has one of them."""
    inside, norms = f"layer.{place}.DenseReluDense", (f"layer.{place}.layer_norm",)
    plain = {"up": f"{inside}.wi", "down": f"{inside}.wo"}
    gated = {"gate": f"{inside}.wi_0", "up": f"{inside}.wi_1", "down": f"{inside}.wo"}
    return (
        Block(name="feed_forward", kind="feed_forward", products=plain, vectors=norms),
        Block(name="feed_forward", kind="gated", products=gated, vectors=norms),
    )


BIAS = "block.0.layer.0.SelfAttention.relative_attention_bias"
SELF = Block(
    name="attention",
    kind="attention",
    products=attention("layer.0.SelfAttention"),
    vectors=("layer.0.layer_norm",),
    counters=COUNTERS,
    position_bias="found",
    bias_table="relative_attention_bias",
)
CROSS = Block(
    name="cross_attention",
    kind="cross_attention",
    products=attention("layer.1.EncDecAttention"),
    vectors=("layer.1.layer_norm",),
    counters=COUNTERS,
    position_bias="found",
)

T5 = Family(
    model_type="t5",
    stacks=(
        Stack(
            name="encoder",
            path="encoder.block",
            order="pre",
            heads="num_heads",
            head_size="d_kv",
            blocks=(SELF, *feed_forward(1)),
        ),
        Stack(
            name="decoder",
            path="decoder.block",
            order="pre",
            masked_by="decoder_attention_mask",
            memory_masked_by="attention_mask",
            heads="num_heads",
            head_size="d_kv",
            blocks=(SELF, CROSS, *feed_forward(2)),
        ),
    ),
    fronts=(Front(name="embeddings", kind="embedding", tables=("shared",)),),
    ends={
        "encoder": ("encoder.final_layer_norm", f"encoder.{BIAS}"),
        "decoder": ("decoder.final_layer_norm", f"decoder.{BIAS}"),
    },
    heads=("lm_head",),  # which stands beside the stacks, not around a base model
)
