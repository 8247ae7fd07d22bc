"""The most a machine does: what every latency is a share of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from autocompress.core.device import Ceilings
from autocompress.core.storage import Bits
from autocompress.deploy.probes import product_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane

_SIZE: Final = 1024
"""Of the square matrices: large enough that arithmetic is all that counts, small enough for any cache of today."""

_COPIED: Final = 256 * 2**20
"""Bytes: several times a core's share of the caches."""


def measure_ceilings(*, threads: int = 1, rounds: int = 10, seconds: float = 6.0) -> Ceilings:
    """The best of several readings, with the runtime's own kernels; bandwidth is that of a copy, read and written."""

    def product(bits: Bits) -> Callable[[], object]:
        session = Session(product_graph(_SIZE, bits=bits), threads=threads)
        kind = np.uint8 if bits == 8 else np.float32
        feed = {"x": np.ones((_SIZE, _SIZE), kind)}
        return lambda: session.raw(feed)

    source, target = np.ones(_COPIED, np.uint8), np.empty(_COPIED, np.uint8)
    runs = [product(32), product(8), lambda: np.copyto(target, source)]
    with timing_lane():
        fp32, int8, copy = (min(t.samples) for t in time_side_by_side(runs, rounds=rounds, seconds=seconds))
    operations = 2 * _SIZE**3
    return Ceilings(
        gflops_fp32=round(operations / fp32 / 1e6, 1),
        gops_int8=round(operations / int8 / 1e6, 1),
        gbytes_per_second=round(2 * _COPIED / copy / 1e6, 2),
    )
