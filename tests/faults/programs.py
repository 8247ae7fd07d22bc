"""Commands of the program as processes that can be watched and struck."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

import autocompress
from tests.fresh import FRESH

ROOT: Final = Path(autocompress.__path__[0]).parent
PATIENCE: Final = 600.0
_TICK: Final = 0.03
"""Seconds between two looks at a program: its database is opened for each."""

STAGES: Final = (
    "start",
    "assets",
    "teacher",
    "importance",
    "device",
    "elastic model",
    "workers",
    "search",
    "finalists",
    "verification",
    "done",
)
"""Of a study, in their order, as the program calls them."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of the program, where it runs and what its words go to: `label`.out and .err in the folder."""

    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    label: str

    @property
    def out(self) -> Path:
        return self.folder / f"{self.label}.out"

    @property
    def err(self) -> Path:
        return self.folder / f"{self.label}.err"


@dataclass(frozen=True, slots=True)
class Program:
    """One that runs, or ran."""

    command: Command
    pid: int
    _wait: Callable[[float], int | None]

    def exit_code(self, seconds: float = 0.0) -> int | None:
        """None when it still runs after so many seconds."""
        return self._wait(seconds)

    @property
    def said(self) -> str:
        return self.command.err.read_text(encoding="utf-8", errors="replace") if self.command.err.exists() else ""

    @property
    def stage(self) -> str:
        """The last that it said it began."""
        begun = [line.split("] ", 1)[1] for line in self.said.splitlines() if line.startswith("[") and "] " in line]
        known = [name for line in begun for name in STAGES if line == name or line.startswith((f"{name}:", f"{name} "))]
        return max(known, key=STAGES.index) if known else "start"

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Waits for a condition, the program's end or so many seconds. Whether the condition came true."""
        ends = time.monotonic() + seconds
        while not (true := condition()) and self.exit_code(0) is None and time.monotonic() < ends:
            time.sleep(_TICK)
        return true

    def until_stage(self, name: str) -> bool:
        """Waits until it is in this stage, or in a later one."""
        return self.until(lambda: STAGES.index(self.stage) >= STAGES.index(name))

    def until_it_hears(self) -> bool:
        """Waits until it has a handler for SIGTERM: before that it is an interpreter that starts."""

        def hears() -> bool:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
                caught = int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)
                return bool(caught & 1 << (signal.SIGTERM - 1))
            return False

        return self.until(hears)

    def strike(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.strike(signal.SIGKILL)
        self.exit_code(PATIENCE)

    def below(self) -> list[psutil.Process]:
        """The processes that descend from it."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.pid).children(recursive=True)
        return []


Start = Callable[[Command], Program]


def spawned(command: Command) -> Program:
    """A process as users start it, in a session of its own, so that nothing else is hit by what it does. Its words go
    to files, as pipes would be held open by what it leaves behind."""
    with command.out.open("w") as out, command.err.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "autocompress", *command.arguments],
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def wait(seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
        return None

    return Program(command, process.pid, wait)


def forked(command: Command) -> Program:
    """The same from a process that has imported everything already: no seconds of imports, at the price of neither
    seeing what a signal does in them nor in the interpreter's own end."""
    command.err.unlink(missing_ok=True)
    process: Any = FRESH.Process(target=_program, args=(command,))
    process.start()

    def wait(seconds: float) -> int | None:
        process.join(seconds)
        return None if process.exitcode is None else int(process.exitcode)

    return Program(command, int(process.pid), wait)


def _program(command: Command) -> None:
    """Runs in a forked process."""
    from autocompress.cli import main

    os.setsid()
    os.chdir(command.folder)
    os.environ.update(command.environment)
    for number, path in ((1, command.out), (2, command.err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["autocompress", *command.arguments]
    sys.exit(main())
