"""A small ViT for small images, trained from nothing within seconds, as a checkpoint like any other.

For where there is no model at hand and no network to fetch one from. It is no more than that: a network of convolutions
would learn as much from so few images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from autocompress.assets import readable_alike
from autocompress.inputs.image_reading import SETTINGS, preprocessing_in, preprocessing_of, read
from autocompress.tasks.image_loading import PLAIN

LAYERS: Final = 6
_SIZES: Final = {
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "patch_size": 4,
    "initializer_range": 0.1,  # at the usual 0.02 so narrow a network learns nothing in its first hundreds of steps
}
_EPOCHS: Final = 30
_BATCH: Final = 128
_RATE: Final = 3e-3
_WARMUP: Final = 0.1
_DECAY: Final = 0.1

OnBatch = Callable[[int, int], None]
"""Told the batches that are done, and all that there are."""


def train_small_vit(
    folder: Path,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    names: Sequence[str],
    *,
    on_batch: OnBatch = lambda _, __: None,
    epochs: int = _EPOCHS,
    seed: int = 0,
) -> None:
    """Writes the checkpoint with its image processor. `pixels` are [images, sides, sides], `names` those of the classes
    that `labels` number. The same numbers make the same weights on the same machine; AdamW, a warm-up, a cosine."""
    side = pixels.shape[1]
    settings = _processor(side)
    given = torch.from_numpy(read(list(pixels), preprocessing_of(settings)))
    wanted = torch.from_numpy(labels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its products are so small that a second core waits more than it computes
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = _fresh(side, names)
            _train(model, given, wanted, epochs, on_batch)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(str(folder))
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    readable_alike(folder)


def answered(folder: Path, images: Sequence[Path]) -> list[str]:
    """What such a checkpoint answers to images, by transformers alone: names of classes."""
    from transformers import ViTForImageClassification

    model = ViTForImageClassification.from_pretrained(str(folder)).eval()
    given = torch.from_numpy(read([str(one) for one in images], preprocessing_in(folder)))
    with torch.inference_mode():
        best = model(pixel_values=given).logits.argmax(-1)
    return [str(model.config.id2label[int(one)]) for one in best]


def _processor(side: int) -> dict[str, Any]:
    return {**PLAIN, "size": {"height": side, "width": side}}


def _fresh(side: int, names: Sequence[str]) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        **_SIZES,
        image_size=side,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    return ViTForImageClassification(config)


def _train(model: Any, given: torch.Tensor, wanted: torch.Tensor, epochs: int, on_batch: OnBatch) -> None:
    steps = epochs * math.ceil(len(given) / _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step / steps))
    model.train()
    done = 0
    for _ in range(epochs):
        order = torch.randperm(len(given))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            loss = functional.cross_entropy(model(pixel_values=given[rows]).logits, wanted[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            on_batch(done, steps)
    model.eval()


def _share_of_rate(done: float) -> float:
    if done < _WARMUP:
        return max(1e-3, done / _WARMUP)
    return 0.5 * (1 + math.cos(math.pi * (done - _WARMUP) / (1 - _WARMUP)))
