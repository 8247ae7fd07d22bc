"""A PostgreSQL server that restarts in the middle of a search, or goes away for good."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Start
from tests.faults.projects import left_alone, project
from tests.postgres import Server

_APART = 3
"""Outcomes between two restarts."""
_PROMISED = (25.0, 60.0)
"""Seconds within which a study whose server is gone says so: 30, and what it takes to notice."""
_LOST = 5
"""The exit code of a database that cannot be reached."""


def restarted_server(start: Start, server: Server | None, *, workers: int, times: int) -> Iterator[Row]:
    assert server is not None
    row = Row("restart of PostgreSQL", "stopped at once, away for up to 3 s", "PostgreSQL", str(workers))
    chance = random.Random(workers)
    changes = {"sampler": "random", "budget": {"trials": 150}}
    whole, _ = left_alone(start, **changes)
    while row.times < times:
        with project(start, server=server, **changes) as one:
            program = one.go_on(workers)
            program.until_stage("search")
            while row.times < times and program.stage == "search":
                before = one.judged()
                program.until(lambda before=before: one.judged() >= before + _APART)  # type: ignore[misc]
                if program.stage != "search":
                    break
                one.look(row)
                server.stop()
                time.sleep(chance.uniform(0.0, 3.0))
                server.start()
                began, before = time.monotonic(), one.judged()
                row.times += 1
                if program.until(lambda before=before: one.judged() > before):  # type: ignore[misc]
                    row.seconds.append(time.monotonic() - began)
                one.look(row)
            if (code := program.exit_code(PATIENCE)) != 0:
                row.stuck += 1
                row.wrong.append(f"it ended with {code}: {program.said[-1000:]}")
            one.brought_to_its_end(workers, whole, row)
    yield row


def lost_server(start: Start, server: Server | None, *, workers: int = 0) -> Iterator[Row]:
    """The seconds are those after which the program says so."""
    assert server is not None
    row = Row("PostgreSQL gone for good", "stopped; back after the program has ended", "PostgreSQL", str(workers))
    changes = {"sampler": "random", "budget": {"trials": 150}}
    whole, _ = left_alone(start, **changes)
    with project(start, server=server, **changes) as one:
        program = one.go_on(workers)
        program.until(lambda: one.judged() >= _APART)
        one.look(row)
        server.stop()
        began = time.monotonic()
        code = program.exit_code(PATIENCE)
        took = time.monotonic() - began
        row.times += 1
        row.seconds.append(took)
        if code != _LOST or not _PROMISED[0] <= took <= _PROMISED[1] or "Traceback" in program.said:
            row.wrong.append(f"it ended with {code} after {took:.0f} s: {program.said[-1000:]}")
        server.start()
        one.look(row)
        one.brought_to_its_end(workers, whole, row)
    yield row
