from __future__ import annotations

import numpy as np
import pytest
import yaml

from autocompress.tasks.labels import (
    Matched,
    Unmatched,
    better_order,
    could_be_better,
    fitting_order,
    is_confirmed,
    labels_block,
    match_labels,
)

ANONYMOUS = ["LABEL_0", "LABEL_1", "LABEL_2"]


@pytest.mark.parametrize(
    ("names", "found", "labels"),
    [
        (["a", "b", "c"], ["c", "a", "b"], ["a", "b", "c"]),
        (["a", "b", "c"], ["c", "a"], ["a", "b", "c"]),
        (ANONYMOUS, ["-1", "0", "1"], ["-1", "0", "1"]),
        (ANONYMOUS, ["1", "2", "3"], ["1", "2", "3"]),
        (ANONYMOUS, ["2", "0", "1"], ["0", "1", "2"]),
        (ANONYMOUS, ["0", "2"], ["0", "LABEL_1", "2"]),
        (ANONYMOUS, ["LABEL_2", "LABEL_0", "LABEL_1"], ANONYMOUS),
        ([f"LABEL_{i}" for i in range(11)], [str(i) for i in range(1, 12)], [str(i) for i in range(1, 12)]),
        (["food", "sports", "travel"], ["0", "1", "2"], ["0", "1", "2"]),
        (["food", "sports", "travel"], ["2", "0"], ["0", "sports", "2"]),
        (["NEGATIVE", "NEUTRAL", "POSITIVE"], ["neutral", "positive", "negative"], ["negative", "neutral", "positive"]),
        (["very good", "Not_Good"], ["not-good", "Very  Good"], ["Very  Good", "not-good"]),
        (["-1", "0", "1"], ["-1.0", "0.0", "1.0"], ["-1.0", "0.0", "1.0"]),
        (["1 star", "2 stars", "3 stars"], ["3", "1"], ["1", "2 stars", "3"]),
        (["negative", "positive"], ["-1", "1"], ["-1", "1"]),
    ],
)
def test_what_names_and_numbers_tell_is_taken(names: list[str], found: list[str], labels: list[str]) -> None:
    matched = match_labels(names, found, {})
    assert isinstance(matched, Matched)
    assert list(matched.labels) == labels
    assert not matched.is_guess


def test_the_order_of_words_is_a_guess_that_answers_must_confirm() -> None:
    matched = match_labels(ANONYMOUS, ["positive", "neutral", "negative"], {})
    assert matched == Matched(
        ("negative", "neutral", "positive"),
        "labels were taken in their order: LABEL_0 is negative, LABEL_1 is neutral, LABEL_2 is positive",
        is_guess=True,
    )


@pytest.mark.parametrize(
    ("names", "found", "reason"),
    [
        (["a", "b"], ["a", "c"], "no output for 'c' of the data; it knows 'a', 'b'"),
        (["a", "b"], ["x", "y"], "'x', 'y' of the data are not those of the model, 'a', 'b'"),
        (["a", "a"], ["a", "b"], "one name for several of its outputs"),
        (ANONYMOUS, ["x", "y"], "'x', 'y' of the data are not those of the model"),
        (ANONYMOUS, ["1", "3", "5", "7"], "are not those of the model"),
        (["Yes", "yes"], ["YES", "no"], "no output for 'no'"),
    ],
)
def test_what_cannot_be_told_has_a_reason(names: list[str], found: list[str], reason: str) -> None:
    matched = match_labels(names, found, {})
    assert isinstance(matched, Unmatched)
    assert reason in matched.reason


@pytest.mark.parametrize(
    ("names", "given", "labels"),
    [
        (ANONYMOUS, {"0": "p", "1": "n", "2": "q"}, ["p", "n", "q"]),
        (ANONYMOUS, {"LABEL_2": "p", "0": "q", "LABEL_1": "n"}, ["q", "n", "p"]),
        (["n", "p", "other"], {"n": "p", "p": "n", "other": "q"}, ["p", "n", "q"]),
        (["n", "p", "other"], {"other": "q"}, ["n", "p", "q"]),
        (["2", "1", "0"], {"2": "n", "1": "p", "0": "q"}, ["n", "p", "q"]),
        (["x", "x", "x"], {"0": "q", "1": "p", "2": "n"}, ["q", "p", "n"]),
        (["x", "y", "z", "more"], {"x": "n", "y": "p", "z": "q"}, ["n", "p", "q", "more"]),
    ],
)
def test_a_study_says_what_outputs_mean_by_name_or_number(
    names: list[str], given: dict[str, str], labels: list[str]
) -> None:
    matched = match_labels(names, ["n", "p", "q"], given)
    assert isinstance(matched, Matched)
    assert list(matched.labels) == labels


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"LABEL_3": "n"}, "names 'LABEL_3', no output of the model: did you mean 'LABEL_2'?"),
        ({"3": "n"}, "names '3', no output of the model"),
        ({"0": "n", "LABEL_0": "p"}, "names output 0 twice"),
        ({"0": "n", "1": "n"}, "gives 'n' to two outputs"),
        ({"0": "n", "1": "p", "2": "r"}, "gives no output to 'q' of the data; allowed: q"),
        ({"0": "n"}, "gives no output to 'p', 'q' of the data"),
        ({"0": "LABEL_1"}, "leaves out output 1, 'LABEL_1', whose name it gives away"),
    ],
)
def test_a_map_that_does_not_fit_is_named(given: dict[str, str], reason: str) -> None:
    matched = match_labels(ANONYMOUS, ["n", "p", "q"], given)
    assert isinstance(matched, Unmatched)
    assert reason in matched.reason


def test_what_is_shown_to_be_written_reads_back() -> None:
    for names, labels in ((ANONYMOUS, ["yes", "10", "a b: c"]), (["very good", "bad"], ['say "no"', "x-y"])):
        block = yaml.safe_load(labels_block(names, labels))
        assert list(block["labels"].values()) == labels
        assert list(map(str, block["labels"])) == (["0", "1", "2"] if names is ANONYMOUS else names)


def test_another_order_is_told_only_where_texts_that_it_was_not_chosen_by_agree() -> None:
    swapped = np.array([[2, 30, 3], [28, 4, 2], [1, 2, 33]])
    assert better_order(swapped, swapped) == [1, 0, 2]
    assert better_order(swapped, np.diag([30, 30, 30])) is None
    assert better_order(np.array([[0, 9], [1, 0]]), np.array([[0, 3], [1, 0]])) is None, "four texts are too few"
    assert better_order(np.diag([30, 30, 30]), np.diag([30, 30, 30])) is None
    assert could_be_better(swapped)
    assert not could_be_better(np.diag([30, 30, 30]))


def test_random_answers_to_many_classes_fit_no_order() -> None:
    generator = np.random.default_rng(0)
    for outputs in (2, 3, 20, 77):
        first, second = (
            np.bincount(generator.integers(0, outputs**2, 256), minlength=outputs**2).reshape(outputs, outputs)
            for _ in range(2)
        )
        assert better_order(first, second) is None
        assert fitting_order(first, second) is None
        assert not is_confirmed(first)


def test_a_guess_is_confirmed_where_no_two_labels_could_change_places() -> None:
    assert is_confirmed(np.array([[40, 3], [5, 30]]))
    assert not is_confirmed(np.array([[63, 0, 59], [0, 70, 0], [0, 0, 0]])), "one class is never answered"
    assert fitting_order(np.array([[2, 30], [28, 4]]), np.array([[2, 30], [28, 4]])) == [1, 0]
