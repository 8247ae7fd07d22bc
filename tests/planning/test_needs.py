"""How minutes are divided: exactly."""

from __future__ import annotations

import pytest

from autocompress.planning.needs import Need, divided, least_seconds, makespan

A = Need("a", fixed=10, each=1, asked=100, least=10)
B = Need("b", fixed=0, each=2, asked=200, least=5, weight=3)
C = Need("c", fixed=7)


def units(seconds: float, *needs: Need) -> list[int]:
    parts = divided(needs, seconds)
    assert sum(part.seconds for part in parts) <= max(seconds, least_seconds(needs)) + 1e-6
    return [part.units for part in parts]


def test_what_fits_is_not_cut() -> None:
    assert units(517, A, B, C) == [100, 200, 0]
    assert not any(part.is_cut for part in divided((A, B, C), 10_000))


def test_the_rest_is_shared_by_weights_and_nobody_gets_more_than_is_asked() -> None:
    assert units(207, A, B, C) == [40, 75, 0], "50 seconds of weight 1, 150 of weight 3, and 7 that have to be"
    assert units(447, A, B, C) == [100, 165, 0], "the first is left whole: 110 seconds are less than its share"


def test_nobody_gets_less_than_the_least_and_that_may_be_too_much() -> None:
    assert units(47, A, B, C) == [10, 10, 0], "20 for the first, whose share would be 10"
    assert least_seconds((A, B, C)) == 37
    assert units(1, A, B, C) == [10, 5, 0]


def test_units_are_whole_and_what_has_no_choice_is_done() -> None:
    assert units(10, Need("a", 0, 3, asked=10, least=1)) == [3]
    assert units(0, Need("a", 5, 0, asked=9, least=9)) == [9]


def test_a_need_says_what_it_must_be() -> None:
    with pytest.raises(ValueError, match="`0 <= least <= asked`"):
        Need("a", 0, 1, asked=1, least=2)


def test_the_longest_task_is_begun_first() -> None:
    assert makespan([1, 2, 3, 4], 2) == 5
    assert makespan([5, 1, 1], 2) == 5
    assert makespan([2, 2], 0) == 4, "whoever has no workers is one"
    assert makespan([], 2) == 0
