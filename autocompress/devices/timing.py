"""Measuring latency on a machine that is never quite still.

Models are timed in turns, round after round, so that a drift of the machine meets all of them alike. A turn is one
inference that is not counted, because the model before it has just filled the caches, and then a few that are: what is
measured is a model that is served, not one that is woken up. A round is repeated when its reference model runs clearly
slower than it can, or when others used the machine meanwhile: two threads of one core slow each other down from the
first round to the last, which no reference shows. Latency is measured in one process at a time: a lock keeps every
other measurement of this machine waiting.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from autocompress.core.outcome import Measurement
from autocompress.core.workload import Workload
from autocompress.deploy.measure import seconds_of
from autocompress.deploy.session import Session

logger = logging.getLogger(__name__)

_TURN: Final = 3
_TURN_MS: Final = 4.0
_MOST: Final = 12
_LONG_MS: Final = 50.0
"""Inferences counted a turn: three, or as many as make four milliseconds, at most twelve; one of a large batch."""

_CALLS_BEFORE: Final = 2
"""Calls that find out how many inferences make a turn."""

_DISTURBED: Final = 1.25
"""A round counts as disturbed when the reference takes this many times its best."""

_OTHERS: Final = 0.25
"""A round counts as disturbed when others keep more cores than this busy; a quiet machine's own chores take 0.05."""

_WINDOW: Final = 0.3
"""Seconds over which the use of the machine is averaged: the kernel counts it in steps of 0.01."""

_OFTEN: Final = 0.2
"""A measurement was disturbed when this share of its rounds was."""

_LEAST: Final = 5
"""Rounds that are always kept."""

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timed:
    """Readings in milliseconds, and the median of each turn. `disturbed` is the share of rounds that were repeated, or
    kept, under load; `others` is how many cores others used during those kept. `calls` says which calls of the run the
    readings are, where all that were made are counted from 0."""

    samples: tuple[float, ...]
    turns: tuple[float, ...] = ()
    disturbed: float = 0.0
    others: float = 0.0
    calls: tuple[int, ...] = ()

    @property
    def noticed(self) -> bool:
        """Whether somebody else was at work, and not just for a moment."""
        return self.disturbed > _OFTEN

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.samples, share))

    def for_each(self, count: int) -> Timed:
        """The readings for each of so many inferences that the run makes."""
        return replace(
            self,
            samples=tuple(reading / count for reading in self.samples),
            turns=tuple(turn / count for turn in self.turns),
        )

    def interval(self) -> tuple[float, float]:
        """95 % interval of the median."""
        return _median_interval(self.samples)

    def above(self, other: Timed) -> tuple[float, float, float]:
        """By which share this run took longer than another one of the same rounds, with its 95 % interval: the median
        over the rounds, whose own pace drops out."""
        ratios = [own / its - 1 for own, its in zip(self.turns, other.turns, strict=True)]
        return (float(np.median(ratios)), *_median_interval(ratios))

    def measurement(self, device: str) -> Measurement:
        return Measurement("latency_ms", self.median, "ms", "measured", self.interval(), self.samples, device)


def _median_interval(readings: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median from order statistics (binomial; distribution-free)."""
    ordered, n = np.sort(readings), len(readings)
    half = 0.98 * np.sqrt(n)
    low, high = max(0, int(np.floor(n / 2 - half))), min(n - 1, int(np.ceil(n / 2 + half)))
    return float(ordered[low]), float(ordered[high])


@contextmanager
def timing_lane(folder: Path | None = None) -> Iterator[None]:
    """One measurement at a time of one user on this machine; waits for its turn, and says so. Those of other users are
    noticed as any other work is (see `Neighbours`).

    The lock lies in the temporary `folder`, where others may write: it is opened through no link, nothing is written to
    it, and what belongs to somebody else is no lock of ours.
    """
    path = (folder or Path(tempfile.gettempdir())) / f"autocompress-timing-{os.getuid()}.lock"
    try:
        handle = _opened_lock(path)
    except OSError as error:
        logger.warning("%s: no lock (%s); measurements of yours may disturb each other", path, error)
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("timing: another measurement of yours is at work on this machine; waiting for its end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened_lock(path: Path) -> int:
    """Raises OSError for anything but a plain file of this user."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags | os.O_CREAT, 0o600)
    except PermissionError:  # one that cannot be read, or that a sticky folder protects from being opened to be made
        handle = os.open(path, flags)
    about = os.fstat(handle)
    if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid():
        return handle
    os.close(handle)
    raise PermissionError(f"belongs to user {about.st_uid}" if stat.S_ISREG(about.st_mode) else "is no plain file")


class Neighbours:
    """How many cores everybody else keeps busy, stolen time of a virtual machine included."""

    def __init__(self) -> None:
        self._marks = [self._now()]

    def busy(self) -> float:
        """Cores in use by others, averaged over the last moments; 0 until there is enough to average."""
        now = self._now()
        while len(self._marks) > 1 and now[0] - self._marks[1][0] >= _WINDOW:
            self._marks.pop(0)
        seconds, used, own = (b - a for a, b in zip(self._marks[0], now, strict=True))
        if now[0] - self._marks[-1][0] >= _WINDOW / 8:
            self._marks.append(now)
        return max(0.0, (used - own) / seconds) if seconds >= _WINDOW / 2 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds on the clock, seconds used by all, seconds used by this process."""
        machine, own = psutil.cpu_times(), time.process_time()
        used = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
        return time.monotonic(), used - getattr(machine, "guest_nice", 0.0), own


def time_side_by_side(
    runs: Sequence[Run], *, rounds: int, seconds: float, reference: int = 0, tight: float | None = None
) -> list[Timed]:
    """Times all runs in turns, `rounds` times or until `seconds` have passed (but at least five rounds).

    With `tight` it ends before, once the 95 % interval of every run's median is narrower than that share of it.
    Disturbed rounds are repeated as long as there is time; what was kept in spite of that is said in `disturbed`.
    """
    turns: list[list[list[float]]] = [[] for _ in runs]
    counts = [_count(run) for run in runs]
    best, repeated, forced = float("inf"), 0, 0
    kept_rounds: list[int] = []
    neighbours, used = Neighbours(), []
    deadline = time.monotonic() + seconds
    kept = 0
    while kept < rounds and (time.monotonic() < deadline or kept < min(_LEAST, rounds)):
        one_round = [_turn(run, count) for run, count in zip(runs, counts, strict=True)]
        typical, others = float(np.median(one_round[reference])), neighbours.busy()
        best = min(best, typical)
        if typical > _DISTURBED * best or others > _OTHERS:
            if repeated < 2 * rounds and time.monotonic() < deadline:
                repeated += 1
                continue
            forced += 1
        kept_rounds.append(kept + repeated)
        kept += 1
        used.append(others)
        for known, turn in zip(turns, one_round, strict=True):
            known.append(turn)
        if tight is not None and kept >= _LEAST and all(_narrow(known, tight) for known in turns):
            break
    if repeated:
        logger.info("timing: %d disturbed rounds were repeated, %d were kept", repeated, forced)
    others = float(np.median(used))
    disturbed = (repeated + forced) / (repeated + kept)
    return [
        replace(_timed(known), disturbed=disturbed, others=others, calls=_calls(kept_rounds, count))
        for known, count in zip(turns, counts, strict=True)
    ]


def _timed(turns: Sequence[Sequence[float]]) -> Timed:
    every = tuple(reading for turn in turns for reading in turn)
    return Timed(every, tuple(float(np.median(turn)) for turn in turns))


def _calls(rounds: Sequence[int], count: int) -> tuple[int, ...]:
    """Those of a run that were counted: it was called twice by `_count`, and in each round once before those."""
    starts = (_CALLS_BEFORE + place * (1 + count) + 1 for place in rounds)
    return tuple(call for start in starts for call in range(start, start + count))


def _narrow(turns: Sequence[Sequence[float]], tight: float) -> bool:
    found = _timed(turns)
    low, high = found.interval()
    return high - low <= tight * found.median


def workload_run(session: Session, workload: Workload, *, rows: int, seed: int = 0) -> Run:
    """One inference of each typical batch, of random token ids below `rows`, or of random images of the size that the
    file wants; the values do not matter for speed, and in our graphs neither does which tokens are padding
    (`deploy.graph.MASKED`); stock exports are slower with some."""
    generator = np.random.default_rng(seed)
    feeds = [session.drawn(one.batch, one.length, rows=rows, seed=generator) for one in workload.batches]

    def run() -> None:
        for feed in feeds:
            session.run(feed)

    return run


def _count(run: Run) -> int:
    """Inferences in a turn of this model: three, more of a fast one, whose readings scatter most, and one of a slow
    one, which is long past what the model before it left in the caches."""
    run()
    started = time.perf_counter()
    run()
    took = 1e3 * (time.perf_counter() - started)
    return 1 if took >= _LONG_MS else min(_MOST, max(_TURN, round(_TURN_MS / max(took, 1e-6))))


def _turn(run: Run, count: int) -> list[float]:
    """Milliseconds of inferences in a row, after one that is not counted."""
    run()
    return [1e3 * seconds_of(run) for _ in range(count)]


def time_sessions(
    sessions: Sequence[Session],
    workload: Workload,
    rows: int,
    *,
    rounds: int = 40,
    seconds: float = 30,
    beside: Run | None = None,
) -> list[Timed]:
    """Milliseconds of a batch; where batches differ in length, their mean over one of each. What is run `beside`, in
    turns with them, comes last, as it is."""
    runs = [workload_run(session, workload, rows=rows) for session in sessions]
    with timing_lane():
        timed = time_side_by_side([*runs, *([beside] if beside else [])], rounds=rounds, seconds=seconds)
    return [one.for_each(len(workload.batches)) for one in timed[: len(runs)]] + timed[len(runs) :]
