"""A user's own small project of images: a ViT of two layers, a folder of images for each class, a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from PIL import Image

from tests.given_study import BOARD, CUTS

COLOURS: Final = ("red", "green", "blue")
SETTINGS: Final[dict[str, Any]] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 24, "width": 24},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.3],
}


def coloured(number: int) -> tuple[str, Image.Image]:
    """An image that is mostly of one colour, and its name."""
    place = number % len(COLOURS)
    values = np.random.default_rng(number).integers(0, 80, (30, 40, 3)).astype(np.uint8)
    values[..., place] += 120
    return COLOURS[place], Image.fromarray(values)


def write_images(folder: Path, *, rows: int = 120) -> None:
    for number in range(rows):
        name, image = coloured(number)
        (folder / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / name / f"{number:03}.png")


def write_vit(folder: Path, *, size: int = 24, settings: dict[str, Any] | None = None) -> None:
    """With random weights and no head; its images have `size` x `size` pixels, and patches 8 x 8."""
    import json

    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = ViTConfig(**sizes, image_size=size, patch_size=8)
    ViTModel(config, add_pooling_layer=False).save_pretrained(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps(settings or SETTINGS))


def write_image_study(folder: Path, **task: Any) -> Path:
    steps = [*CUTS["steps"], {"operator": "quantize", "target": "layers.*", "per": "step", "settings": QUANTIZED}]
    (folder / "board.yaml").write_text(BOARD, encoding="utf-8")
    tree = {
        "name": "mine",
        "version": 1,
        "model": {"path": "model"},
        "task": {"kind": "image-classification", "data": {"source": {"path": "images"}}, **task},
        "space": {**CUTS, "steps": steps},
        "device": "board.yaml",
        "workload": {"batch": 1, "threads": 1},
        "objectives": {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"},
        "budget": {"trials": 3},
        "teacher": {"epochs": 3, "batch_size": 16, "learning_rate": 3.0e-3},
        "elastic": {"steps": 4, "batch_size": 16, "learning_rate": 1.0e-3},
        "finalists": {"count": 1, "uncut": False, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}},
        "seed": 0,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


QUANTIZED: Final = {"bits": 8, "activations": "static", "calibration": "percentile"}
