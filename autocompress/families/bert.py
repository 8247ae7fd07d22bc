"""BERT (Devlin et al. 2019) and what shares its modules: RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020),
CamemBERT (Martin et al. 2020), ELECTRA (Clark et al. 2020), whose small ones project narrow embeddings."""

from autocompress.families.family import Block, Family, Front, Stack

LAYERS = Stack(
    name="layers",
    path="encoder.layer",
    order="post",
    blocks=(
        Block(
            name="attention",
            kind="attention",
            products={
                "query": "attention.self.query",
                "key": "attention.self.key",
                "value": "attention.self.value",
                "output": "attention.output.dense",
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
)
EMBEDDINGS = Front(
    name="embeddings",
    kind="embedding",
    tables=(
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    ),
    vectors=("embeddings.LayerNorm",),
    products=("embeddings_project",),
)

BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ELECTRA = (
    Family(model_type=name, stacks=(LAYERS,), fronts=(EMBEDDINGS,), heads=("pooler.dense",), reads_first=True)
    for name in ("bert", "roberta", "xlm-roberta", "camembert", "electra")
)
