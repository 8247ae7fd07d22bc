from autocompress.core.outcome import Candidate, Evaluated, Failed, Measurement, Record
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.finalists import choose
from autocompress.testing import OBJECTIVES


def record(number: int, quality: float, latency: float, size: float, *, half: float = 0.01) -> Record:
    policy = CompressionPolicy((Step("shrink", "a", {"size": number}),)) if number else BASELINE
    found = (
        Measurement("quality", quality, "accuracy", "measured", (quality - half, quality + half)),
        Measurement("latency_ms", latency, "ms", "predicted"),
        Measurement("size_mb", size, "MB", "counted"),
    )
    return Record(Candidate(number, policy), Evaluated(found), 1)


def numbers(records: list[Record], count: int) -> list[int]:
    return [chosen.candidate.number for chosen in choose(records, OBJECTIVES, count)]


def test_finalists_are_spread_over_what_they_cost() -> None:
    records = [record(i, 0.1 * i, 2.0 * i, 10.0 * i) for i in range(1, 10)]
    assert numbers(records, 3) == [3, 6, 9], "the best of each third of the range"


def test_a_member_that_the_data_cannot_tell_from_a_cheaper_one_is_left_out() -> None:
    cheap, same, better = record(1, 0.90, 2, 20), record(2, 0.902, 20, 90), record(3, 0.95, 25, 95)
    assert numbers([cheap, same, better], 2) == [1, 3]
    assert numbers([cheap, same, better], 3) == [1, 2, 3], "unless its place would stay free"


def test_a_hundredth_of_a_predicted_millisecond_buys_nothing() -> None:
    heavy, light = record(1, 0.91, 2.00, 50), record(2, 0.91, 2.01, 15)
    assert numbers([heavy, light], 1) == [2]


def test_a_chain_of_small_steps_does_not_eat_itself() -> None:
    chain = [record(i, 0.90 + 0.002 * i, 2.0 + i, 10.0 + i) for i in range(1, 6)]
    assert numbers(chain, 3) == [1, 3, 5]


def test_neither_the_baseline_nor_what_failed_or_is_dominated_is_trained() -> None:
    failed = Record(Candidate(4, CompressionPolicy((Step("shrink", "a", {"size": 4}),))), Failed("score", "E", "m"), 1)
    records = [record(0, 0.99, 30, 90), record(1, 0.9, 2, 20), record(2, 0.8, 3, 30), failed]
    assert numbers(records, 5) == [1]


def test_a_nearly_empty_part_of_the_range_leaves_its_place_to_the_best_of_the_others() -> None:
    records = [record(1, 0.2, 1, 10), *(record(i, 0.5 + 0.05 * i, 50.0 + i, 50.0 + i) for i in range(2, 8))]
    found = numbers(records, 4)
    assert len(found) == 4
    assert 1 in found
    assert 7 in found


def test_what_training_cannot_heal_is_not_trained() -> None:
    records = [record(i, 0.1 * i, 2.0 * i, 10.0 * i) for i in range(1, 10)]
    assert [chosen.candidate.number for chosen in choose(records, OBJECTIVES, 3, healed=0.25)] == [7, 8, 9]
