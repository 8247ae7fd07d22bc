"""Evaluations in warm Ray actors: one thread each, replaced when they die, hang or run out of memory."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, final

from autocompress.core.outcome import Outcome
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Done, Evaluate, Job, Lost

logger = logging.getLogger(__name__)


class _Worker:
    """Runs inside an actor. The setup arrives through the object store: its arrays are shared memory, read in place."""

    def __init__(self, build: Callable[[Any], Evaluate], setup: Any) -> None:
        import torch

        torch.set_num_threads(1)
        os.nice(10)  # the driver goes first: while it waits for a core, so do all workers
        self._evaluate = build(setup)

    def evaluate(self, policy: CompressionPolicy) -> tuple[Outcome, float]:
        started = time.monotonic()
        outcome = self._evaluate(policy)
        return outcome, time.monotonic() - started

    def ready(self) -> bool:
        return True


@final
class RayPool:
    """A `Runner` over `workers` actors. A job that outlives `timeout_seconds` loses its worker."""

    def __init__(
        self,
        ray: Any,
        build: Callable[[Any], Evaluate],
        setup: Any,
        *,
        workers: int,
        timeout_seconds: float,
    ) -> None:
        self._ray, self._build, self._timeout = ray, build, timeout_seconds
        self._setup = ray.put(setup)
        self._actor = ray.remote(_Worker)
        self._free: deque[Any] = deque(self._start() for _ in range(workers))
        self._flying: dict[Any, tuple[Job, Any, float]] = {}
        self.slots = workers

    def warm(self) -> None:
        """Returns once every worker is ready to evaluate, so that a clock may start."""
        self._ray.get([worker.ready.remote() for worker in self._free])

    def submit(self, job: Job) -> None:
        worker = self._free.popleft()
        self._flying[worker.evaluate.remote(job.policy)] = (job, worker, time.monotonic())

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        if not self._flying:
            return []
        ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=seconds)
        if ready:  # whatever else is ready by now comes along
            ready, _ = self._ray.wait(list(self._flying), num_returns=len(self._flying), timeout=0)
        return [self._collect(reference) for reference in ready] + self._overdue()

    def close(self) -> None:
        for _, worker, _ in self._flying.values():
            self._ray.kill(worker)
        for worker in self._free:
            self._ray.kill(worker)
        self._flying.clear()
        self._free.clear()

    def _start(self) -> Any:
        return self._actor.options(num_cpus=1, max_restarts=0).remote(self._build, self._setup)

    def _collect(self, reference: Any) -> Done | Lost:
        job, worker, _ = self._flying.pop(reference)
        try:
            outcome, seconds = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError) as error:
            self._free.append(self._start())
            return Lost(job, _reason(error))
        self._free.append(worker)
        return Done(job, outcome, seconds)

    def _overdue(self) -> list[Done | Lost]:
        """The clock of a job starts when it is submitted; a worker's own start-up is allowed for once."""
        lost: list[Done | Lost] = []
        for reference, (job, worker, started) in list(self._flying.items()):
            if time.monotonic() - started > self._timeout:
                del self._flying[reference]
                self._ray.kill(worker)
                self._free.append(self._start())
                lost.append(Lost(job, f"took longer than timeout_seconds={self._timeout:g} and was stopped"))
        return lost


def _reason(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError" or "running low on memory" in str(error):
        return "the worker ran out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the worker died: {lines[-1] if lines else type(error).__name__}"
