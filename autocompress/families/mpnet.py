"""MPNet (Song et al. 2020): BERT's layers under other names, and one table of relative positions for all of them."""

from autocompress.families.family import Block, Family, Front, Stack

MPNET = Family(
    model_type="mpnet",
    stacks=(
        Stack(
            name="layers",
            path="encoder.layer",
            order="post",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products={
                        "query": "attention.attn.q",
                        "key": "attention.attn.k",
                        "value": "attention.attn.v",
                        "output": "attention.attn.o",
                    },
                    vectors=("attention.LayerNorm",),
                    counters={"num_attention_heads": "heads", "all_head_size": "channels"},
                    position_bias="given",
                ),
                Block(
                    name="feed_forward",
                    kind="feed_forward",
                    products={"up": "intermediate.dense", "down": "output.dense"},
                    vectors=("output.LayerNorm",),
                ),
            ),
        ),
    ),
    fronts=(
        Front(
            name="embeddings",
            kind="embedding",
            tables=("embeddings.word_embeddings", "embeddings.position_embeddings"),
            vectors=("embeddings.LayerNorm",),
        ),
    ),
    ends={"layers": ("encoder.relative_attention_bias",)},
    heads=("pooler.dense",),
    reads_first=True,
)
