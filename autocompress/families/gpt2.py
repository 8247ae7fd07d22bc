"""GPT-2 (Radford et al. 2019): queries, keys and values are one product."""

from autocompress.families.family import Block, Family, Front, Stack

GPT2 = Family(
    model_type="gpt2",
    stacks=(
        Stack(
            name="layers",
            path="h",
            order="pre",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products={"query+key+value": "attn.c_attn", "output": "attn.c_proj"},
                    vectors=("ln_1",),
                    counters={"num_heads": "heads", "split_size": "channels", "embed_dim": "channels"},
                ),
                Block(
                    name="feed_forward",
                    kind="feed_forward",
                    products={"up": "mlp.c_fc", "down": "mlp.c_proj"},
                    vectors=("ln_2",),
                ),
            ),
        ),
    ),
    fronts=(Front(name="embeddings", kind="embedding", tables=("wte", "wpe")),),
    ends={"layers": ("ln_f",)},
)
