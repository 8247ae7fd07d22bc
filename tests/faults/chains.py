"""One study that is struck in stage after stage, gone on with each time, and compared in the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.faults.counting import Row
from tests.faults.programs import STAGES, Program, Start
from tests.faults.projects import Found, Project, left_alone, project
from tests.postgres import Server

EARLY = ("assets", "teacher", "importance", "device", "elastic model")
LATE = ("workers", "search", "finalists", "verification")
_SHORTEST = 0.1
"""Seconds within which a fault comes after a stage begins that is not timed."""

Strike = Callable[[Program, Project], None]
"""What happens to a program at a moment; it counts itself, and returns when the program has ended."""


def planned(workers: int, more: int = 0, *, seed: int = 0) -> list[str]:
    """Every stage, and so many `more`, in their order."""
    stages = [stage for stage in (*EARLY, *LATE) if workers or stage != "workers"]
    stages += random.Random(seed).choices(("search", "search", "finalists", "verification", "teacher"), k=more)
    return sorted(stages, key=STAGES.index)


def chained(
    row: Row,
    strike: Strike,
    *,
    start: Start,
    server: Server | None,
    workers: int,
    stages: Sequence[str],
    ordered: bool,
    **changes: Any,
) -> None:
    """Strikes a study in each of these stages; another one goes on where it is complete before. Whatever is found at
    the end counts in `row`, whose seconds are those until the stage of the last fault was reached again."""
    whole, timings = left_alone(start, **changes)
    chance, left = random.Random(f"{changes} {workers}"), list(stages)
    while left:
        with project(start, server=server, **changes) as one:
            last = ""
            while left and one.state() != "complete":
                program = one.go_on(workers)
                if last:
                    row.seconds.append(_seconds_to(program, last))
                until_within(program, one, left[0], whole, timings, chance)
                if program.exit_code() is None:
                    last = program.stage
                    row.found[last] += 1
                    strike(program, one)
                    one.look(row)
                    left.pop(0)
                elif one.state() != "complete":
                    row.stuck += 1
                    row.wrong.append(f"it ended by itself: {program.said[-1000:]}")
                    left.pop(0)
            one.brought_to_its_end(workers, whole, row, ordered=ordered)


def _seconds_to(program: Program, stage: str) -> float:
    began = time.monotonic()
    program.until_stage(stage)
    return time.monotonic() - began


def until_within(
    program: Program, one: Project, stage: str, whole: Found, timings: Mapping[str, float], chance: random.Random
) -> None:
    """Waits for a random moment of a stage: of the search after some of its outcomes, of others after some time."""
    program.until_stage(stage)
    if stage == "search":
        wanted = chance.randrange(len(whole.candidates))
        program.until(lambda: one.judged() >= wanted or program.stage != stage)
    else:
        program.exit_code(chance.uniform(0.0, 0.5 * timings.get(stage, _SHORTEST)))
