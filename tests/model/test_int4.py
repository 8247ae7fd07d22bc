"""Weights in 4 bits: what a file holds, what is scored, and what the runtime makes of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from autocompress.anatomy import Anatomy
from autocompress.anatomy.int4 import multiplied, packed, quantize_blocks
from autocompress.anatomy.weights import random_weights
from autocompress.core.cost import unpacked, weight_bytes
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.parts import ModelParts
from autocompress.core.storage import Storage
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.tasks import Examples


def table(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("columns", [32, 96, 17, 40])
def test_what_4_bits_unpack_to_is_an_int8_matrix_near_the_original(columns: int) -> None:
    weights = table(12, columns)
    integers, multipliers, _ = quantize_blocks(weights)
    assert integers.min() >= -8
    assert integers.max() <= 7
    assert multipliers.abs().max() <= 15
    whole, scales = multiplied(weights)
    assert whole.shape == weights.shape
    assert whole.abs().max() <= 127
    assert torch.equal(whole, whole.round())
    error = (whole * scales - weights).norm() / weights.norm()
    assert error < 0.1, "16 levels a block of 32 leave 9 % of a normal distribution"


def test_the_halves_of_bytes_hold_what_was_rounded() -> None:
    weights = table(5, 64)
    codes, multipliers, _ = packed(weights)
    assert codes.shape == (5, 32)
    assert codes.dtype == torch.uint8
    assert multipliers.shape == (5, 2)
    integers, _, _ = quantize_blocks(weights)
    halves = torch.cat([codes & 15, codes >> 4], dim=1).float() - 8
    assert torch.equal(halves, integers.flatten(1))


def test_rows_of_zeros_stay_zero() -> None:
    whole, scales = multiplied(torch.zeros(3, 64))
    assert not (whole * scales).any()
    assert torch.isfinite(scales).all()


def test_scoring_numerics_in_4_bits_are_those_of_the_deployed_graph(
    anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    anatomy.keep_channels(1, range(41))  # not a whole number of blocks
    for layer in anatomy.layers:
        anatomy.quantize([*layer.attention, *layer.feed_forward], bits=4)
    anatomy.quantize_embeddings(bits=4)
    session = Session(write_graph(anatomy.weights()).SerializeToString())
    for ids in make_examples(12).tokens:
        with torch.inference_mode():
            scored = anatomy.model(input_ids=torch.from_numpy(ids)[None]).logits.numpy()
        deployed = session.run(session.feed(ids[None], np.ones_like(ids)[None]))
        assert deployed.argmax() == scored.argmax()
        assert np.abs(deployed - scored).max() < 0.02 * np.abs(scored).max()


def test_layers_in_4_bits_run_the_kernels_of_8_and_their_file_is_as_large_as_counted(tmp_path: Path) -> None:
    def shape(bits: int, embeddings: int) -> ModelParts:
        held = Storage(bits)  # type: ignore[arg-type]
        layers = (encoder_layer(i, 64, heads=2, head_size=32, channels=128, held=held) for i in range(2))
        words_in = Storage(embeddings)  # type: ignore[arg-type]
        return encoder(64, layers, words=3000, others=66, head=(64, 3), words_in=words_in)

    def executed(which: ModelParts) -> Counter[str]:
        path = tmp_path / "executed.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(file(which), options)
        return Counter(node.op_type for node in onnx.load(path).graph.node)

    def file(which: ModelParts) -> bytes:
        return write_graph(random_weights(which, positions=64, seed=0)).SerializeToString()

    assert executed(shape(4, 8)) == executed(shape(8, 8)), "all unpacking is done once, when the file is loaded"
    assert unpacked(shape(4, 4)) == shape(8, 4)
    small, large = shape(4, 4), shape(8, 8)
    counted = weight_bytes(small)
    assert counted < 0.62 * weight_bytes(large)
    stored = sum(len(one.raw_data) for one in onnx.load_model_from_string(file(small)).graph.initializer)
    assert counted == pytest.approx(stored, rel=0.01), "a few constants apart"
