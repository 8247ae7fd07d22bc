"""Whisper (Radford et al. 2022): two convolutions over a spectrogram, an encoder, and a decoder that attends to it."""

from collections.abc import Mapping
from typing import Final

from autocompress.families.family import Block, Counts, Family, Front, Stack

HEADS: Final[Mapping[str, Counts]] = {"num_heads": "heads", "embed_dim": "channels"}


def attention(path: str) -> dict[str, str]:
    return {
        "query": f"{path}.q_proj",
        "key": f"{path}.k_proj",
        "value": f"{path}.v_proj",
        "output": f"{path}.out_proj",
    }


SELF = Block(
    name="attention",
    kind="attention",
    products=attention("self_attn"),
    vectors=("self_attn_layer_norm",),
    counters=HEADS,
)
CROSS = Block(
    name="cross_attention",
    kind="cross_attention",
    products=attention("encoder_attn"),
    vectors=("encoder_attn_layer_norm",),
    counters=HEADS,
)
FEED_FORWARD = Block(
    name="feed_forward",
    kind="feed_forward",
    products={"up": "fc1", "down": "fc2"},
    vectors=("final_layer_norm",),
)

WHISPER = Family(
    model_type="whisper",
    stacks=(
        Stack(
            name="encoder",
            path="encoder.layers",
            order="pre",
            heads="encoder_attention_heads",
            masked_by="",  # frames are masked nowhere
            blocks=(SELF, FEED_FORWARD),
        ),
        Stack(
            name="decoder",
            path="decoder.layers",
            order="pre",
            heads="decoder_attention_heads",
            masked_by="decoder_attention_mask",
            blocks=(SELF, CROSS, FEED_FORWARD),
        ),
    ),
    fronts=(
        Front(
            name="encoder.convolutions",
            kind="conv_front",
            stack="encoder",
            products=("encoder.conv1", "encoder.conv2"),
            strides=(1, 2),
            tables=("encoder.embed_positions",),
        ),
        Front(
            name="decoder.embeddings",
            kind="embedding",
            stack="decoder",
            tables=("decoder.embed_tokens", "decoder.embed_positions"),
        ),
    ),
    ends={"encoder": ("encoder.layer_norm",), "decoder": ("decoder.layer_norm",)},
    heads=("projector", "classifier"),  # of the classifier, which has an encoder and no base model
)
