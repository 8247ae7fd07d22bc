"""All kinds of faults, cut into cells that are run one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.faults.counting import Row
from tests.faults.drivers import killed_drivers
from tests.faults.programs import Start
from tests.postgres import Server

SAMPLERS: Final = ("nsga2", "tpe", "random")


@dataclass(frozen=True)
class Cell:
    """A part of a kind that ends by itself; `on_server` says whether it needs PostgreSQL."""

    kind: str
    on_server: bool
    run: Callable[[Start, Server | None], Iterator[Row]]


def cells() -> Mapping[str, Cell]:
    """Every cell of the table by its name, in the order in which they are run."""
    found: dict[str, Cell] = {}
    for workers in (0, 1, 2):
        for on_server in (False, True):
            found[f"drivers, {workers}, {_place(on_server)}"] = Cell(
                "drivers", on_server, partial(_drivers, workers, 0 if workers else 8)
            )
    return found


def _drivers(workers: int, more: int, start: Start, server: Server | None) -> Iterator[Row]:
    return killed_drivers(start, server=server, workers=workers, samplers=SAMPLERS, more=more)


def _place(on_server: bool) -> str:
    return "PostgreSQL" if on_server else "SQLite"
