"""SIGKILL of the driver, in every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.faults.chains import chained, planned
from tests.faults.counting import Row
from tests.faults.programs import Program, Start
from tests.faults.projects import Project, database_of, searched
from tests.postgres import Server


def killed_drivers(
    start: Start, server: Server | None, *, workers: int, samplers: Sequence[str], more: int = 0
) -> Iterator[Row]:
    """One row: with each sampler one study, or more where it is complete before all stages had their turn."""
    row = Row("SIGKILL of the driver", "somewhere in each stage", database_of(server), str(workers))

    def strike(program: Program, one: Project) -> None:
        program.kill()
        row.times += 1

    for place, sampler in enumerate(samplers):
        chained(
            row,
            strike,
            start=start,
            server=server,
            workers=workers,
            stages=planned(workers, more, seed=place),
            ordered=workers < 2,
            **searched(sampler, workers),
        )
    yield row
