"""BERT (Devlin et al. 2019), and MiniLM and other models of its class."""

from autocompress.anatomy.family import Family

BERT = Family(
    model_type="bert",
    head=("bert.pooler.dense", "classifier"),
    head_activation="tanh",
    activation=lambda config: str(config.hidden_act),
    first_position=lambda _: 0,
    counters=(("num_attention_heads", "heads"), ("all_head_size", "channels")),
)
