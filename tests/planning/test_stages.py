"""What is planned for the stages of a study, by given times: exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocompress import config
from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import CertifySpec
from autocompress.operators import OPERATORS
from autocompress.planning.stages import (
    CERTIFICATION,
    ELASTIC,
    FINALISTS,
    SEARCH,
    STAGES,
    TEACHER,
    VERIFICATION,
    Measured,
    Plan,
    as_decided,
    as_planned,
    decided_at,
    decisions_until,
    drawn_up,
    least_minutes,
    reopened,
)
from autocompress.planning.words import Ahead, in_a_line

FAST = Measured(
    reading=4.0,
    step=0.25,
    forward=0.004,
    lone_step=0.5,
    lone_forward=0.008,
    device=20.0,
    share=0.25,
    train=3200,
    validation=400,
    test=400,
    lessons=6400,
    workers=2,
    trains=True,
)


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    """Of 4 epochs, 500 elastic steps of two models, 200 candidates, five finalists of 4 epochs."""
    given = config.load_study("quickstart", operators=OPERATORS)
    last = replace(given.finalists, count=5, more=0)
    last = replace(last, training=replace(last.training, epochs=4, batch_size=32, steps=None))
    teacher = replace(given.teacher, epochs=4, batch_size=32, steps=None)
    elastic = replace(given.elastic, steps=500, subnetworks=2, batch_size=32, minutes=4.0)
    budget = replace(given.budget, trials=200, search_minutes=None)
    return replace(given, finalists=last, teacher=teacher, elastic=elastic, budget=budget)


def seconds(plan: Plan) -> dict[str, float]:
    return {part.need.stage: round(part.seconds, 2) for part in plan.parts}


def units(plan: Plan) -> dict[str, int]:
    return {part.need.stage: part.units for part in plan.parts if part.need.asked}


def test_a_candidate_takes_no_longer_where_there_are_more_rows_than_judge_it(spec: StudySpec) -> None:
    many = replace(FAST, validation=40_000)
    assert many.candidate(spec) == replace(FAST, validation=2000).candidate(spec) > 0.25 * 2000 * 0.008
    on_all = replace(spec, budget=replace(spec.budget, search_rows=None))
    assert many.candidate(on_all) > 0.25 * 40_000 * 0.008


def test_an_epoch_is_judged_in_as_long_where_there_are_more_rows_than_judge_it(spec: StudySpec) -> None:
    few, many = (seconds(drawn_up(spec, replace(FAST, validation=rows), 7200)) for rows in (2000, 12_000))
    assert many[FINALISTS] == few[FINALISTS]
    assert many[TEACHER] == pytest.approx(few[TEACHER] + 10_000 * 0.004), "it is judged on all of them once"


def test_a_study_that_fits_gets_what_it_asks_for(spec: StudySpec) -> None:
    plan = drawn_up(spec, FAST, 3600)
    assert list(seconds(plan)) == list(STAGES[:-1])
    # four epochs of 100 steps, four judgements of 400 rows and one more; 32 steps for importance
    assert seconds(plan)[TEACHER] == 4 + 400 * 0.25 + 5 * 400 * 0.004
    assert seconds(plan)["importance"] == 8
    # answers to 6,400 lessons, and 500 steps of two models of a quarter each, side by side
    assert seconds(plan)[ELASTIC] == 6400 * 0.004 + 500 * 0.5 * 0.25
    # 200 candidates on two cores, each a tenth of a second and a quarter of 400 rows
    assert seconds(plan)[SEARCH] == 8 + 90, "its workers begin in its time"
    # the last of five on two cores ends after three: 800 steps, four judgements
    assert seconds(plan)[FINALISTS] == 0.75 * (800 * 0.5 + 4 * 400 * 0.008)
    assert seconds(plan)[VERIFICATION] == pytest.approx(25 + 6 * 15 + 800 * 0.008 * 3.25), "the uncut model too"
    decided = decided_at(TEACHER, plan, spec) | decided_at(ELASTIC, plan, spec) | decided_at(FINALISTS, plan, spec)
    assert set(decided.values()) == {None}
    assert as_decided(spec, decided) == spec


def test_twenty_times_the_texts_take_no_longer(spec: StudySpec) -> None:
    many = replace(FAST, train=64_000, lessons=128_000)
    few, plan = drawn_up(spec, FAST, 480), drawn_up(spec, many, 480)
    assert few.fits
    assert plan.fits
    assert plan.total > 0.97 * 480
    assert units(plan)[TEACHER] < 0.1 * 8000
    decided = decided_at(TEACHER, plan, spec) | decided_at(ELASTIC, plan, spec)
    run = as_decided(spec, decided)
    assert run.teacher.steps == units(plan)[TEACHER]
    assert run.most_lessons is not None
    assert run.most_lessons < 30_000, "the teacher answers no more than students look at"


def test_fewer_finalists_are_trained_where_each_would_have_hardly_any_steps(spec: StudySpec) -> None:
    plan = drawn_up(spec, replace(FAST, train=64_000, lessons=128_000), 240)
    assert plan.fits
    assert 1 <= plan.finalists < 5
    assert units(plan)[FINALISTS] >= 300 or plan.finalists == 1
    run = as_decided(spec, decided_at(FINALISTS, plan, spec))
    assert (run.finalists.count, run.finalists.more) == (plan.finalists, 0)


def test_the_least_is_what_fits_and_a_tenth_of_a_minute_less_does_not(spec: StudySpec) -> None:
    least = least_minutes(spec, FAST)
    assert drawn_up(spec, FAST, 60 * least).fits
    assert not drawn_up(spec, FAST, 60 * (least - 0.1)).fits


def test_what_is_left_is_planned_again_by_the_work_of_those_that_were_chosen(spec: StudySpec) -> None:
    small = drawn_up(spec, FAST, 200, shares=[0.1, 0.1], since=FINALISTS, finalists=2)
    large = drawn_up(spec, FAST, 200, shares=[0.9, 0.9], since=FINALISTS, finalists=2)
    assert list(seconds(small)) == [FINALISTS, VERIFICATION]
    assert units(small)[FINALISTS] == 800
    assert units(large)[FINALISTS] == int((200 - 70 - 800 * 0.008 * 3.8) / 0.9 / 0.5 - 4 * 400 * 0.008 / 0.5)


def test_a_longer_study_keeps_the_steps_of_those_that_are_trained(spec: StudySpec) -> None:
    longer = replace(spec, finalists=replace(spec.finalists, count=7))
    plan = drawn_up(longer, FAST, 250, since=FINALISTS, steps=300, trained=5)
    assert (plan.finalists, units(plan)[FINALISTS]) == (7, 300)
    assert drawn_up(longer, FAST, 1, since=FINALISTS, steps=300, trained=5).finalists == 5
    stored = {"decided": {"teacher.steps": 9, "finalists.steps": 300, "finalists.count": 5, "search.minutes": 1.0}}
    assert reopened(stored)["decided"] == {"teacher.steps": 9, "finalists.steps": 300}
    assert reopened(stored, another=True)["decided"] == {"teacher.steps": 9}


def test_certification_gets_a_share_too(spec: StudySpec) -> None:
    certified = replace(spec, finalists=replace(spec.finalists, certify=CertifySpec(minutes=20.0)))
    assert units(drawn_up(certified, FAST, 3600))[CERTIFICATION] == 1200
    plan = drawn_up(certified, FAST, 600)
    given = units(plan)[CERTIFICATION]
    assert 60 < given < 300
    run = as_decided(certified, decided_at(CERTIFICATION, plan, certified))
    assert run.finalists.certify == CertifySpec(minutes=round(given / 60, 3))
    late = drawn_up(certified, FAST, 5, since=CERTIFICATION, finalists=2, steps=300)
    assert not late.fits, "a fold has a teacher and a student, whatever is left"
    assert as_decided(certified, decided_at(CERTIFICATION, late, certified)).finalists.certify is None


def test_lessons_are_those_of_the_first_run_whatever_was_decided_later(spec: StudySpec) -> None:
    decided: dict[str, Any] = {"teacher.steps": 5, "elastic.steps": None, "lessons.steps": 90, "finalists.steps": 70}
    assert as_decided(spec, decisions_until(TEACHER, decided)).finalists.training.steps is None
    assert as_decided(spec, decisions_until(ELASTIC, decided)).finalists.training.steps == 90
    assert as_decided(spec, decisions_until(VERIFICATION, decided)).finalists.training.steps == 70
    assert as_planned(spec, {"plan": {"decided": decided | {"finalists.steps": None}}}).teacher.steps == 5
    assert as_planned(spec, {}) == spec


def test_a_search_may_take_half_of_what_nobody_asks_for(spec: StudySpec) -> None:
    plan = drawn_up(spec, FAST, 3600)
    (minutes,) = decided_at(SEARCH, plan, spec).values()
    assert minutes == pytest.approx((98 + plan.spare / 2) / 60, abs=1e-3)
    bounded = replace(spec, budget=replace(spec.budget, search_minutes=1.0))
    assert decided_at(SEARCH, drawn_up(bounded, FAST, 3600), bounded) == {"search.minutes": 1.0}


def test_the_table_has_eighty_columns(spec: StudySpec) -> None:
    many = replace(FAST, train=64_000, lessons=1_280_000)
    found = Ahead(spec, many, drawn_up(spec, many, 400))
    lines = found.table().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["stage", "minutes", "share", "planned", "asked", "for"]
    assert lines[1].startswith("teacher ")
    assert lines[1].endswith("8,000 steps (4.0 epochs)")
    assert " of 6.667 minutes; ends at about " in lines[-1]
    assert found.to_json()["stages"][0]["cut"] is True
    assert Measured.from_json(found.to_json()["measured"]) == found.measured
    assert in_a_line(found.plan).startswith("teacher ")
