"""The deployed graph against itself: what it leaves out changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from autocompress.anatomy.weights import random_weights
from autocompress.core.cost import macs, passes
from autocompress.core.encoders import held_in
from autocompress.core.parts import ModelParts
from autocompress.core.storage import PLAIN
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import bert_shape
from autocompress.devices.validation import random_shapes

LARGEST = bert_shape(hidden=64, heads=4, head_size=16, width=128, layers=4)
SHAPES = random_shapes(LARGEST, count=8, seed=0)


def logits(shape: ModelParts, seed: int, *, every_token: bool) -> list[NDArray[np.float32]]:
    """Of padded batches of several lengths."""
    graph = write_graph(random_weights(shape, positions=40, seed=seed), every_token=every_token)
    session, generator = Session(graph.SerializeToString()), np.random.default_rng(seed)
    found = []
    for batch, length in ((1, 1), (1, 33), (3, 7), (4, 40)):
        ids = generator.integers(1, 900, (batch, length))
        mask = (np.arange(length) < generator.integers(1, length + 1, (batch, 1))).astype(np.int64)
        found.append(session.run(session.feed(ids, mask)))
    return found


@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_a_last_layer_of_one_token_gives_the_same_logits_in_fp32(seed: int) -> None:
    plain = held_in(SHAPES[seed], PLAIN)
    both = logits(plain, seed, every_token=False), logits(plain, seed, every_token=True)
    for lowered, whole in zip(*both, strict=True):
        np.testing.assert_allclose(lowered, whole, atol=1e-5)


@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_in_int8_it_differs_by_no_more_than_a_finer_scale(seed: int) -> None:
    for lowered, whole in zip(
        logits(SHAPES[seed], seed, every_token=False), logits(SHAPES[seed], seed, every_token=True), strict=True
    ):
        np.testing.assert_allclose(lowered, whole, atol=2e-2)


def test_a_last_layer_of_one_token_saves_most_of_its_products() -> None:
    load = Workload(1, 128, 1)
    whole, lowered = (macs(LARGEST, passes(LARGEST, load, whole=every)) for every in (True, False))
    assert whole - lowered > 0.6 * whole / LARGEST.depth
