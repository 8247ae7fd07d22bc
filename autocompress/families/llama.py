"""LLaMA (Touvron et al. 2023) and what shares its modules: SmolLM2 is one, Qwen2 (Yang et al. 2024) has biases on
queries, keys and values. RMS norms, rotary positions, grouped keys, gated feed-forward blocks."""

from dataclasses import replace

from autocompress.families.family import Block, Family, Front, Stack

LAYERS = Stack(
    name="layers",
    path="layers",
    order="pre",
    head_size="head_dim",
    key_value_heads="num_key_value_heads",
    blocks=(
        Block(
            name="attention",
            kind="attention",
            products={
                "query": "self_attn.q_proj",
                "key": "self_attn.k_proj",
                "value": "self_attn.v_proj",
                "output": "self_attn.o_proj",
            },
            vectors=("input_layernorm",),
            counters={"num_key_value_groups": "queries"},
        ),
        Block(
            name="feed_forward",
            kind="gated",
            products={"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"},
            vectors=("post_attention_layernorm",),
        ),
    ),
)

LLAMA, QWEN2 = (
    Family(
        model_type=name,
        stacks=(replace(LAYERS, listed="layer_types" if name == "qwen2" else ""),),
        fronts=(Front(name="embeddings", kind="embedding", tables=("embed_tokens",)),),
        ends={"layers": ("norm",)},
    )
    for name in ("llama", "qwen2")
)
