"""Several drivers of one study: begun at once, or paused past their lease and gone on after another took over."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Iterator

from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Program, Start
from tests.faults.projects import NAME, Project, database_of, left_alone, project
from tests.postgres import Server

_TRIALS = 150
_LEASE_SECONDS = 60.0
"""After so many a holder that was paused has lost its hold."""
_LONGEST = 120.0
_SHORT = 0.2
_LOCKED = 5
_TAKEN = 2
"""Exit codes: somebody else runs it; the name is taken."""


def drivers_at_once(start: Start, server: Server | None, *, rounds: int, workers: tuple[int, ...]) -> Iterator[Row]:
    """Two to four drivers a round, of which one must go on and the others must say who does; the one is stopped, and
    the next round begins. With `workers` in turns."""
    told = ", ".join(map(str, workers))
    row = Row("2 to 4 drivers at once", "begun in the same moment", database_of(server), told)
    changes = {"sampler": "random", "budget": {"trials": _TRIALS}}
    whole, _ = left_alone(start, **changes)
    with project(start, server=server, **changes) as one:
        for number in range(rounds):
            if one.state() == "complete":
                row.wrong.append("it was complete before all rounds")
                break
            together(row, one, many=2 + number % 3, workers=workers[number % len(workers)])
            one.look(row)
        one.brought_to_its_end(0, whole, row)
    yield row


def together(row: Row, one: Project, *, many: int, workers: int) -> None:
    """So many drivers at once; the one that goes on is stopped."""
    first = not one.state()
    began = time.monotonic()
    # the state is read once: those that come later must not resume what the first one has just made
    what = ("run", f"{NAME}.yaml") if first else ("resume", NAME)
    programs = [one.begin(*what, "--workers", str(workers), label=f"{row.times}-{place}") for place in range(many)]
    ends = time.monotonic() + _LONGEST
    while sum(program.exit_code() is None for program in programs) > 1 and time.monotonic() < ends:
        time.sleep(0.02)
    row.times += 1
    row.found[f"{many} drivers"] += 1
    row.seconds.append(time.monotonic() - began)
    going = [program for program in programs if program.exit_code() is None]
    for program in programs:
        if program not in going:
            row.wrong += _objections(program, first=first)
    if len(going) != 1:
        row.twice += max(0, len(going) - 1)
        row.stuck += not going
        row.wrong.append(f"{len(going)} of {many} went on")
    for program in going:
        program.until_it_hears()
        program.strike(signal.SIGTERM)
        if (code := program.exit_code(PATIENCE)) != 128 + signal.SIGTERM:
            row.wrong.append(f"stopped, it ended with {code}: {program.said[-500:]}")


def _objections(program: Program, *, first: bool) -> Iterator[str]:
    code, said = program.exit_code(), program.said
    refused = (code == _LOCKED and "is being run by process" in said) or (first and code == _TAKEN and "exists" in said)
    if not refused:
        yield f"it ended with {code}: {said[-500:]}"


def split_brains(start: Start, server: Server | None, *, times: int) -> Iterator[Row]:
    """One study whose driver falls asleep in the search again and again. It is taken over at once, the last two
    times when the lease has run out; the sleeper wakes up while the next one searches, the last one after the end."""
    row = Row("split brain", "SIGSTOP past the lease, SIGCONT after a takeover", database_of(server), "0")
    changes = {"sampler": "random", "budget": {"trials": _TRIALS}}
    whole, _ = left_alone(start, **changes)
    chance = random.Random(times)
    with project(start, server=server, **changes) as one:
        program = one.go_on(0)
        for number in range(times):
            wanted = one.judged() + chance.randint(1, _TRIALS // (2 * times))
            program.until(lambda wanted=wanted: one.judged() >= wanted)  # type: ignore[misc]
            soon, last = number < times - 2, number == times - 1
            program = wakes_up_replaced(row, one, program, takeover=soon, early=not last)
        if (code := program.exit_code(PATIENCE)) != 0:
            row.stuck += 1
            row.wrong.append(f"the last one ended with {code}: {program.said[-500:]}")
        one.brought_to_its_end(0, whole, row)
    yield row


def wakes_up_replaced(row: Row, one: Project, first: Program, *, takeover: bool, early: bool) -> Program:
    """A driver that is asleep wakes up when another one has the study: in its search, `early`, or when it has ended.
    Without `takeover` it sleeps until its lease has run out. Returns the one that has the study."""
    _asleep(row, one, first)
    time.sleep(0.0 if takeover else _LEASE_SECONDS + 1)
    began = time.monotonic()
    second = one.begin("resume", NAME, "--workers", "0", *(["--takeover"] if takeover else []))
    second.until_stage("search" if early else "done")
    row.seconds.append(time.monotonic() - began)
    one.look(row)
    first.strike(signal.SIGCONT)
    row.times += 1
    row.found["taken over at once" if takeover else "after its lease"] += 1
    code = first.exit_code(PATIENCE)
    if code != _LOCKED or not any(words in first.said for words in ("was taken over by process", "no longer held")):
        row.wrong.append(f"the first one ended with {code}: {first.said[-500:]}")
    if second.exit_code() not in (None, 0):
        row.wrong.append(f"the second one ended with {second.exit_code()}: {second.said[-500:]}")
    one.look(row)
    return second


def _asleep(row: Row, one: Project, program: Program) -> None:
    """Stops a driver. On SQLite one that sleeps inside of a transaction keeps everybody out of the file, who say so
    after half a minute: there it is woken, and stopped at another moment. A server ends such a transaction."""
    program.strike(signal.SIGSTOP)
    while one.database == "SQLite" and _is_locked(one):
        row.found["inside of a transaction: woken"] += 1
        program.strike(signal.SIGCONT)
        time.sleep(_SHORT)
        program.strike(signal.SIGSTOP)


def _is_locked(one: Project) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(one.storage.removeprefix("sqlite:///"), timeout=_SHORT)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    return False
