"""DistilBERT (Sanh et al. 2019): no token types, no pooler, its own names."""

from autocompress.anatomy.family import Family

DISTILBERT = Family(
    model_type="distilbert",
    head=("pre_classifier", "classifier"),
    head_activation="relu",
    activation=lambda config: str(config.activation),
    first_position=lambda _: 0,
    counters=(("n_heads", "heads"), ("dim", "channels")),
)
