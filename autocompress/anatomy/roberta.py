"""RoBERTa (Liu et al. 2019): positions are counted from the row after the padding token's."""

from autocompress.anatomy.family import Family

ROBERTA = Family(
    model_type="roberta",
    head=("classifier.dense", "classifier.out_proj"),
    head_activation="tanh",
    activation=lambda config: str(config.hidden_act),
    first_position=lambda config: int(config.pad_token_id) + 1,
    counters=(("num_attention_heads", "heads"), ("all_head_size", "channels")),
)
