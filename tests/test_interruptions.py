"""A short form of `python -m tests.interruptions`: one small study, interrupted until it is complete."""

from __future__ import annotations

import pytest

from tests.interruptions import Forked, chain, left_alone, moments, project


@pytest.mark.timeout(900)
def test_a_study_that_is_interrupted_at_four_moments_ends_as_one_that_is_left_alone() -> None:
    with project() as alone:
        seconds, whole = left_alone(Forked.start, alone, workers=0)
    assert whole[1], "it has finalists"
    many = moments(4, 0.6 * seconds, workers=0, twice=False, seed=1)
    found = list(chain(Forked.start, many, whole))
    assert [str(seen) for seen in found if seen.wrong] == []
