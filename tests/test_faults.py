"""A short form of `studies/benchmarks/faults.py`: one small study meets a fault of each kind, and ends as one does that
was left alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.faults.counting import Row
from tests.faults.disks import full_commands, may_mount
from tests.faults.flips import flips_of_caches, flips_of_exports
from tests.faults.programs import PATIENCE, forked
from tests.faults.projects import Project, left_alone, project
from tests.faults.rivals import together, wakes_up_replaced
from tests.faults.signals import heard

SAMPLER = "nsga2"


@pytest.fixture(scope="module")
def one() -> Iterator[Project]:
    with project(forked, sampler=SAMPLER) as one:
        yield one


@pytest.fixture
def ended(one: Project) -> Project:
    """With its study at its end, wherever the tests before left it."""
    if one.state() != "complete":
        program = one.go_on(0)
        assert program.exit_code(PATIENCE) == 0, program.said
    return one


@pytest.fixture
def row() -> Iterator[Row]:
    """What a test counts, all of which must be in order."""
    row = Row("", "")
    yield row
    assert row.times
    assert row.is_clean, row


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_study_of_rivals_kills_signals_and_a_sleeper_ends_as_one_that_is_left_alone(one: Project, row: Row) -> None:
    whole, _ = left_alone(forked, sampler=SAMPLER)
    assert whole.finalists
    together(row, one, many=3, workers=0)

    def begun(stage: str) -> None:
        program.until_stage(stage)
        assert program.exit_code() is None, program.said

    program = one.go_on(0)
    begun("teacher")
    program.kill()
    program = one.go_on(0)
    begun("elastic model")
    heard(row, program, one, signal.SIGTERM, twice=False)
    program = one.go_on(0)
    program.until(lambda: one.judged() > 3)
    program = wakes_up_replaced(row, one, program, takeover=True, early=True)
    begun("finalists")
    program.kill()
    program = one.go_on(0)
    begun("verification")
    heard(row, program, one, signal.SIGINT, twice=True)
    one.brought_to_its_end(0, whole, row)


def test_every_flipped_byte_of_its_exports_and_caches_is_found(ended: Project) -> None:
    rows = [*flips_of_exports(ended, times=24), *(row for row, _ in flips_of_caches(ended, times=8))]
    assert [row for row in rows if not row.is_clean or not row.times] == []


def test_what_commands_write_on_a_full_disk_is_not_there_and_said(ended: Project, row: Row) -> None:
    if not may_mount():
        pytest.skip("needs a disk of its own, which only the superuser may have")
    full_commands(row, ended)
    assert ended.begin("list").exit_code(PATIENCE) == 0
