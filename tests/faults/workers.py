"""SIGKILL of workers, while they evaluate, wait or start."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Program, Start
from tests.faults.projects import Project, database_of, left_alone, project
from tests.postgres import Server

_ACTOR = "ray::_Worker"
_STARTING = f"{_ACTOR}.__init__"
_WITHIN = 1.0
"""Seconds within which workers are killed after an outcome, or after they appear."""
_AGAIN = 2
_START_SECONDS = 60.0
"""A worker appears within."""


def killed_workers(start: Start, server: Server | None, *, workers: int, times: int) -> Iterator[Row]:
    """One row. All workers are killed at once after an outcome, and so are those that start in their places, `_AGAIN`
    times, unless they have begun with a candidate; the next kill waits until what was in flight is judged, as a
    candidate that is lost twice counts as failed."""
    row = Row("SIGKILL of workers", "all at once, and again as they start", database_of(server), str(workers))
    # what is asked for hangs on no outcome with `random`, and with one worker on no order
    sampler = "random" if workers > 1 else "nsga2"
    rounds = -(-times // (workers * (1 + _AGAIN)))
    changes = {"sampler": sampler, "budget": {"trials": 2 + rounds * _apart(workers), "recovery_steps": 4}}
    whole, _ = left_alone(start, **changes)
    while row.times < times:
        with project(start, server=server, **changes) as one:
            program = one.go_on(workers)
            program.until_stage("search")
            in_flight: set[int] = set()
            while row.times < times and _struck(row, program, one, workers, in_flight):
                pass
            if program.exit_code(PATIENCE) != 0:
                program.kill()
                row.wrong.append(f"it ended with {program.exit_code()}: {program.said[-1000:]}")
            one.brought_to_its_end(workers, whole, row)
    yield row


def _apart(workers: int) -> int:
    """Outcomes between kills: so many may be in flight."""
    return 1 if workers == 1 else 2 * workers


def _struck(row: Row, program: Program, one: Project, workers: int, in_flight: set[int]) -> bool:
    """Kills all workers once there are new outcomes, also of what was `in_flight` when others were killed, and those
    that start then. False where the search is over."""
    chance, before = random.Random(row.times), one.judged()

    def is_due() -> bool:
        return one.judged() >= before + _apart(workers) and not in_flight & one.unjudged()

    program.until(lambda: is_due() or program.stage != "search")
    time.sleep(chance.uniform(0.0, _WITHIN))
    if program.stage != "search":
        return False
    in_flight |= one.unjudged()
    for again in range(1 + _AGAIN):
        if again:
            program.until(lambda: len(_actors(program)) == workers, _START_SECONDS)
            time.sleep(chance.uniform(0.0, _WITHIN))
        killed = sum(map(_is_killed, _actors(program, _STARTING if again else _ACTOR)))
        row.times += killed
        row.found["as they start" if again else "after an outcome"] += killed
    struck, before = time.monotonic(), one.judged()
    one.look(row)
    if program.until(lambda: one.judged() > before or program.stage != "search"):
        row.seconds.append(time.monotonic() - struck)
    return True


def _actors(program: Program, title: str = _ACTOR) -> list[psutil.Process]:
    """Ray writes what a worker does into its title."""
    found = []
    for process in program.below():
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
    return found


def _is_killed(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        process.send_signal(signal.SIGKILL)
        return True
    return False
