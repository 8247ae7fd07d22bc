"""Folds of the training split tell what a recipe loses; of the very weights they tell it less surely, and how much less
is found out: over 1,000 simulated studies each."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from autocompress.certainty import (
    Belief,
    Folds,
    Losses,
    RowScores,
    believe,
    fold_losses,
    foreseen,
    losses_of,
    rows_needed,
    with_floor,
)
from tests.certainty.test_belief import BOUND, STUDIES, fastest, picked

Floats = NDArray[np.float64]
FOLDS = 5
TOGETHER = 100
"""Studies that are believed at once."""


@dataclass(frozen=True)
class World:
    """Studies of three members, of which two were judged on so many `folds` of `rows` each; what two trainings of a
    recipe lose differs by a share (`training`) of what a member differs, half of it the teacher's."""

    training: float
    held_out: int = 538
    rows: int = 800
    folds: int = FOLDS
    differs: tuple[float, ...] = (0.015, 0.03, 0.045)


WORLDS = {
    "trainings that are all alike": World(0.0),
    "trainings that differ a little": World(0.1),
    "trainings that differ much": World(0.2),
    "three of five folds": World(0.15, folds=3),
    "few rows": World(0.15, held_out=200, rows=200),
}
JUDGED = np.array([1, 2])


def seen_of(generator: np.random.Generator, differs: Floats, lost: Floats, rows: int) -> tuple[Floats, Floats, Floats]:
    """Losses as so many rows show them [studies, members], their covariance, and how many rows changed: members err
    together."""
    changed = generator.binomial(rows, np.broadcast_to(differs, lost.shape)).astype(float)
    covariance = 0.4 * np.sqrt(differs[..., :, None] * differs[..., None, :])
    diagonal = np.arange(differs.shape[-1])
    covariance[..., diagonal, diagonal] = differs
    covariance = (covariance - lost[..., :, None] * lost[..., None, :]) / rows
    noise = np.linalg.cholesky(covariance) @ generator.standard_normal((*lost.shape, 1))
    seen: Floats = lost + noise[..., 0]
    return seen, covariance * (changed / (rows * differs))[..., None], changed


@functools.cache
def simulated(world: World) -> tuple[Floats, Losses, Folds]:
    generator = np.random.default_rng(0)
    differs = np.array(world.differs) * generator.uniform(0.7, 1.3, (STUDIES, 1))
    recipe = differs * (0.4 + 0.15 * generator.standard_normal(differs.shape))

    def trained() -> Floats:
        teacher, own = generator.standard_normal((STUDIES, 1)), generator.standard_normal(differs.shape)
        lost: Floats = recipe + world.training * differs * np.sqrt(0.5) * (teacher + own)
        return lost

    true = trained()
    losses = with_floor(*seen_of(generator, differs, true, world.held_out), world.held_out)
    each = [seen_of(generator, differs, trained(), world.rows) for _ in range(world.folds)]
    blocks = [
        with_floor(seen[:, JUDGED], covariance[:, JUDGED][..., JUDGED], changed[:, JUDGED], world.rows)
        for seen, covariance, changed in each
    ]
    count = world.folds * len(JUDGED)
    covariance = np.zeros((STUDIES, count, count))
    for place, block in enumerate(blocks):
        own = slice(place * len(JUDGED), (place + 1) * len(JUDGED))
        covariance[:, own, own] = block.covariance
    seen = np.concatenate([block.seen for block in blocks], axis=-1)
    member, fold = np.tile(JUDGED, world.folds), np.repeat(np.arange(world.folds), len(JUDGED))
    return true, losses, Folds(seen, covariance, member, fold, FOLDS)


@functools.cache
def believed(world: World) -> Belief:
    """In parts: the grid takes a megabyte a study."""
    _, losses, folds = simulated(world)
    parts = [
        believe(
            Losses(losses.seen[some], losses.covariance[some], losses.differs[some], losses.vague[some], losses.rows),
            Folds(folds.seen[some], folds.covariance[some], folds.member, folds.fold, folds.of),
        )
        for some in (slice(at, at + TOGETHER) for at in range(0, STUDIES, TOGETHER))
    ]
    return Belief(np.concatenate([p.expected for p in parts]), np.concatenate([p.uncertain for p in parts]))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "few rows" else ()) for name in WORLDS]
)
def test_with_folds_a_bound_is_broken_in_at_most_a_tenth_of_studies_and_intervals_hold(name: str) -> None:
    true, found = simulated(WORLDS[name])[0], believed(WORLDS[name])
    chosen = fastest(found.keeps(BOUND))
    assert (picked(true, chosen) > BOUND).sum() / STUDIES <= 0.10
    assert abs(picked(found.expected - true, chosen).mean()) < 0.0022
    within = np.abs(found.expected - true) <= 1.96 * found.uncertain
    assert within.mean() >= 0.9
    assert within[:, JUDGED].mean() >= 0.88


def test_folds_make_members_surer_and_give_back_speed() -> None:
    for name in ("trainings that differ a little", "three of five folds"):
        before, found = believe(simulated(WORLDS[name])[1]), believed(WORLDS[name])
        gain = (found.uncertain / before.uncertain)[:, JUDGED].mean()
        assert gain < (0.75 if WORLDS[name].folds == FOLDS else 0.85)
        assert (fastest(found.keeps(BOUND)) >= 1).mean() > (fastest(before.keeps(BOUND)) >= 1).mean()


def test_rows_of_folds_are_no_rows_of_the_deployed_weights() -> None:
    """Taken for such, their intervals would be far too narrow where trainings differ."""
    true, losses, folds = simulated(WORLDS["trainings that differ much"])
    by_fold = np.stack([folds.seen[:, folds.member == i].mean(axis=1) for i in JUDGED], axis=-1)
    errors = [
        np.diagonal(folds.covariance[:, folds.member == i][..., folds.member == i], axis1=1, axis2=2) for i in JUDGED
    ]
    of_folds = np.stack([one.mean(axis=1) / FOLDS for one in errors], axis=-1)
    held_out = losses.errors[:, JUDGED] ** 2
    mean = (by_fold / of_folds + losses.seen[:, JUDGED] / held_out) / (1 / of_folds + 1 / held_out)
    error = np.sqrt(1 / (1 / of_folds + 1 / held_out))
    assert (np.abs(mean - true[:, JUDGED]) <= 1.96 * error).mean() < 0.8


def test_the_more_trainings_differ_the_less_folds_tell() -> None:
    names = ("trainings that are all alike", "trainings that differ much")
    one, other = (believed(WORLDS[name]).uncertain[:, JUDGED].mean() for name in names)
    assert one < 0.9 * other


def rows_of(right: NDArray[np.bool_]) -> RowScores:
    return RowScores("quotient", np.column_stack([right, np.ones(len(right))]).astype(np.float32))


def test_each_fold_is_scored_beside_its_own_teacher_and_members_may_be_missing() -> None:
    generator = np.random.default_rng(0)
    teachers = {fold: rows_of(generator.random(300) < 0.95) for fold in (1, 3)}
    members = [{1: rows_of(generator.random(300) < 0.9), 3: rows_of(generator.random(300) < 0.9)}, {}]
    members += [{3: rows_of(generator.random(300) < 0.8)}]
    folds = fold_losses(teachers, members, of=5)
    assert folds is not None
    assert folds.member.tolist() == [0, 0, 2]
    assert folds.fold.tolist() == [1, 3, 3]
    third = losses_of(teachers[3], [members[0][3], members[2][3]])
    assert folds.seen[1:] == pytest.approx(third.seen)
    assert folds.covariance[1:, 1:] == pytest.approx(third.covariance)
    assert (folds.covariance[0, 1:] == 0).all()
    assert fold_losses(teachers, [{}, {}], of=5) is None


def test_noise_of_training_is_shared_by_folds_and_in_part_by_members() -> None:
    folds = Folds(np.zeros(3), np.eye(3), np.array([0, 0, 1]), np.array([1, 2, 2]), of=5)
    noise = folds.noise(np.array([0.02, 0.04]))
    assert noise[0, 0] == pytest.approx(0.02**2 * 2.25)
    assert noise[0, 1] == pytest.approx(0.02**2 * 1.25)
    assert noise[1, 2] == pytest.approx(0.02 * 0.04 * 2.25 / 2)
    assert noise[0, 2] == pytest.approx(0.02 * 0.04 * 1.25 / 2)
    with pytest.raises(ValueError, match="3 losses are of 2 members on 3 folds"):
        Folds(np.zeros(3), np.eye(3), np.array([0, 0]), np.array([1, 2, 2]), of=5)
    with pytest.raises(ValueError, match="`of >= 2` must hold, got 1"):
        Folds(np.zeros(1), np.eye(1), np.array([0]), np.array([1]), of=1)


def test_what_folds_would_tell_is_foreseen() -> None:
    losses = with_floor(np.array([0.006]), np.array([[0.03 / 500]]), np.array([15.0]), 500)
    before = believe(losses)
    after = believe(losses, foreseen(losses, 0, float(before.expected[0]), rows=4000, of=5))
    assert after.expected[0] == pytest.approx(before.expected[0], abs=0.0005)
    assert after.uncertain[0] < 0.8 * before.uncertain[0]


def test_rows_that_are_still_needed_are_fewer_where_folds_told_something() -> None:
    """What a bound asks for in sureness, less what is known; rows leave an error of 0.006, all of it 0.004."""
    plain = rows_needed(0.005, 0.006, 0.01, 500)
    folded = rows_needed(0.005, 0.004, 0.01, 500, by_rows=0.006)
    assert plain is not None
    assert folded is not None
    assert 500 < folded < plain
    allowed = 0.005 / 1.2816
    assert folded == pytest.approx(500 + 500 * 0.006**2 * (allowed**-2 - 0.004**-2), abs=1)
    assert rows_needed(0.005, 0.006, 0.01, 500, by_rows=0.006) == plain
