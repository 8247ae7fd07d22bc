"""Evaluations in warm Ray actors: one thread each, replaced when they die, hang or run out of memory."""

from __future__ import annotations

import functools
import logging
import os
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from autocompress.core.outcome import Outcome
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Done, Evaluate, Job, Lost

logger = logging.getLogger(__name__)


class _Worker:
    """Runs inside an actor. The setup arrives through the object store: its arrays are shared memory, read in place."""

    def __init__(self, build: Callable[[Any], Evaluate], setup: Any, name: str, memory_gb: float | None) -> None:
        import torch

        if memory_gb is not None:
            from autocompress.runners.memory import watch_memory

            watch_memory(memory_gb, functools.partial(_leave_word, name))
        torch.set_num_threads(1)
        os.nice(10)  # the driver goes first: while it waits for a core, so do all workers
        self._evaluate = build(setup)

    def evaluate(self, policy: CompressionPolicy) -> tuple[Outcome, float]:
        started = time.monotonic()
        outcome = self._evaluate(policy)
        return outcome, time.monotonic() - started

    def ready(self) -> int:
        return os.getpid()


MEMORY_LIMIT: Final = "MemoryLimit"
"""What the failure of a candidate is called whose workers held more than they may."""

_DEPTH: Final = 2
"""Jobs a worker has at a time: one it works on, and one that waits, so that it never waits for the driver."""


_TAIL: Final = 1 << 16
"""Characters at the end of a worker's log in which its last words stand."""

_SHORT: Final = 200
"""Characters of an error of Ray's that are told."""

_START_SECONDS: Final = 60.0
"""What a worker's own start is allowed to take beside its first job; twice as long after each that was stopped in it,
as on a machine that others keep busy none would ever stand."""


_WORDS: Final = "autocompress-workers"
"""Where workers leave word before they end themselves, in what all machines of a cluster read: Ray tells nothing of how
an actor ended but that it did."""


def _leave_word(name: str, words: str) -> None:
    """Runs inside an actor."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(name, words, namespace=_WORDS)


def _word_left(name: str) -> str:
    """What a worker of that name left, once; empty where it had no time to."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get

    found = _internal_kv_get(name, namespace=_WORDS)
    if found is None:
        return ""
    _internal_kv_del(name, namespace=_WORDS)
    return bytes(found).decode()


@dataclass(slots=True)
class _Flight:
    """A job on its way. Its clock starts when it is the next of its worker; without a reference it waits for the worker
    to stand, so that one which dies before has not begun with it."""

    job: Job
    started: float
    reference: Any = None


@dataclass(slots=True, eq=False)
class _Seat:
    """A worker and its jobs, in the order in which it does them. `ready` is pending while the worker starts; after it
    its process has a number. `name` is nobody else's in the cluster."""

    name: str
    worker: Any
    ready: Any
    pid: int | None = None
    queue: deque[_Flight] = field(default_factory=deque)


@final
class RayPool:
    """A `Runner` over `workers` actors. A job that outlives `timeout_seconds`, or whose worker comes to hold more than
    `memory_gb` gigabytes, loses its worker; jobs that waited behind it go to the next one as if nothing had been."""

    def __init__(
        self,
        ray: Any,
        build: Callable[[Any], Evaluate],
        setup: Any,
        *,
        workers: int,
        timeout_seconds: float,
        memory_gb: float | None = None,
    ) -> None:
        self._ray, self._build, self._timeout, self._memory = ray, build, timeout_seconds, memory_gb
        self._setup = ray.put(setup)
        self._start_seconds = _START_SECONDS
        self._actor = ray.remote(_Worker)
        self._seats = [self._seat() for _ in range(workers)]
        # a single worker's candidates come one after another: resumed at any moment, the same ones are asked for again
        self.slots = _DEPTH * workers if workers > 1 else 1

    def warm(self) -> None:
        """Returns once every worker is ready to evaluate, so that a clock may start."""
        self._ray.get([seat.ready for seat in self._seats if seat.ready is not None])

    def submit(self, job: Job) -> None:
        self._send(min(self._seats, key=lambda seat: len(seat.queue)), job)

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        waiting = [flight.reference for seat in self._seats for flight in seat.queue if flight.reference is not None]
        waiting += [seat.ready for seat in self._seats if seat.ready is not None]
        if not waiting:
            return []
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:  # whatever else is ready by now comes along
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        arrived = set(ready)
        events: list[Done | Lost] = []
        for seat in list(self._seats):
            if seat.ready is not None and seat.ready in arrived:
                events += self._begin(seat)
            while seat.queue and seat.queue[0].reference in arrived:
                events.append(self._collect(seat))
        return events + self._overdue()

    def close(self) -> None:
        for seat in self._seats:
            self._ray.kill(seat.worker)
            seat.queue.clear()

    def _seat(self) -> _Seat:
        name = uuid.uuid4().hex
        worker = self._actor.options(num_cpus=1, max_restarts=0).remote(self._build, self._setup, name, self._memory)
        return _Seat(name, worker, worker.ready.remote())

    def _send(self, seat: _Seat, job: Job) -> None:
        seat.queue.append(_Flight(job, time.monotonic()))
        if seat.ready is None:
            seat.queue[-1].reference = seat.worker.evaluate.remote(job.policy)

    def _begin(self, seat: _Seat) -> list[Lost]:
        """Gives a worker that stands now the jobs that waited for it. One that died instead loses the first of them,
        which is told of it."""
        try:
            seat.pid, seat.ready = self._ray.get(seat.ready), None
        except self._ray.exceptions.RayError as error:
            lost = [self._lost(seat, error, began=False)] if seat.queue else []
            self._replace(seat)
            return lost
        for flight in seat.queue:
            flight.started = time.monotonic()
            flight.reference = seat.worker.evaluate.remote(flight.job.policy)
        return []

    def _collect(self, seat: _Seat) -> Done | Lost:
        flight = seat.queue[0]
        try:
            outcome, seconds = self._ray.get(flight.reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError) as error:
            lost = self._lost(seat, error, began=True)
            self._replace(seat)
            return lost
        seat.queue.popleft()
        if seat.queue:
            seat.queue[0].started = time.monotonic()
        return Done(flight.job, outcome, seconds)

    def _lost(self, seat: _Seat, error: Exception, *, began: bool) -> Lost:
        """The first of the jobs of a worker that ended."""
        job = seat.queue.popleft().job
        if self._memory is not None and (word := _word_left(seat.name)):
            return Lost(job, word, began, MEMORY_LIMIT)
        return Lost(job, _reason(error, last_words(self._ray, seat.pid) if began else ""), began)

    def _replace(self, seat: _Seat) -> None:
        """A new worker, which gets the jobs that the old one had not begun. It is the last to be asked for more: it
        takes seconds to start."""
        self._seats.remove(seat)
        fresh = self._seat()
        self._seats.append(fresh)
        left = [flight.job for flight in seat.queue]
        seat.queue.clear()
        for job in left:
            self._send(fresh, job)

    def _overdue(self) -> list[Done | Lost]:
        lost: list[Done | Lost] = []
        late = False
        for seat in list(self._seats):
            began = seat.ready is None
            allowed = self._timeout + (0.0 if began else self._start_seconds)
            if seat.queue and time.monotonic() - seat.queue[0].started > allowed:
                job = seat.queue.popleft().job
                self._ray.kill(seat.worker)
                self._replace(seat)
                what = (
                    f"took longer than timeout_seconds={allowed:g}" if began else f"did not stand within {allowed:g} s"
                )
                lost.append(Lost(job, f"{what} and was stopped", began))
                late = late or not began
        if late:
            self._start_seconds *= 2
        return lost


def _reason(error: Exception, words: str) -> str:
    if type(error).__name__ == "OutOfMemoryError" or "running low on memory" in str(error):
        return "the worker ran out of memory"
    return f"the worker died: {words or in_short(error)}"


def in_short(error: object) -> str:
    """What Ray says of a process that ended, without its essay on what may have been the cause."""
    told = " ".join(str(error or "").split())
    told = told.partition(" Some common causes")[0].rpartition("Worker exit detail: ")[2]
    return told[-_SHORT:].strip() or type(error).__name__


def last_words(ray: Any, pid: int | None) -> str:
    """The signal that a worker's process was ended by, where it could still write it down: Ray itself tells them apart
    no more. Empty for a worker that never stood, and for one of another machine."""
    folder = getattr(getattr(ray._private.worker, "_global_node", None), "get_logs_dir_path", None)
    logs = [] if pid is None or folder is None else list(Path(folder()).glob(f"*-{pid}.err"))
    for path in logs:
        found = re.findall(r"\*\*\* (SIG[A-Z]+) received", path.read_text(encoding="utf-8", errors="replace")[-_TAIL:])
        if found:
            return str(found[-1])
    return "SIGKILL, or an exit of its own: it left no word" if logs else ""
