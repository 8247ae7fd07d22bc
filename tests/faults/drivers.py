"""SIGKILL of the driver, in every stage."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.faults.counting import Row
from tests.faults.programs import STAGES, Program, Start
from tests.faults.projects import BUDGET, Found, Project, database_of, left_alone, project, searched
from tests.postgres import Server

EARLY = ("assets", "teacher", "importance", "device", "elastic model")
LATE = ("workers", "search", "finalists", "verification")
_SHORTEST = 0.1
"""Seconds within which a fault comes after a stage begins that is not timed."""


def planned(workers: int, more: int = 0, *, seed: int) -> list[str]:
    """Every stage, and so many `more`, in their order."""
    stages = [stage for stage in (*EARLY, *LATE) if workers or stage != "workers"]
    stages += random.Random(seed).choices(("search", "search", "finalists", "verification", "teacher"), k=more)
    return sorted(stages, key=STAGES.index)


def killed_drivers(
    start: Start, *, server: Server | None, workers: int, samplers: Sequence[str], more: int = 0
) -> Iterator[Row]:
    """One row: with each sampler one study, or more where it is complete before all stages had their turn."""
    row = Row("SIGKILL of the driver", "somewhere in each stage", database_of(server), str(workers))
    for place, sampler in enumerate(samplers):
        whole, timings = left_alone(start, sampler, several=workers > 1)
        _chain(row, start, server, workers, sampler, planned(workers, more, seed=place), whole, timings)
    yield row


def _chain(
    row: Row,
    start: Start,
    server: Server | None,
    workers: int,
    sampler: str,
    stages: Sequence[str],
    whole: Found,
    timings: Mapping[str, float],
) -> None:
    chance = random.Random(f"{sampler} {workers}")
    left = list(stages)
    while left:
        with project(start, server=server, **searched(sampler, workers)) as one:
            last = ""
            while left and one.state() != "complete":
                program = one.go_on(workers)
                if last:
                    row.seconds.append(_seconds_to(program, last))
                _until_within(program, one, left[0], timings, chance)
                if program.exit_code() is None:
                    last = _killed(program, one, row)
                    left.pop(0)
                elif one.state() != "complete":
                    row.stuck += 1
                    row.wrong.append(f"it ended by itself: {program.said[-1000:]}")
                    left.pop(0)
            one.brought_to_its_end(workers, whole, row, ordered=workers < 2)


def _seconds_to(program: Program, stage: str) -> float:
    began = time.monotonic()
    program.until_stage(stage)
    return time.monotonic() - began


def _until_within(
    program: Program, one: Project, stage: str, timings: Mapping[str, float], chance: random.Random
) -> None:
    """Waits for a random moment of a stage: of the search after some of its outcomes, of others after some time."""
    program.until_stage(stage)
    if stage == "search":
        wanted = chance.randrange(BUDGET)
        program.until(lambda: one.judged() >= wanted or program.stage != stage)
    else:
        program.exit_code(chance.uniform(0.0, 0.5 * timings.get(stage, _SHORTEST)))


def _killed(program: Program, one: Project, row: Row) -> str:
    """The stage in which it was."""
    stage = program.stage
    program.kill()
    row.times += 1
    row.found[stage] += 1
    one.look(row)
    return stage
