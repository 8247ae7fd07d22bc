"""RoBERTa (Liu et al. 2019) and what is built like it: positions are counted from the row after the padding token's."""

from dataclasses import replace

from autocompress.anatomy.family import Family

ROBERTA = Family(
    model_type="roberta",
    head=("classifier.dense", "classifier.out_proj"),
    head_activation="tanh",
    activation=lambda config: str(config.hidden_act),
    first_position=lambda config: int(config.pad_token_id) + 1,
    counters=(("num_attention_heads", "heads"), ("all_head_size", "channels")),
)
XLM_ROBERTA = replace(ROBERTA, model_type="xlm-roberta")
"""Conneau et al. 2020, for a hundred languages."""
CAMEMBERT = replace(ROBERTA, model_type="camembert")
"""Martin et al. 2020, for French."""
DATA2VEC = replace(ROBERTA, model_type="data2vec-text")
"""Baevski et al. 2022."""
