"""A long search: does its driver grow, or slow down?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Start
from tests.faults.projects import WIDEST, database_of, project
from tests.postgres import Server

_MOST_MB, _MOST_SLOWER = 50.0, 0.2
_TICK = 0.2


def long_search(start: Start, server: Server | None, *, workers: int, trials: int) -> Iterator[Row]:
    """Memory and processor time of the driver are read as it searches. It has begun by a tenth of the candidates: from
    there on it may grow by 50 MB; the last fifth of them may take it at most 20 % longer than the second one."""
    row = Row(f"a search of {trials} candidates", "left alone", database_of(server), str(workers))
    changes = {"sampler": "random", "space": WIDEST, "budget": {"trials": trials}}
    with project(start, server=server, **changes) as one:
        program = one.go_on(workers)
        program.until_stage("search")
        readings: list[tuple[int, float, float]] = []
        while program.exit_code(_TICK) is None and program.stage == "search":
            with suppress(psutil.Error):
                driver = psutil.Process(program.pid)
                spent, held = driver.cpu_times(), driver.memory_info().rss
                readings.append((one.judged(), spent.user + spent.system, held / 1e6))
        began = time.monotonic()
        if program.exit_code(PATIENCE) != 0:
            row.stuck += 1
            row.wrong.append(f"it ended with {program.exit_code()}: {program.said[-1000:]}")
        row.seconds.append(time.monotonic() - began)
        row.times = one.judged()
        row.lost = max(0, trials - row.times)
        one.brought_to_its_end(workers, None, row)
    row.wrong += _objections(readings, trials, row)
    yield row


def _objections(readings: list[tuple[int, float, float]], trials: int, row: Row) -> Iterator[str]:
    inside = [one for one in readings if one[0] >= trials / 10]
    grown = max(held for _, _, held in inside) - inside[0][2]
    early, late = _pace(readings, trials, 0.2, 0.4), _pace(readings, trials, 0.8, 1.0)
    row.found["MB grown"] = round(grown)
    row.found["ms a candidate, early"] = round(1e3 * early)
    row.found["ms a candidate, late"] = round(1e3 * late)
    if grown > _MOST_MB:
        yield f"it grew by {grown:.0f} MB"
    if late > (1 + _MOST_SLOWER) * early:
        yield f"a candidate took it {1e3 * late:.1f} ms at the end, {1e3 * early:.1f} ms before"


def _pace(readings: list[tuple[int, float, float]], trials: int, begin: float, end: float) -> float:
    """Processor seconds of the driver a candidate, between two shares of all candidates."""
    part = [(done, spent) for done, spent, _ in readings if begin * trials <= done <= end * trials]
    (first, before), (last, after) = part[0], part[-1]
    return (after - before) / (last - first)
