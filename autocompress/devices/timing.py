"""Measuring latency on a machine that is never quite still.

Models are timed in turns, round after round, so that a drift of the machine meets all of them alike; a round whose
reference model runs clearly slower than it can is repeated. Latency is measured in one process at a time: a lock keeps
every other measurement of this machine waiting.
"""

from __future__ import annotations

import fcntl
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.device import Workload
from autocompress.core.outcome import Measurement
from autocompress.deploy.session import Session

logger = logging.getLogger(__name__)

_DISTURBED: Final = 1.25
"""A round counts as disturbed when the reference takes this many times its best."""

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timed:
    """Readings in milliseconds; `disturbed` is the share of rounds that had to be repeated or kept under load."""

    samples: tuple[float, ...]
    disturbed: float

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.samples, share))

    def interval(self) -> tuple[float, float]:
        """95 % interval of the median from order statistics (binomial; distribution-free)."""
        ordered, n = np.sort(self.samples), len(self.samples)
        half = 0.98 * np.sqrt(n)
        low, high = max(0, int(np.floor(n / 2 - half))), min(n - 1, int(np.ceil(n / 2 + half)))
        return float(ordered[low]), float(ordered[high])

    def measurement(self, device: str) -> Measurement:
        return Measurement("latency_ms", self.median, "ms", "measured", self.interval(), self.samples, device)


@contextmanager
def timing_lane() -> Iterator[None]:
    """One measurement at a time on this machine; waits for its turn."""
    path = Path(tempfile.gettempdir()) / "autocompress-timing.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def time_side_by_side(
    runs: Sequence[Run], *, rounds: int, seconds: float, reference: int = 0, warm_up: int = 3
) -> list[Timed]:
    """Times all runs in turn, `rounds` times or until `seconds` have passed (but at least five rounds)."""
    for run in runs:
        for _ in range(warm_up):
            run()
    samples: list[list[float]] = [[] for _ in runs]
    best, disturbed, tried = float("inf"), 0, 0
    deadline = time.monotonic() + seconds
    while len(samples[0]) < rounds and (time.monotonic() < deadline or len(samples[0]) < min(5, rounds)):
        reading = [_milliseconds(run) for run in runs]
        tried += 1
        best = min(best, reading[reference])
        if reading[reference] > _DISTURBED * best and tried < 3 * rounds:
            disturbed += 1
            continue
        for kept, value in zip(samples, reading, strict=True):
            kept.append(value)
    if disturbed:
        logger.info("timing: %d of %d rounds were disturbed and repeated", disturbed, tried)
    return [Timed(tuple(kept), disturbed / tried) for kept in samples]


def workload_run(session: Session, workload: Workload, *, rows: int, seed: int = 0) -> Run:
    """One inference of full-length random token ids below `rows`; the values do not matter for speed."""
    generator = np.random.default_rng(seed)
    ids: NDArray[np.int64] = generator.integers(1, rows, (workload.batch, workload.length))
    feed = session.feed(ids, np.ones_like(ids))
    return lambda: session.run(feed)


def _milliseconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3
