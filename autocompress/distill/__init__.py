"""Training: the loop, the losses."""

from autocompress.distill.losses import distillation_loss
from autocompress.distill.training import CHECKPOINT, Progress, Trained, best_weights, bf16_pays, predict, train

__all__ = ["CHECKPOINT", "Progress", "Trained", "best_weights", "bf16_pays", "distillation_loss", "predict", "train"]
