"""Which texts end in which split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from autocompress.core.data_spec import Asset, DataSpec, PartSpec
from autocompress.errors import SpecError
from autocompress.reading import Rows
from autocompress.reading.layout import Table
from autocompress.tasks.splitting import Pool, Splits, interval, split

HERE = PartSpec(Asset(path="x"))


def pool(labels: Sequence[int], keys: Sequence[object] | None = None, *, where: str = "x.csv") -> Pool:
    """Texts of these classes; equal keys are what the model cannot tell apart."""
    texts = tuple(f"text {place}" for place in range(len(labels)))
    table = Table(where, ("text",), {"text": texts}, lambda: range(2, len(labels) + 2))
    rows = Rows(texts, tuple(map(str, labels)), (table,), tuple(range(len(labels))))
    return Pool(rows, np.array(labels), tuple(str(key).encode() for key in (texts if keys is None else keys)))


def counts(splits: Splits) -> dict[str, int]:
    return {name: len(places) for name, (_, places) in splits.places.items()}


def classes(splits: Splits, pools: dict[str, Pool], name: str) -> Counter[int]:
    part, places = splits.places[name]
    return Counter(pools[part].labels[places].tolist())


def divided(labels: Sequence[int], **settings: Any) -> tuple[Splits, dict[str, Pool]]:
    pools = {"all": pool(labels)}
    names = [f"c{number}" for number in range(max(labels) + 1)]
    return split(DataSpec(source=Asset(path="x"), **settings), pools, names), pools


def test_a_random_draw_stands_where_it_is_fair_to_every_class() -> None:
    """The places themselves: studies of before must find the texts of before."""
    splits, _ = divided([place % 3 for place in range(240)])
    order = np.random.default_rng(0).permutation(240)
    assert [places.tolist() for _, places in splits.places.values()] == [
        order[:192].tolist(),
        order[192:216].tolist(),
        order[216:].tolist(),
    ]
    assert not any("class by class" in note for note in splits.notes)


def test_a_rare_class_stands_in_every_split() -> None:
    splits, pools = divided([0] * 500 + [1] * 6)
    assert "texts are split class by class" in splits.notes[0]
    assert [classes(splits, pools, name)[1] for name in ("train", "validation", "test")] == [4, 1, 1]
    assert counts(splits) == {"train": 404, "validation": 51, "test": 51}


def test_many_classes_of_few_texts_are_split_sensibly() -> None:
    """150 classes in 1,400 texts, of one text to thirty."""
    sizes = [1, 2, 3, 4, 6, 9, 9, 12, 17, 30]
    labels = [number for number in range(150) for _ in range(sizes[number % 10])][:1400]
    splits, pools = divided(labels)
    found = {name: classes(splits, pools, name) for name in splits.places}
    assert len(found["train"]) == max(labels) + 1, "every class is learned"
    assert all(found[name][label] >= 1 for label, size in Counter(labels).items() if size >= 4 for name in found)
    sizes_now = counts(splits)
    assert 0.77 * len(labels) < sizes_now["train"] < 0.83 * len(labels)
    assert abs(sizes_now["validation"] - sizes_now["test"]) <= 15


def test_classes_of_two_texts_are_learned_and_some_of_them_tested() -> None:
    splits, pools = divided([place % 40 for place in range(80)])
    assert counts(splits) == {"train": 64, "validation": 8, "test": 8}
    assert len(classes(splits, pools, "train")) == 40
    notes = "\n".join(splits.notes)
    assert "32 of 40 classes have no validation text (" in notes
    assert "its scores say nothing of them" in notes
    assert "validation: 8 texts tell an accuracy of 90 % to within 21 points" in notes


def test_two_dozen_texts_are_split_and_the_interval_said() -> None:
    splits, pools = divided([place % 3 for place in range(24)])
    assert counts(splits) == {"train": 18, "validation": 3, "test": 3}
    assert set(classes(splits, pools, "test").values()) == {1}
    assert "test: 3 texts tell an accuracy of 90 % to within 32 points (95 % interval)" in splits.notes
    with pytest.raises(SpecError, match="x.csv: 7 texts leave 1 for validation; at least 2 are needed"):
        divided([0, 1, 0, 1, 0, 1, 0])


def test_the_interval_is_wilsons() -> None:
    assert interval(100) == pytest.approx((0.9448 - 0.8256) / 2, abs=1e-4)


def test_what_the_model_takes_for_one_text_stands_in_one_split() -> None:
    """Every text twice, in another case: training gives way to validation, and both to the test split."""
    keys = [place // 2 for place in range(200)]
    pools = {"all": pool([key % 2 for key in keys], keys)}
    splits = split(DataSpec(source=Asset(path="x")), pools, ["a", "b"])
    held = {name: {keys[place] for place in places} for name, (_, places) in splits.places.items()}
    assert not held["train"] & held["validation"]
    assert not held["train"] & held["test"]
    assert not held["validation"] & held["test"]
    assert counts(splits)["test"] == 20, "the test split keeps its texts"
    assert any("train texts are left away, as the model cannot tell them from texts of the" in n for n in splits.notes)


def test_repeated_texts_that_are_kept_stay_together() -> None:
    keys = [place % 50 for place in range(300)]
    pools = {"all": pool([key % 2 for key in keys], keys)}
    splits = split(DataSpec(source=Asset(path="x"), distinct=False), pools, ["a", "b"])
    assert sum(counts(splits).values()) == 300, "nothing is lost"
    assert counts(splits) == {"train": 240, "validation": 30, "test": 30}


def test_given_splits_keep_their_texts_and_order() -> None:
    pools = {"train": pool([0, 1] * 5), "validation": pool([1, 0], "vw"), "test": pool([0, 1, 1], "xyz")}
    splits = split(DataSpec(train=HERE, validation=HERE, test=HERE), pools, ["a", "b"])
    assert {name: (part, places.tolist()) for name, (part, places) in splits.places.items()} == {
        "train": ("train", list(range(10))),
        "validation": ("validation", [0, 1]),
        "test": ("test", [0, 1, 2]),
    }


@pytest.mark.parametrize(("given", "split_off"), [("test", "validation"), ("validation", "test")])
def test_what_is_not_given_is_split_off_from_training(given: str, split_off: str) -> None:
    pools = {"train": pool([0, 1] * 90), given: pool([0, 1] * 10, range(20))}
    splits = split(DataSpec(train=HERE, **{given: HERE}), pools, ["a", "b"])
    assert counts(splits) == {"train": 160, split_off: 20, given: 20}
    assert splits.places[split_off][0] == "train"


def test_training_gives_up_what_stands_in_a_given_test_split() -> None:
    pools = {"train": pool([0, 1] * 50), "test": pool([0, 1, 0], ["text 3", "text 8", "new"], where="t.csv")}
    splits = split(DataSpec(train=HERE, test=HERE), pools, ["a", "b"])
    assert sum(counts(splits).values()) == 98 + 3
    assert (
        "2 train texts are left away, as the model cannot tell them from texts of the validation or the test split "
        "(lines 5, 10)" in splits.notes
    )
    same = pool([0, 1] * 40, where="t.csv")
    pools = {"train": pool([0, 1] * 50, range(100)), "validation": same, "test": same}
    with pytest.raises(SpecError, match="t.csv: 80 of 80 validation texts stand in the test split too"):
        split(DataSpec(train=HERE, validation=HERE, test=HERE), pools, ["a", "b"])


def test_a_class_that_is_not_tested_is_told() -> None:
    pools = {"train": pool([0, 1, 2] * 9), "validation": pool([0, 1, 2], "abc"), "test": pool([0, 1], "xy")}
    splits = split(DataSpec(train=HERE, validation=HERE, test=HERE), pools, ["a", "b", "c"])
    assert "1 of 3 classes have no test text (c): its scores say nothing of them" in splits.notes
