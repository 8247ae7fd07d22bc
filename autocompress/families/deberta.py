"""DeBERTa-v2 and -v3 (He et al. 2021, 2023): what is said and where are attended to apart. Relative positions are rows
of one table, projected by every layer's own products or, shared, by those of queries and keys."""

from autocompress.families.family import Block, Family, Front, Stack

DEBERTA = Family(
    model_type="deberta-v2",
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
                        "query": "attention.self.query_proj",
                        "key": "attention.self.key_proj",
                        "value": "attention.self.value_proj",
                        "output": "attention.output.dense",
                    },
                    optional={
                        "position_query": "attention.self.pos_query_proj",
                        "position_key": "attention.self.pos_key_proj",
                    },
                    vectors=("attention.output.LayerNorm",),
                    counters={"num_attention_heads": "heads", "all_head_size": "channels"},
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
            tables=(
                "embeddings.word_embeddings",
                "embeddings.position_embeddings",
                "embeddings.token_type_embeddings",
            ),
            vectors=("embeddings.LayerNorm",),
            products=("embeddings.embed_proj",),
        ),
    ),
    ends={"layers": ("encoder.rel_embeddings", "encoder.LayerNorm")},
    reads_first=True,
)
