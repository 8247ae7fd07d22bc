"""ALBERT (Lan et al. 2020): few layers, each computed several times, below narrow embeddings that are projected."""

from autocompress.families.family import Block, Family, Front, Stack

ALBERT = Family(
    model_type="albert",
    stacks=(
        Stack(
            name="layers",
            path="encoder.albert_layer_groups",
            order="post",
            shared="num_hidden_layers",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products={
                        "query": "albert_layers.0.attention.query",
                        "key": "albert_layers.0.attention.key",
                        "value": "albert_layers.0.attention.value",
                        "output": "albert_layers.0.attention.dense",
                    },
                    vectors=("albert_layers.0.attention.LayerNorm",),
                    counters={"num_attention_heads": "heads", "all_head_size": "channels"},
                ),
                Block(
                    name="feed_forward",
                    kind="feed_forward",
                    products={"up": "albert_layers.0.ffn", "down": "albert_layers.0.ffn_output"},
                    vectors=("albert_layers.0.full_layer_layer_norm",),
                ),
            ),
        ),
    ),
    fronts=(
        Front(
            name="embeddings",
            kind="embedding",
            tables=(
                "embeddings.word_embeddings",
                "embeddings.position_embeddings",
                "embeddings.token_type_embeddings",
            ),
            vectors=("embeddings.LayerNorm",),
            products=("encoder.embedding_hidden_mapping_in",),
        ),
    ),
    heads=("pooler",),
    reads_first=True,
)
