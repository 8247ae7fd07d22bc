"""Texts of which some are padded, and what a model answers them: for operators that must leave padding alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.anatomy import Anatomy


def texts(length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask of three, of which two are padded."""
    ids = torch.randint(5, 90, (3, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[1, (length + 1) // 2 :] = 0
    mask[2, 1:] = 0
    return ids, mask


def logits(anatomy: Anatomy, ids: Tensor, mask: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        found: NDArray[np.float32] = anatomy.model(input_ids=ids, attention_mask=mask).logits.numpy()
    return found
