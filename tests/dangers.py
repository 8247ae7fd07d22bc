"""What real Ray workers are given in tests: evaluators and trainings that do harm to their own process.

Beside the tests, and not in them: every worker imports the module of what it is given, and that of the tests takes
seconds, as it imports all that a model needs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.core.outcome import Outcome
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.errors import CandidateError
from autocompress.runners.tune import CHECKPOINT, OnEpoch, Settings
from autocompress.testing import arithmetic_evaluate


class Dangerous:
    """Evaluates arithmetic, and does to its own process what the policy's first step says, the first time or always."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, policy: CompressionPolicy) -> Outcome:
        step = policy.steps[0] if policy.steps else None
        if step and (step.settings.get("always") or not (self._folder / policy.digest).exists()):
            (self._folder / policy.digest).touch()
            if step.operator == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if step.operator == "segfault":
                ctypes.string_at(0)
            if step.operator == "exit":
                os._exit(3)
            if step.operator == "hang":
                time.sleep(600)
            if step.operator == "hoard":
                held = [b"x" * 50_000_000 for _ in range(40)]
                time.sleep(0.1 * len(held))
        return arithmetic_evaluate(policy)


def danger(operator: str, *, always: bool = False) -> CompressionPolicy:
    return CompressionPolicy((Step(operator, "x", {"always": always}),))


class Handed:
    """A worker's evaluator that arrives as its own setup."""

    def __init__(self, evaluate: Any) -> None:
        self._evaluate = evaluate

    def __call__(self, policy: CompressionPolicy) -> Outcome:
        outcome: Outcome = self._evaluate(policy)
        return outcome


class Unborn(Dangerous):
    """An evaluator whose process is killed while it is made, the first time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not (folder / "born").exists():
            (folder / "born").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Slow(Dangerous):
    """An evaluator that takes a while to make, every time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        time.sleep(4.0)


@dataclass(frozen=True)
class Best:
    score: float


class Counting:
    """A training of three epochs that counts them in its checkpoint, and dies in the second the first time."""

    def __init__(self, folder: Path) -> None:
        self._marks = folder

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings | None = None
    ) -> Best:
        if policy.steps[0].operator == "diverge":
            raise CandidateError("the training loss became nan")
        file = folder / CHECKPOINT
        done = int(file.read_text()) if file.exists() else 0
        for epoch in range(done, 3):
            mark = self._marks / f"{policy.digest}-died"
            if policy.steps[0].operator == "kill" and epoch == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            file.write_text(str(epoch + 1))
            (self._marks / f"{policy.digest}-{epoch}-{time.monotonic_ns()}").touch()
            on_epoch(epoch, epoch / 10, epoch / 10)
        return Best(0.2)


class Deadly:
    """A training that ends its process before it reports anything."""

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings | None = None
    ) -> Best:
        os.kill(os.getpid(), signal.SIGKILL)
        return Best(0.0)


class Rivals:
    """A training of four epochs whose score is the try's learning rate."""

    def __init__(self, folder: Path) -> None:
        self._marks = folder

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings | None = None
    ) -> Best:
        rate = (settings or {}).get("learning_rate", 0.5)
        for epoch in range(4):
            time.sleep(0.1)  # so that the tries of a policy are judged one beside the other
            (folder / CHECKPOINT).write_text(f"{rate} {epoch}")
            (self._marks / f"{policy.digest}-{rate}-{epoch}").touch()
            on_epoch(epoch, rate + epoch / 100, rate + epoch / 100)
        return Best(rate + 0.03)
