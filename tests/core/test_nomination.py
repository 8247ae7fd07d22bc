from typing import Any

from autocompress.core.nomination import choose
from autocompress.core.outcome import Candidate, Evaluated, Failed, Measurement, Record
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.testing import OBJECTIVES


def record(
    number: int, quality: float, latency: float, size: float, *, half: float = 0.01, work: float | None = None
) -> Record:
    policy = CompressionPolicy((Step("shrink", "a", {"size": number}),)) if number else BASELINE
    found = (
        Measurement("quality", quality, "accuracy", "measured", (quality - half, quality + half)),
        Measurement("latency_ms", latency, "ms", "predicted"),
        Measurement("size_mb", size, "MB", "counted"),
        *([] if work is None else [Measurement("macs", work, "count", "counted")]),
    )
    return Record(Candidate(number, policy), Evaluated(found), 1)


def numbers(records: list[Record], count: int, **options: Any) -> list[int]:
    return [chosen.candidate.number for chosen in choose(records, OBJECTIVES, count, **options)]


def test_finalists_are_spread_over_what_they_cost() -> None:
    records = [record(i, 0.1 * i, 2.0 * i, 10.0) for i in range(1, 10)]
    assert numbers(records, 3) == [2, 4, 9], "the best up to 4.2 ms, up to 8.7 ms, and above: parts of equal ratio"
    assert numbers(records, 1) == [9]


def test_quality_decides_between_neighbours_only() -> None:
    small, same_part, large = record(1, 0.8, 2, 20), record(2, 0.9, 3, 20), record(3, 0.85, 5, 20)
    assert numbers([small, same_part, large], 2) == [2, 3], "a larger one may gain more from training"
    assert numbers([small, same_part, record(3, 0.85, 9, 20)], 1) == [2], "not one of three times the best one's cost"


def test_a_little_quality_is_not_worth_several_times_the_size() -> None:
    heavy, light, baseline = record(1, 0.91, 2, 50), record(2, 0.90, 2.2, 15), record(0, 0.95, 30, 90)
    assert numbers([heavy, light, baseline], 1, healed=0.1) == [2]
    much_better = record(1, 0.96, 2, 20)
    assert numbers([much_better, light, baseline], 1, healed=0.1) == [1]


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


def test_nothing_that_costs_more_than_the_whole_model_in_few_bits_is_trained() -> None:
    small, large = record(2, 0.90, 2, 10), record(3, 0.94, 17, 30)

    def chosen(quality: float, work: float) -> list[int]:
        return numbers([record(0, 0.95, 25, 90, work=4.0), record(1, quality, 6, 20, work=work), small, large], 3)

    assert chosen(0.949, 4.0) == [2, 1]
    assert chosen(0.93, 4.0) == [2, 1, 3], "it does not answer as well: training may lift the large one"
    assert chosen(0.949, 2.0) == [2, 1, 3], "it is a smaller model, and may have been lucky"


def test_neither_the_baseline_nor_what_failed_is_trained() -> None:
    failed = Record(Candidate(4, CompressionPolicy((Step("shrink", "a", {"size": 4}),))), Failed("score", "E", "m"), 1)
    records = [record(0, 0.99, 30, 90), record(1, 0.9, 2, 20), failed]
    assert numbers(records, 5) == [1]


def test_a_dominated_candidate_is_trained_only_where_its_part_of_the_range_has_no_member_of_the_front() -> None:
    front = [record(1, 0.9, 2, 20), record(2, 0.95, 20, 90)]
    between, beside = record(3, 0.85, 6, 40), record(4, 0.94, 20.5, 95)
    assert numbers([*front, between, beside], 2) == [1, 2]
    assert numbers([*front, between, beside], 3) == [1, 3, 2], "no member of the front costs 4.3 to 9.4 ms"
    assert numbers([*front, between, beside], 3, healed=0.08) == [1, 2], "it is too far below the best to be trained"
    assert numbers([*front, beside], 9) == [1, 2], "places stay free before it gets one beside a better one"


def test_a_nearly_empty_part_of_the_range_leaves_its_place_to_the_best_of_the_others() -> None:
    records = [record(1, 0.2, 1, 10), *(record(i, 0.5 + 0.05 * i, 50.0 + i, 50.0 + i) for i in range(2, 8))]
    found = numbers([*records, record(0, 0.99, 500, 500)], 4)
    assert len(found) == 4
    assert 1 in found
    assert 7 in found


def test_what_training_cannot_heal_is_not_trained() -> None:
    records = [record(i, 0.1 * i, 2.0 * i, 10.0) for i in range(1, 10)]
    assert numbers(records, 3, healed=0.25) == [7, 8, 9]


def test_further_candidates_come_from_where_none_of_those_chosen_is() -> None:
    records = [record(i, 0.1 * i, 2.0 * i, 10.0) for i in range(1, 10)]
    assert numbers(records, 2, already=[2, 4, 9]) == [1, 3], "of five parts, 2 to 3.1 ms and 4.8 to 7.5 ms are free"
    assert numbers(records, 1, already=[8, 9]) == [4], "of three, the first two, and the best of them is taken"


def test_those_chosen_already_keep_their_places_though_training_cannot_heal_them() -> None:
    """They may have come from the front's rest, cheaper or dearer than all that are near the best."""
    near = [record(1, 0.80, 3, 30), record(2, 0.82, 5, 30), record(3, 0.85, 9, 30), record(4, 0.90, 14, 30)]
    dear = record(5, 0.1, 1000, 1)
    baseline = record(0, 0.95, 500, 500)
    assert numbers([baseline, *near, dear], 1, already=[5], healed=0.2) == [2], "it is nearest to the upper half"


def test_where_every_part_is_taken_further_ones_are_the_best_of_the_front_and_then_the_best_of_all() -> None:
    front = [record(1, 0.5, 1, 10), record(2, 0.9, 98, 90), record(3, 0.85, 99, 80), record(4, 0.91, 100, 95)]
    dominated, hopeless = record(5, 0.89, 99, 92), record(6, 0.4, 97, 99)
    records = [record(0, 0.95, 1000, 1000), *front, dominated, hopeless]
    assert numbers(records, 1, already=[1, 4]) == [2]
    assert numbers(records, 2, already=[1, 4]) == [2, 3]
    assert numbers(records, 3, already=[1, 4]) == [2, 3, 5]
    assert numbers(records, 9, already=[1, 4], healed=0.2) == [2, 3, 5]
    assert numbers(records, 2, already=[1, 2, 3, 4, 5, 6]) == [], "nobody is chosen twice"


def test_where_one_that_was_taken_is_far_above_all_others_the_front_of_those_is_trained() -> None:
    whole = record(1, 0.9, 20, 20)
    far = [record(2, 0.5, 5, 20), record(3, 0.6, 9, 20), record(4, 0.4, 9, 20)]
    assert numbers([whole, *far], 2, healed=0.1, already=[1]) == [2, 3]
