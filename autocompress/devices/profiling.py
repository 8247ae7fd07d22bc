"""A kernel table by measurement: what every building block adds to an inference, as the runtime really executes it.

A block is timed inside a whole graph, never alone: a stack of equal blocks is compared with the same graph without
them, so that fusions, memory layout and the runtime's own overhead are those of deployment.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from autocompress.anatomy.weights import random_weights
from autocompress.core.device import Block, DeviceProfile, KernelRow, KernelTable, Workload
from autocompress.core.shape import BITS, AttentionShape, Bits, FeedForwardShape, LayerShape, ModelShape
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session, runtime
from autocompress.devices.host import fingerprint
from autocompress.devices.timing import Timed, time_side_by_side, timing_lane, workload_run

logger = logging.getLogger(__name__)

RECIPE: Final = 2
"""Raised whenever profiling changes what it measures: cached profiles of another recipe are measured again."""

_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_STACK: Final = 4
_VOCABULARY: Final = 1000
"""A lookup costs the same in a small table as in a large one, and small ones are quick to make."""


def profile_host(
    shape: ModelShape,
    workload: Workload,
    *,
    rounds: int = 12,
    seconds: float = 40.0,
    progress: Callable[[int, int], None] | None = None,
) -> DeviceProfile:
    """Measures this machine for models of one hidden and head size under one workload."""
    blocks = _blocks(shape)
    runs = []
    for place, stack in enumerate(blocks.values()):
        weights = random_weights(stack, positions=max(workload.length, 8), seed=0)
        session = Session(write_graph(weights).SerializeToString(), threads=workload.threads)
        runs.append(workload_run(session, workload, rows=_VOCABULARY))
        if progress:
            progress(place + 1, len(blocks))
    with timing_lane():
        timed = time_side_by_side(runs, rounds=rounds, seconds=seconds)
    rows = _rows(dict(zip(blocks, timed, strict=True)))
    return DeviceProfile(
        name="host",
        version=1,
        source="measured",
        description="this machine, measured by autocompress",
        fingerprint=fingerprint(),
        runtime=runtime(),
        measured_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
        tables=(KernelTable(shape.hidden, shape.layers[0].attention.head_size, workload, tuple(rows)),),
    )


Key = tuple[Block, Bits, int]


def _blocks(shape: ModelShape) -> dict[Key, ModelShape]:
    """A stack of each block at each size and precision; first the bare graph, the reference of all."""
    first = shape.layers[0]
    heads, width = max(x.attention.heads for x in shape.layers), max(x.feed_forward.width for x in shape.layers)
    bare = replace(shape, word_rows=_VOCABULARY, layers=())
    found: dict[Key, ModelShape] = {("base", bits, 0): replace(bare, embedding_bits=bits) for bits in reversed(BITS)}
    for bits in BITS:
        for size in _sizes(heads):
            found["attention", bits, size] = _stack(bare, AttentionShape(size, first.attention.head_size, bits), None)
        for size in _sizes(width):
            found["feed_forward", bits, size] = _stack(bare, None, FeedForwardShape(size, bits))
    return found


def _sizes(most: int) -> list[int]:
    return sorted({max(1, round(share * most)) for share in _SHARES})


def _stack(bare: ModelShape, attention: AttentionShape | None, feed_forward: FeedForwardShape | None) -> ModelShape:
    layer = LayerShape(0, attention or AttentionShape(0, 1), feed_forward or FeedForwardShape(0))
    return replace(bare, layers=(layer,) * _STACK)


def _rows(timed: dict[Key, Timed]) -> list[KernelRow]:
    base = timed["base", 32, 0]
    rows = []
    for (block, bits, size), found in timed.items():
        if block == "base":
            low, middle, high = (found.quantile(share) for share in (0.25, 0.5, 0.75))
        else:
            added = (np.asarray(found.samples) - np.asarray(base.samples)) / _STACK  # same round, same machine state
            low, middle, high = (max(0.0, float(np.quantile(added, share))) for share in (0.25, 0.5, 0.75))
        rows.append(KernelRow(block, bits, size, round(middle, 5), round(low, 5), round(high, 5)))
    return _monotone(rows)


def _monotone(rows: Sequence[KernelRow]) -> list[KernelRow]:
    """A larger block never costs less: what says otherwise is noise, and would draw a search to it."""
    highest: dict[tuple[Block, Bits], float] = {}
    smoothed = []
    for row in sorted(rows, key=lambda row: (row.block, row.bits, row.size)):
        key = (row.block, row.bits)
        highest[key] = max(highest.get(key, 0.0), row.milliseconds)
        smoothed.append(replace(row, milliseconds=highest[key], high=max(row.high, highest[key])))
    return smoothed
