"""SIGINT and SIGTERM, once and twice, in every stage: what the program ends with, says, stores and leaves behind."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import psutil

from tests.faults.chains import chained, planned
from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Program, Start
from tests.faults.projects import NAME, Project, database_of, searched
from tests.postgres import Server

LEFT_SECONDS = 15.0
_TWICE_SECONDS = 0.6
"""Within which the second one comes."""


def signalled(
    start: Start, server: Server | None, *, workers: int, rounds: int = 1, more: int = 0, sampler: str = "nsga2"
) -> Iterator[Row]:
    """A row for each signal: so many rounds through all stages, and some `more`."""
    chance = random.Random(f"{workers} {more}")
    for place, number in enumerate((signal.SIGTERM, signal.SIGINT)):
        row = Row(f"{number.name} to the driver", "once and twice, in each stage", database_of(server), str(workers))

        def strike(program: Program, one: Project, row: Row = row, number: signal.Signals = number) -> None:
            heard(row, program, one, number, twice=chance.random() < 0.5)

        stages = sorted(planned(workers, more, seed=place) * rounds, key=planned(workers).index)
        changes = searched(sampler, workers)
        chained(
            row,
            strike,
            start=start,
            server=server,
            workers=workers,
            stages=stages,
            ordered=workers < 2,
            **changes,
        )
        yield row


def heard(row: Row, program: Program, one: Project, number: signal.Signals, *, twice: bool) -> None:
    """Sends a signal, and looks at what comes of it."""
    below = program.below()
    row.times += 1
    program.strike(number)
    if twice and program.exit_code(random.Random(row.times).uniform(0.0, _TWICE_SECONDS)) is None:
        below += program.below()
        program.strike(number)
    code = program.exit_code(PATIENCE)
    if code is None:
        program.kill()
        row.stuck += 1
    row.wrong += [f"{number.name} in {program.stage!r}: {line}" for line in _objections(program, one, code, number)]
    left = psutil.wait_procs(below, timeout=LEFT_SECONDS)[1]
    row.stuck += len(left)
    row.wrong += [f"process {one.pid} is left: {_command(one)}" for one in left]


def _objections(program: Program, one: Project, code: int | None, number: signal.Signals) -> Iterator[str]:
    said, state = program.said, one.state()
    if "Traceback" in said or "Error:" in said or "***" in said:
        yield f"it said: {said[-2000:]}"
    # a signal in the interpreter's own last moments, when everything is stored and said
    codes = {128 + number} | ({-number, 0} if state == "complete" else set())
    if code not in codes:
        yield f"exit {code} instead of {128 + number}: {said[-1000:]}"
    if state not in ("interrupted", "complete", ""):
        yield f"its state is {state!r}"
    wanted = "Run it again" if not state else f"autocompress resume {NAME}"
    if state != "complete" and said.count(wanted) != 1:
        yield f"no line says how to go on: {said[-500:]}"


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:80]
    except psutil.Error:
        return ""
