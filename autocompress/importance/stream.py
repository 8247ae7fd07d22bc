"""The criterion that is read from the residual stream itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from autocompress.anatomy import Anatomy
from autocompress.anatomy.calibration import Product, run
from autocompress.anatomy.scores import Scores
from autocompress.inputs.examples import Batch


def by_stream(anatomy: Anatomy, data: Sequence[Batch]) -> Scores:
    """How much each channel varies over real tokens where a block reads it, as a share of all channels; the mean over
    blocks, [hidden]."""
    read = [slot.module for layer in anatomy.layers for slot in (layer.of_attention.query, layer.of_feed_forward.up)]
    places = {str(place): module for place, module in enumerate(dict.fromkeys(read))}
    sums: dict[str, Tensor] = {}
    count = dict.fromkeys(places, 0)

    def see(place: str, values: Tensor) -> None:
        both = torch.stack([values.sum(0, dtype=torch.float64), values.square().sum(0, dtype=torch.float64)])
        sums[place] = sums[place] + both if place in sums else both
        count[place] += len(values)

    products = {place: Product(module, first_token=False) for place, module in places.items()}
    run(anatomy.model, products, [batch.inputs for batch in data], {}, see)
    shares = []
    for place in places:
        mean, square = sums[place] / count[place]
        variance = square - mean.square()
        shares.append((variance / variance.sum()).numpy())
    return np.asarray(np.mean(shares, axis=0), dtype=np.float64)
