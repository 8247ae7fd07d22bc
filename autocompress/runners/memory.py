"""A limit to the memory of this process and what it started: a thread looks, and ends them all above it.

It is the process itself that looks, so that a worker on any machine is held to it, and whoever is told of the end can
say that it was no accident.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import psutil

GIGABYTE: Final = 1e9

_TICK: Final = 0.2
"""Seconds between two looks: each reads what runs on this machine, some milliseconds."""

_EXIT: Final = 137
"""What the process ends with, as one does that the system ended for its memory."""


def watch_memory(limit_gb: float, tell: Callable[[str], None]) -> None:
    """From here on this process is ended, with all that it started, once together they hold more than so many gigabytes
    (10^9 bytes); `tell` is called before, with what was seen in words."""
    threading.Thread(target=_watch, args=(limit_gb, tell), name="memory", daemon=True).start()


def held_gb(processes: Sequence[psutil.Process]) -> float:
    """Resident gigabytes of these processes, without what they share with others: a model that all workers read in
    place is there once."""
    found = 0
    for one in processes:
        with suppress(psutil.Error):  # it ended meanwhile
            memory = one.memory_info()
            found += memory.rss - getattr(memory, "shared", 0)
    return found / GIGABYTE


def _watch(limit_gb: float, tell: Callable[[str], None]) -> None:
    here = psutil.Process()
    while True:
        below = here.children(recursive=True)
        held = held_gb([here, *below])
        if held > limit_gb:
            break
        time.sleep(_TICK)
    try:
        tell(in_words(held, limit_gb))
    finally:
        for one in below:
            with suppress(psutil.Error):
                one.kill()
        os._exit(_EXIT)


def in_words(held: float, limit: float) -> str:
    """What became of a candidate, and the key that is to be changed where the limit is too low for it."""
    return (
        f"the worker held {held:.2f} GB of memory, more than budget.memory_gb={limit:g}, and was stopped; raise that "
        "key or leave it out"
    )
