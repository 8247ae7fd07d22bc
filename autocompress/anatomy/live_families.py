"""Families whose layers are other than BERT's: what their checkpoints are like. Where their parts lie, and whether they
have a written graph, stands in `autocompress.families`."""

from dataclasses import replace

from autocompress.anatomy.family import Family
from autocompress.anatomy.roberta import ROBERTA

MPNET = replace(ROBERTA, model_type="mpnet", like_bert=False)
"""Song et al. 2020: positions relative to each other, beside those of a table."""

DEBERTA = Family(
    model_type="deberta-v2",
    head=("pooler.dense", "classifier"),
    head_activation="gelu",
    activation=lambda config: str(config.hidden_act),
    first_position=lambda _: 0,
    counters=(),
    like_bert=False,
)
"""He et al. 2021, 2023: versions 2 and 3."""

ALBERT = replace(DEBERTA, model_type="albert", head=("classifier",))
"""Lan et al. 2020."""

MODERNBERT = replace(
    DEBERTA,
    model_type="modernbert",
    head=("head.dense", "classifier"),
    head_norms=("head.norm",),
    token_head=("head.dense", "classifier"),
)
"""Warner et al. 2024."""

EUROBERT = replace(DEBERTA, model_type="eurobert", head=("dense", "classifier"))
"""Boizard et al. 2025."""

VIT = Family(
    model_type="vit",
    head=("classifier",),
    head_activation="tanh",
    activation=lambda config: str(config.hidden_act),
    first_position=lambda _: 0,
    counters=(),
    like_bert=False,
    modality="image",
)
"""Dosovitskiy et al. 2021."""

DEIT = replace(VIT, model_type="deit")
"""Touvron et al. 2021."""

DINOV2 = replace(VIT, model_type="dinov2")
"""Oquab et al. 2023."""

WHISPER = Family(
    model_type="whisper",
    head=("projector", "classifier"),
    head_activation="tanh",
    activation=lambda config: str(config.activation_function),
    first_position=lambda _: 0,
    counters=(),
    like_bert=False,
    modality="audio",
)
"""Radford et al. 2022; its encoder alone."""

WAV2VEC2 = replace(WHISPER, model_type="wav2vec2", activation=lambda config: str(config.hidden_act))
"""Baevski et al. 2020."""

HUBERT = replace(WAV2VEC2, model_type="hubert")
"""Hsu et al. 2021."""

AST = replace(
    WAV2VEC2,
    model_type="audio-spectrogram-transformer",
    head=("classifier.dense",),
    head_norms=("classifier.layernorm",),
)
"""Gong et al. 2021."""
