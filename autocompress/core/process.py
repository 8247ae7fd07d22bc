"""A process, told apart from a later one that got the same number: who holds a lease, who made a folder."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import final

_ENDED = frozenset("ZX")  # a zombie has a row in /proc, but will never write again


@final
@dataclass(frozen=True, slots=True)
class Process:
    """A process on a host. `kernel` is the boot and the process-number space, `started` its start in clock ticks after
    boot, which no step of the wall clock moves; both are None where there is no /proc."""

    host: str
    pid: int
    kernel: str | None
    started: int | None

    @staticmethod
    def current() -> Process:
        state = _state(os.getpid())
        return Process(socket.gethostname(), os.getpid(), _kernel(), state[1] if state else None)

    @staticmethod
    def of(pid: int) -> Process | None:
        """A process of this machine, by its number; None when there is none."""
        state = _state(pid)
        return None if state is None else Process(socket.gethostname(), pid, _kernel(), state[1])

    @property
    def boot(self) -> str | None:
        return None if self.kernel is None else self.kernel.partition("/")[0]

    def runs_here(self) -> bool:
        """Whether this very process runs, as far as it can be seen from here: in this boot and this container."""
        state = _state(self.pid)
        return (
            self.kernel is not None
            and self.kernel == _kernel()
            and state is not None
            and state[0] not in _ENDED
            and state[1] == self.started
        )

    def is_gone(self) -> bool:
        """Whether the process has certainly ended. False when it cannot be known from here."""
        if self.kernel is None or self.started is None or self.kernel != _kernel():
            return False
        state = _state(self.pid)
        if state is None:
            return not _exists(self.pid)
        return state[0] in _ENDED or state[1] != self.started


def _kernel() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Two containers of one machine share the boot, and may share the host name, but number their processes apart.
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _exists(pid: int) -> bool:
    """Asked of the kernel: /proc mounted with `hidepid` shows nothing of other users' processes."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _state(pid: int) -> tuple[str, int] | None:
    """The state letter and the start ticks of a process; None when there is none (proc(5), fields 3 and 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the command name before it may hold spaces and parentheses
    return fields[0], int(fields[19])
