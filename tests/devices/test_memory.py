"""How much memory an exported file takes, measured in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autocompress.anatomy.weights import random_weights
from autocompress.core.encoders import encoder, encoder_layer, with_vocabulary
from autocompress.core.parts import ModelParts
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.devices.memory import peak_memory_mib
from autocompress.errors import HostError

SMALL = encoder(64, [encoder_layer(0, 64, heads=2, head_size=32, channels=128)], words=1000, others=34, head=(3,))

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's peak is read from /proc")


def exported(folder: Path, shape: ModelParts) -> Path:
    path = folder / f"{shape.vocabulary}.onnx"
    path.write_bytes(write_graph(random_weights(shape, positions=32, seed=0)).SerializeToString())
    return path


@linux
def test_a_larger_file_takes_more_memory_and_no_less_than_its_weights(tmp_path: Path) -> None:
    load = Workload(length=32)
    large = exported(tmp_path, with_vocabulary(SMALL, 200_000))
    small_mib, large_mib = peak_memory_mib(exported(tmp_path, SMALL), load), peak_memory_mib(large, load)
    assert small_mib is not None
    assert large_mib is not None
    assert large_mib > large.stat().st_size / 2**20 > 40
    assert 0 < small_mib < 40


@linux
def test_a_file_that_cannot_be_served_is_named_with_the_cause(tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(HostError, match=r"model\.onnx: its memory could not be measured: .*not a valid model"):
        peak_memory_mib(broken, Workload())
