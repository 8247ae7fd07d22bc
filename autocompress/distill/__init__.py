"""Training: the loop, the losses, the texts."""

from autocompress.distill.losses import distillation_loss
from autocompress.distill.training import CHECKPOINT, Progress, Trained, best_weights, bf16_pays, predict, train
from autocompress.distill.transfer import joined, transfer_texts

__all__ = [
    "CHECKPOINT",
    "Progress",
    "Trained",
    "best_weights",
    "bf16_pays",
    "distillation_loss",
    "joined",
    "predict",
    "train",
    "transfer_texts",
]
