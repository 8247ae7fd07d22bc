"""Training: the loop, the losses, the texts."""

from autocompress.distill.features import Features, recorded
from autocompress.distill.losses import (
    attention_map_loss,
    distillation_loss,
    hidden_state_loss,
    relation_loss,
)
from autocompress.distill.mapping import layer_map
from autocompress.distill.objective import Objective
from autocompress.distill.training import (
    AWARE,
    CHECKPOINT,
    Progress,
    Trained,
    answers,
    bf16_pays,
    keep_untrained,
    kept_scores,
    kept_weights,
    predict,
    seconds_of_steps,
    train,
)
from autocompress.distill.transfer import joined, transfer_texts

__all__ = [
    "AWARE",
    "CHECKPOINT",
    "Features",
    "Objective",
    "Progress",
    "Trained",
    "answers",
    "attention_map_loss",
    "keep_untrained",
    "kept_scores",
    "kept_weights",
    "bf16_pays",
    "distillation_loss",
    "hidden_state_loss",
    "joined",
    "layer_map",
    "predict",
    "seconds_of_steps",
    "recorded",
    "relation_loss",
    "train",
    "transfer_texts",
]
