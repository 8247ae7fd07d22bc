"""The best two factors of a weight, for what comes out of it on texts."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from autocompress.anatomy.factored import Factors
from autocompress.anatomy.moments import Moments

_UNSEEN: Final = 0.01
"""Of the mean variance, what is added to that of every direction: texts are few, and have not shown all there is."""


def best_factors(weight: Tensor, bias: Tensor | None, seen: Moments | None, *, rank: int) -> Factors:
    """Of a weight W [outputs, inputs]: with U [outputs, rank] the directions in which W x varies most, U' W and U lose
    least of W x in the mean square of any two factors, and the mean of what is lost goes into the bias, where there is
    one. Without texts every direction of x counts alike.

    What comes out is of lower rank than the weights are (Yu and Wu 2023, "Compressing transformers: features are
    low-rank, but weights are not!"); the same follows from the singular values of W times a root of the inputs'
    covariance (Wang et al. 2025, "SVD-LLM", section 3.1).
    """
    directions = _directions(weight, bias, seen)[:, :rank].contiguous()
    first = directions.T @ weight
    if bias is not None and seen is not None:
        mean = weight @ seen.mean.to(weight.dtype)
        bias = bias + mean - directions @ (directions.T @ mean)
    return Factors(first, directions, bias)


def _directions(weight: Tensor, bias: Tensor | None, seen: Moments | None) -> Tensor:
    """[outputs, min(outputs, inputs)], that of most variance first."""
    found: Tensor
    if seen is None:
        found, _, _ = torch.linalg.svd(weight, full_matrices=False)
        return found
    centre = weight @ seen.mean.to(weight.dtype) if seen.of_outputs else seen.mean.to(weight.dtype)
    spread = seen.covariance.to(weight.dtype)
    if bias is None:  # nothing takes up the mean, so it has to be kept too
        spread = spread + torch.outer(centre, centre)
    spread = spread + _UNSEEN * spread.diagonal().mean() * torch.eye(len(spread), dtype=spread.dtype)
    variances, found = torch.linalg.eigh(spread)
    if seen.of_outputs:
        return found.flip(1)
    found, _, _ = torch.linalg.svd(weight @ (found * variances.clamp(min=0).sqrt()), full_matrices=False)
    return found
