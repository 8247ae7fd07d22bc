"""Cascades found in what a study keeps of rows: what is said of them is true on average, over simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from autocompress.cascades import (
    Answerer,
    Costs,
    Found,
    crossed,
    found_cascades,
    halves,
    priced,
    share_interval,
    threshold_for,
)
from autocompress.certainty import RowScores

ROWS, BOUND = 1000, 0.02
SMALL, LARGE, WHOLE = Costs(1.0, 8.0, 10.0, 20.0), Costs(5.0, 20.0, 60.0, 40.0), Costs(20.0, 80.0)


def scored(right: NDArray[np.bool_]) -> dict[str, RowScores]:
    rows = RowScores("quotient", np.column_stack([right, np.ones(len(right))]).astype(np.float32))
    half = np.arange(len(right) // 2)
    return {"validation": rows.take(half), "test": rows.take(half + len(half))}


def split(doubts: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    half = len(doubts) // 2
    return {"validation": doubts[:half].astype(np.float32), "test": doubts[half:].astype(np.float32)}


class World:
    """Rows that are hard to different degrees: the harder, the more often models are wrong and the less they are sure,
    which tells the one of the other only in part. A model is right where its `skill`, with luck, exceeds that."""

    def __init__(self, rows: int, seed: int, *, noise: float = 0.0) -> None:
        generator = np.random.default_rng(seed)
        hard = generator.standard_normal(rows)
        luck = generator.standard_normal((3, rows))
        wrong_label = generator.random(rows) < noise

        def right(skill: float, of: int) -> NDArray[np.bool_]:
            return (hard + 0.3 * luck[of] < skill) ^ wrong_label

        self.teacher, self.large, self.small = right(1.9, 0), right(1.8, 1), right(1.2, 2)
        self.doubts = 1 / (1 + np.exp(-(1.5 * (hard + 0.3 * luck[2] - 1.2) + generator.standard_normal(rows))))

    @property
    def models(self) -> list[Answerer]:
        large = split(0.5 * self.doubts)
        return [
            Answerer(1, scored(self.small), split(self.doubts), SMALL),
            Answerer(2, scored(self.large), large, LARGE),
        ]

    def lost(self, one: Found) -> float:
        """With the threshold as it would be deployed."""
        answered = np.where(self.doubts > one.threshold, self.large, self.small)
        return float(self.teacher.mean() - answered.mean())


def fastest(world: World) -> Found | None:
    found = found_cascades(scored(world.teacher), world.models)
    return next((one for one in found if one.expected + 1.2816 * one.uncertain <= BOUND), None)


@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_a_bound_is_kept_and_what_is_shown_is_right_on_average(noise: float) -> None:
    """On 100,000 rows of the same kind, which no study of 1,000 saw, in nine of ten of 120 studies."""
    unseen = World(100_000, seed=10_000, noise=noise)
    picks = [one for seed in range(120) if (one := fastest(World(ROWS, seed, noise=noise))) is not None]
    assert len(picks) > 60
    lost = np.array([unseen.lost(one) for one in picks])
    assert (lost > BOUND).mean() <= 0.1
    assert abs(float(np.mean([one.expected for one in picks]) - lost.mean())) < 0.005
    handed = [float((unseen.doubts > one.threshold).mean()) for one in picks]
    assert float(np.mean([one.share for one in picks])) == pytest.approx(np.mean(handed), abs=0.01)


def test_a_row_is_judged_by_a_threshold_that_it_had_no_part_in_choosing() -> None:
    world = World(ROWS, 0)
    first = halves({"validation": ROWS // 2, "test": ROWS // 2})
    before = crossed(scored(world.small), split(world.doubts), scored(world.large), 0.2, first)
    moved = split(world.doubts)
    chosen = first["test"]
    moved["test"][chosen] = 0.0
    after = crossed(scored(world.small), moved, scored(world.large), 0.2, first)
    own = moved["test"][~chosen]
    assert not np.array_equal(after.handed["test"][~chosen], before.handed["test"][~chosen])
    assert np.array_equal(own, split(world.doubts)["test"][~chosen])
    assert not after.handed["test"][chosen].any()
    handed, rows = before.counts
    assert (rows, handed) == (ROWS, pytest.approx(0.2 * ROWS, abs=0.04 * ROWS))


def test_a_threshold_hands_on_its_share_and_nothing_where_nobody_is_unsure() -> None:
    doubts = np.linspace(0, 1, 100, dtype=np.float32)
    assert (doubts > threshold_for(doubts, 0.1)).sum() == 10
    assert (doubts > threshold_for(doubts, 1.0)).all()
    assert threshold_for(doubts, 0.0) == math.inf
    sure = np.zeros(100, dtype=np.float32)
    assert not (sure > threshold_for(sure, 0.1)).any()


def test_where_the_small_model_is_never_unsure_there_is_no_cascade() -> None:
    world = World(ROWS, 0)
    small, large = world.models
    same = {name: np.zeros_like(one) for name, one in small.doubts.items()}
    assert found_cascades(scored(world.teacher), [Answerer(1, small.rows, same, SMALL), large]) == []


def test_only_what_is_faster_than_its_large_model_and_than_asked_is_looked_at() -> None:
    world = World(ROWS, 0)
    found = found_cascades(scored(world.teacher), world.models)
    assert {(one.small, one.large) for one in found} == {(1, 2)}
    assert all(one.price.mean_ms < LARGE.latency_ms for one in found)
    assert [one.price.mean_ms for one in found] == sorted(one.price.mean_ms for one in found)
    assert all(one.share_interval[0] < one.share < one.share_interval[1] for one in found)
    quick = found_cascades(scored(world.teacher), world.models, faster_than=2.0)
    assert 0 < len(quick) < len(found)
    more = sorted(found, key=lambda one: one.share)
    assert more[-1].expected < more[0].expected


def test_a_price_is_that_of_the_small_model_and_of_the_large_one_where_it_is_asked() -> None:
    price = priced(SMALL, LARGE, 0.1)
    assert (price.mean_ms, price.p99_ms, price.worst_ms, price.size_mb) == (1.5, 6.0, 6.0, 28.0)
    assert (price.energy_mj, price.peak_memory_mib) == (16.0, 60.0)
    assert priced(SMALL, LARGE, 0.005).p99_ms == 1.0
    assert priced(SMALL, WHOLE, 0.1).energy_mj is None
    assert share_interval(0, 100) == (0.0, pytest.approx(0.037, abs=0.001))
