import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autocompress.core.trust import kendall, tau_in_words, trust

PAIRS = st.lists(st.tuples(st.integers(0, 4).map(float), st.integers(0, 4).map(float)), min_size=2, max_size=12)


@given(PAIRS)
def test_tau_is_that_of_an_independent_library(pairs: list[tuple[float, float]]) -> None:
    firsts, seconds = zip(*pairs, strict=True)
    if len(set(firsts)) > 1 and len(set(seconds)) > 1:
        assert kendall(pairs) == pytest.approx(stats.kendalltau(firsts, seconds).statistic)
    else:
        assert kendall(pairs) is None


def test_gain_and_regret_of_the_known_answer() -> None:
    found = trust([(0.5, 0.9), (0.6, 0.8), (0.4, 0.7)])
    assert found is not None
    assert found.gain == pytest.approx(0.3)
    assert found.regret == pytest.approx(0.1), "the best before training ended at 0.8"
    assert trust([(0.5, 0.9)]) is None


@pytest.mark.parametrize(
    ("trained", "trusted", "bad"),
    [
        ([0.7, 0.8, 0.9, 0.95], 0.5, False),
        ([0.7, 0.8, 0.95, 0.9], 0.5, False),
        ([0.7, 0.8, 0.95, 0.9], 0.8, True),
        ([0.95, 0.9, 0.8, 0.7], 0.5, True),
        ([0.95, 0.9, 0.8, 0.7], -1.0, False),
        ([0.9, 0.9, 0.9, 0.9], -1.0, True),  # no order at all
        ([0.9, 0.8, 0.7], 0.5, False),  # too few to say
    ],
)
def test_an_order_is_bad_below_the_tau_that_is_trusted(trained: list[float], trusted: float, bad: bool) -> None:
    found = trust([(0.1 * place, score) for place, score in enumerate(trained)])
    assert found is not None
    assert found.is_bad(trusted) is bad


def test_tau_is_told_in_words() -> None:
    assert (tau_in_words(2 / 3), tau_in_words(None)) == ("Kendall's tau 0.67", "no order to compare")
