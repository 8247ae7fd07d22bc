"""All kinds of faults, cut into cells that are run one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tests.faults.counting import Row
from tests.faults.disks import full_caches, full_disks, full_elsewhere
from tests.faults.drivers import killed_drivers
from tests.faults.flips import flipped_caches, flipped_exports
from tests.faults.lengths import long_search
from tests.faults.programs import Start
from tests.faults.rivals import drivers_at_once, split_brains
from tests.faults.servers import lost_server, restarted_server
from tests.faults.signals import signalled
from tests.faults.workers import killed_workers
from tests.postgres import Server

SAMPLERS: Final = ("nsga2", "tpe", "random")


@dataclass(frozen=True)
class Cell:
    """A part of the table that ends by itself; `on_server` says whether it needs PostgreSQL."""

    on_server: bool
    run: Callable[[Start, Server | None], Iterator[Row]]


def cells() -> Mapping[str, Cell]:
    """Every cell of the table by its name, which begins with its kind, in the order in which they are run."""
    found: dict[str, Cell] = {}

    def both(kind: str, what: str, run: Callable[..., Iterator[Row]], **settings: Any) -> None:
        for place, on_server in (("SQLite", False), ("PostgreSQL", True)):
            name = ", ".join(part for part in (kind, what, place) if part)
            found[name] = Cell(on_server, partial(run, **settings))

    for workers in (0, 1, 2):
        more = 0 if workers else 8
        both("drivers", str(workers), killed_drivers, workers=workers, samplers=SAMPLERS, more=more)
    for workers, times in ((1, 21), (2, 30)):
        both("workers", str(workers), killed_workers, workers=workers, times=times)
    for workers in (0, 1, 2):
        both("signals", str(workers), signalled, workers=workers)
    del found["signals, 1, PostgreSQL"]  # 40 of each are enough
    both("at once", "", drivers_at_once, rounds=10, workers=(0, 1, 2))
    both("split brain", "", split_brains, times=10)
    for workers, times in ((0, 4), (1, 3), (2, 3)):
        found[f"server, {workers}"] = Cell(True, partial(restarted_server, workers=workers, times=times))
    found["server, gone"] = Cell(True, lost_server)
    both("disk", "artifacts", full_disks, place="artifacts")
    # the same files whatever the database
    found["disk, everything"] = Cell(False, partial(full_disks, place="everything"))
    found["disk, cache"] = Cell(False, full_caches)
    found["disk, commands"] = Cell(False, full_elsewhere)
    found["flips, export"] = Cell(False, partial(flipped_exports, times=1000))
    found["flips, cache"] = Cell(False, partial(flipped_caches, times=100))
    both("long", "", long_search, workers=0, trials=2000)
    return found
