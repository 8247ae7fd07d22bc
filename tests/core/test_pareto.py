import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.core.pareto import dominates, front, hypervolume, knee, oriented, ranks

POINTS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 9).map(float)] * width), min_size=1, max_size=30)
)


def test_hypervolume_of_the_known_answer() -> None:
    assert hypervolume([(5, 5), (4, 6), (2, 7), (7, 4)], (10, 10)) == 38.0


@given(POINTS)
def test_hypervolume_equals_that_of_an_independent_library(points: list[tuple[float, ...]]) -> None:
    reference = (9.5,) * len(points[0])
    assert hypervolume(points, reference) == pytest.approx(
        moocore.hypervolume(np.array(points), ref=np.array(reference))
    )


@given(POINTS)
def test_the_front_holds_exactly_the_points_that_none_dominates(points: list[tuple[float, ...]]) -> None:
    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    assert front(points) == expected


@given(POINTS)
def test_every_point_has_a_rank_and_rank_zero_is_the_front(points: list[tuple[float, ...]]) -> None:
    found = ranks(points)
    assert min(found) >= 0
    assert [i for i, rank in enumerate(found) if rank == 0] == front(points)


def test_the_knee_is_the_balanced_point() -> None:
    assert knee([(0.0, 10.0), (2.0, 2.0), (10.0, 0.0)]) == 1


def test_an_empty_front_has_no_knee() -> None:
    with pytest.raises(ValueError, match="no knee"):
        knee([])


def test_what_is_maximised_is_turned_round() -> None:
    assert oriented({"quality": 0.9, "latency_ms": 3.0}, {"quality": "maximize", "latency_ms": "minimize"}) == (
        -0.9,
        3.0,
    )
