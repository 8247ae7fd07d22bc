"""Measuring latency on a machine that is never quite still.

Models are timed in turns, round after round, so that a drift of the machine meets all of them alike. A turn is one
inference that is not counted, because the model before it has just filled the caches, and then a few that are: what is
measured is a model that is served, not one that is woken up. A round whose reference model runs clearly slower than it
can is repeated. Latency is measured in one process at a time: a lock keeps
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

_TURN: Final = 3
"""Inferences counted a turn."""

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


def time_side_by_side(runs: Sequence[Run], *, rounds: int, seconds: float, reference: int = 0) -> list[Timed]:
    """Times all runs in turns, `rounds` times or until `seconds` have passed (but at least five rounds)."""
    samples: list[list[float]] = [[] for _ in runs]
    best, disturbed, tried = float("inf"), 0, 0
    deadline = time.monotonic() + seconds
    kept_rounds = 0
    while kept_rounds < rounds and (time.monotonic() < deadline or kept_rounds < min(5, rounds)):
        turns = [_turn(run) for run in runs]
        tried += 1
        typical = float(np.median(turns[reference]))
        best = min(best, typical)
        if typical > _DISTURBED * best and tried < 3 * rounds:
            disturbed += 1
            continue
        kept_rounds += 1
        for kept, turn in zip(samples, turns, strict=True):
            kept.extend(turn)
    if disturbed:
        logger.info("timing: %d of %d rounds were disturbed and repeated", disturbed, tried)
    return [Timed(tuple(kept), disturbed / tried) for kept in samples]


def workload_run(session: Session, workload: Workload, *, rows: int, seed: int = 0) -> Run:
    """One inference of full-length random token ids below `rows`; the values do not matter for speed."""
    generator = np.random.default_rng(seed)
    ids: NDArray[np.int64] = generator.integers(1, rows, (workload.batch, workload.length))
    feed = session.feed(ids, np.ones_like(ids))
    return lambda: session.run(feed)


def _turn(run: Run) -> list[float]:
    """Milliseconds of a few inferences in a row, after one that is not counted."""
    run()
    milliseconds = []
    for _ in range(_TURN):
        start = time.perf_counter()
        run()
        milliseconds.append((time.perf_counter() - start) * 1e3)
    return milliseconds
