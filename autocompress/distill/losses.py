"""What a model is trained on."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autocompress.core.spec import DistillationSpec


def distillation_loss(logits: Tensor, teacher: Tensor, labels: Tensor, spec: DistillationSpec) -> Tensor:
    """Cross-entropy with the teacher's softened answers, and with the true labels by `hard_weight`.

    `logits`, `teacher` [texts, classes], `labels` [texts]. The soft part is the Kullback-Leibler divergence at
    temperature T times T^2, so that its gradients keep their size (Hinton et al. 2015, section 2).
    """
    soft = functional.kl_div(
        functional.log_softmax(logits.float() / spec.temperature, dim=-1),
        functional.log_softmax(teacher.float() / spec.temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    hard = functional.cross_entropy(logits.float(), labels)
    return (1 - spec.hard_weight) * spec.temperature**2 * soft + spec.hard_weight * hard
