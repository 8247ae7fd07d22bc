"""Evaluations one after another in this process: for tests, tiny machines and debuggers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import final

from autocompress.core.ports import Done, Evaluate, Job, Lost


@final
class InProcessRunner:
    """A `Runner` with one slot and no isolation: a candidate that hangs, hangs everything."""

    slots = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._queue.append(job)

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        if not self._queue:
            return []
        job = self._queue.popleft()
        started = time.monotonic()
        outcome = self._evaluate(job.policy)
        return [Done(job, outcome, time.monotonic() - started)]

    def close(self) -> None:
        self._queue.clear()
