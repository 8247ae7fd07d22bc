"""ModernBERT (Warner et al. 2024): pre-norm, no biases, rotary positions, gated feed-forward blocks; most layers
attend to their neighbourhood alone."""

from autocompress.families.family import Block, Family, Front, Stack, Writing

MODERNBERT = Family(
    model_type="modernbert",
    stacks=(
        Stack(
            name="layers",
            path="layers",
            order="pre",
            blocks=(
                Block(
                    name="attention",
                    kind="attention",
                    products={"query+key+value": "attn.Wqkv", "output": "attn.Wo"},
                    vectors=("attn_norm",),
                ),
                Block(
                    name="feed_forward",
                    kind="gated",
                    products={"up+gate": "mlp.Wi", "down": "mlp.Wo"},
                    vectors=("mlp_norm",),
                ),
            ),
        ),
    ),
    fronts=(
        Front(
            name="embeddings",
            kind="embedding",
            tables=("embeddings.tok_embeddings",),
            vectors=("embeddings.norm",),
        ),
    ),
    ends={"layers": ("final_norm",)},
    reads_first=True,
    writing=Writing(
        activation="hidden_activation",
        rotary="rotary_emb",
        head=("head.dense", "classifier"),
        head_activation="classifier_activation",
        head_norm="head.norm",
    ),
)
