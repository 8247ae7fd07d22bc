"""DistilBERT (Sanh et al. 2019)."""

from autocompress.families.family import Block, Family, Front, Stack

DISTILBERT = Family(
    model_type="distilbert",
    stacks=(
        Stack(
            name="layers",
            path="transformer.layer",
            order="post",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products={
                        "query": "attention.q_lin",
                        "key": "attention.k_lin",
                        "value": "attention.v_lin",
                        "output": "attention.out_lin",
                    },
                    vectors=("sa_layer_norm",),
                    counters={"n_heads": "heads", "dim": "channels"},
                ),
                Block(
                    name="feed_forward",
                    kind="feed_forward",
                    products={"up": "ffn.lin1", "down": "ffn.lin2"},
                    vectors=("output_layer_norm",),
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
    reads_first=True,
)
