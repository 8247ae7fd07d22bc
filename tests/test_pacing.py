"""A study kept within its minutes: what is decided when, over times that are given."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from autocompress import config
from autocompress.core.ports import Tally
from autocompress.core.spec import Budget, StudySpec
from autocompress.core.training_spec import CertifySpec
from autocompress.errors import SpecError
from autocompress.operators import OPERATORS
from autocompress.planning.stages import CERTIFICATION, ELASTIC, FINALISTS, SEARCH, TEACHER, Measured
from autocompress.store import Lease, Store
from autocompress.study.life import extended
from autocompress.study.pacing import Pacing
from autocompress.testing import OBJECTIVES
from tests.planning.test_stages import FAST

SLOW = replace(FAST, train=64_000, lessons=128_000)


class Notes:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, detail: str = "") -> None: ...

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Tally) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Store, Lease]]:
    with Store.open(str(tmp_path / "studies.db")) as store:
        store.create_study("mine", given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES)
        with store.lease("mine") as lease:
            yield store, lease


@functools.cache
def study(minutes: float | None) -> StudySpec:
    given = config.load_study("quickstart", operators=OPERATORS)
    return replace(given, name="mine", budget=Budget(200, minutes=minutes))


def measured_twice() -> NoReturn:
    raise AssertionError("what was measured is stored")


def begun(held: tuple[Store, Lease], minutes: float, timings: dict[str, float], measured: Measured = SLOW) -> Pacing:
    pacing = Pacing(study(minutes), *held, Notes(), timings)
    pacing.begin(lambda: measured)
    return pacing


def test_without_minutes_a_study_is_left_as_it_is(held: tuple[Store, Lease]) -> None:
    spec = study(None)
    pacing = Pacing(spec, *held, Notes(), {})
    assert not pacing.is_bounded
    assert pacing.at(TEACHER, spec) is spec
    pacing.over()
    assert held[0].study("mine").facts == {}


def test_too_few_minutes_are_refused_with_the_least_that_would_do(held: tuple[Store, Lease]) -> None:
    with pytest.raises(
        SpecError,
        match=r"budget\.minutes: 0\.5 bounds the whole study, and the least that would do is \d+(\.\d)? "
        r"\(teacher \d\.\d, .*\); what bounds the search alone is `search_minutes`",
    ) as refused:
        begun(held, 0.5, {})
    least = float(str(refused.value).split("would do is ")[1].split()[0])
    assert "plan" not in held[0].study("mine").facts, "the next run begins anew"
    begun(held, least, {})


def test_a_run_that_goes_on_decides_nothing_twice(held: tuple[Store, Lease]) -> None:
    timings: dict[str, float] = {}
    first, spec = begun(held, 8, timings), study(8)
    taught = first.at(TEACHER, spec)
    assert taught.teacher.steps is not None
    assert taught.elastic == spec.elastic, "that is decided when it begins"
    timings["teacher"] = 100.0
    trained = first.at(ELASTIC, taught)
    again = Pacing(spec, *held, Notes(), {"teacher": 300.0})
    again.begin(measured_twice)
    assert again.at(TEACHER, spec) == taught
    assert again.at(ELASTIC, spec) == trained
    assert again.at(SEARCH, trained).most_lessons == trained.most_lessons


def test_what_a_stage_took_too_long_is_taken_from_those_that_follow(held: tuple[Store, Lease]) -> None:
    timings: dict[str, float] = {}
    pacing, spec = begun(held, 8, timings), study(8)
    pacing.at(TEACHER, spec)
    planned: Any = held[0].study("mine").facts["plan"]["planned"]
    timings |= {"teacher": planned["teacher"] + 100}
    pacing.at(ELASTIC, spec)
    timings |= {"elastic model": planned["elastic model"]}
    searched = pacing.at(SEARCH, spec)
    assert searched.budget.search_minutes is not None
    assert 60 * searched.budget.search_minutes < planned["search"]
    watching: Any = pacing._observer
    assert "teacher took" in watching.notes[-1]
    assert " of 8 minutes are left: search " in watching.notes[-1]


def test_a_training_slower_than_planned_makes_those_after_it_longer(held: tuple[Store, Lease]) -> None:
    """Of a machine that had nothing else to do when its steps were timed."""

    def steps(slower: float) -> int:
        store, lease = held
        store.set_fact(lease, "plan", {})
        timings: dict[str, float] = {}
        pacing, spec = begun(held, 8, timings), study(8)
        pacing.at(TEACHER, spec)
        timings["teacher"] = store.study("mine").facts["plan"]["foreseen"][TEACHER]
        pacing.at(ELASTIC, spec)
        foreseen = store.study("mine").facts["plan"]["foreseen"][ELASTIC]
        timings["elastic model"] = slower * foreseen
        timings["pause"] = (3.0 - slower) * foreseen  # the same minutes are left whatever it took
        pacing.at(SEARCH, spec)
        counted = pacing.at(FINALISTS, spec)
        steps = pacing.at_training([0.3] * counted.finalists.count, counted).finalists.training.steps
        assert steps is not None
        return steps * counted.finalists.count

    assert steps(2.0) == pytest.approx(steps(1.0) / 2, rel=0.3)
    assert steps(0.1) == steps(1.0), "answered by the cache"


def test_finalists_have_steps_by_the_work_of_those_that_were_chosen(held: tuple[Store, Lease]) -> None:
    pacing, spec = begun(held, 8, {"teacher": 200.0}), study(8)
    for stage in (TEACHER, ELASTIC, SEARCH):
        pacing.at(stage, spec)
    counted = pacing.at(FINALISTS, spec)
    trained = pacing.at_training([0.05] * counted.finalists.count, counted)
    steps = trained.finalists.training.steps
    lessons = counted.finalists.training.steps
    assert steps is not None
    assert lessons is not None
    assert steps > 1.5 * lessons, "small ones have more of them than was thought"
    again = Pacing(spec, *held, Notes(), {"teacher": 400.0})
    again.begin(measured_twice)
    assert again.at_training([0.9], spec).finalists.training.steps == steps


def test_certification_is_left_out_where_no_fold_fits_and_what_would_do_is_said(held: tuple[Store, Lease]) -> None:
    asked = study(30)
    spec = replace(asked, finalists=replace(asked.finalists, certify=CertifySpec(minutes=5.0)))
    watching, timings = Notes(), {"teacher": 600.0}
    pacing = Pacing(spec, *held, watching, timings)
    pacing.begin(lambda: FAST)
    for stage in (TEACHER, ELASTIC, SEARCH):
        pacing.at(stage, spec)
    counted = pacing.at(FINALISTS, spec)
    pacing.at_training([0.3] * counted.finalists.count, counted)
    timings["finalists"] = 1790.0 - 600.0
    assert pacing.at(CERTIFICATION, counted).finalists.certify is None
    said = re.search(
        r"certification is left out: a fold takes about (\d+\.\d) minutes, and 0\.2 of 30 are left; "
        r"`budget.minutes` of (\d+) or more would do",
        watching.notes[-1],
    )
    assert said is not None
    assert 30 < int(said[2]) <= 31 + float(said[1])
    again = Pacing(spec, *held, Notes(), {"teacher": 1.0})
    again.begin(measured_twice)
    assert again.at(CERTIFICATION, spec).finalists.certify is None, "it was decided"


def test_the_plan_is_told_as_a_table(held: tuple[Store, Lease]) -> None:
    watching = Notes()
    Pacing(study(30), *held, watching, {}).begin(lambda: FAST)
    title, *table = watching.notes[0].splitlines()
    assert title == "plan of the study:"
    assert max(map(len, table)) <= 78, "with two blanks before each line"
    assert time.strftime("%Y") not in title


def test_more_of_a_study_needs_minutes_for_it(held: tuple[Store, Lease]) -> None:
    store, lease = held
    more: dict[str, Any] = {"trials": 9, "minutes": None, "search_minutes": None, "finalists": None}
    with pytest.raises(SpecError, match=r"without `budget\.minutes`; its search alone is `--search-minutes`"):
        extended(study(None), store, **more | {"minutes": 9})
    store.set_fact(lease, "timings", {"teacher": 100.0, "search": 380.0})
    with pytest.raises(SpecError, match=r"--trials: all 8 minutes of the study are spent; give `--minutes` too"):
        extended(study(8), store, **more)
    longer = extended(study(8), store, **more | {"minutes": 9})
    assert (longer.budget.minutes, longer.budget.trials) == (9, 9)
