"""Labels: what they may be, how they are ordered, and what looks wrong about them."""

from pathlib import Path

import pytest

from autocompress.core.data_spec import PartSpec
from autocompress.errors import SpecError
from autocompress.reading import ordered
from tests.reading.given import pairs, read, read_parts


def table(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> Path:
    path.write_text(header + "\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


def test_numbers_are_ordered_as_numbers_and_names_as_names() -> None:
    assert ordered(["10", "-1", "9", "0", "9"]) == ["-1", "0", "9", "10"]
    assert ordered(["2.5", "10", "-0.5"]) == ["-0.5", "2.5", "10"]
    assert ordered(["b", "a", "10", "9"]) == ["10", "9", "a", "b"]


def test_whole_numbers_written_as_fractions_are_numbers(tmp_path: Path) -> None:
    paths = {
        "train": table(tmp_path / "a.csv", [("a", "1.0"), ("b", "0.0"), ("c", "-1.0")]),
        "test": table(tmp_path / "b.csv", [("d", "1"), ("e", "0")]),
    }
    found = read_parts(paths)
    assert found.parts["train"].labels == ("1", "0", "-1")
    assert found.classes == ("-1", "0", "1")
    assert "labels are whole numbers, and some are written as fractions" in found.notes[0]
    half = table(tmp_path / "c.csv", [("a", "1.0"), ("b", "1.5"), ("c", "2.0")])
    assert read(half).classes == ("1.0", "1.5", "2.0")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["food", "sports", "Food", "food"], r"label 'Food' \(line 4\) is 'food' but for case or spaces; write both"),
        (["a b", "c", "a  b", "a b"], r"label 'a  b' \(line 4\) is 'a b' but for"),
        (["nai\u0308ve", "b", "naïve", "naïve"], "is 'naïve' but for case or spaces"),
        (["['a']", "['b']", "['a']", "b"], r"3 rows hold a list or another structure in 'label'.*\(lines 2, 3, 4\)"),
        (["[0 1]", "[1 0]", "[0 1]", "[1 0]"], "4 rows hold a list"),
        (["nan", "a", "b", "a"], r"1 row has no label \(line 2\)"),
        (["a", "a", "a", "a"], r"at least two classes, found \['a'\]"),
    ],
)
def test_labels_that_are_none_are_refused_with_their_lines(labels: list[str], message: str, tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [(f"text {place}", label) for place, label in enumerate(labels)])
    with pytest.raises(SpecError, match=message):
        read(path)


def test_a_label_that_may_mean_none_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [("a", "None"), ("b", "x"), ("c", "None")])
    assert read(path).classes == ("None", "x")
    assert "2 labels are 'None', taken for the name of a class (lines 2, 4)" in read(path).notes[0]


def test_a_column_of_hardly_repeated_labels_is_asked_about(tmp_path: Path) -> None:
    scores = table(tmp_path / "x.csv", [(f"text {place}", f"{place}.25") for place in range(30)])
    with pytest.raises(SpecError, match=r"30 classes in 30 texts, such as '0.25' and '1.25': is 'label' the column of"):
        read(scores)
    assert read(scores, threshold=9.5).classes == ("above", "at or below")
    pairs_of_40 = table(tmp_path / "z.csv", [(f"text {place}", f"class {place % 40}") for place in range(80)])
    assert len(read(pairs_of_40).classes) == 40


def test_repeated_texts_are_counted_and_contrary_labels_told(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [("a", "x"), ("b", "y"), ("a", "y"), ("a", "x")])
    assert pairs(path) == [("a", "x"), ("b", "y")]
    notes = "\n".join(read(path).notes)
    assert "1 repeated texts have another label than before, which is not used (line 4)" in notes
    assert "2 of 4 texts are repetitions and left away" in notes


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("sentence1", "sentence2"),
        ("sentence_A", "sentence_B"),
        ("premise", "hypothesis"),
        ("question", "sentence"),
        ("text", "text_pair"),
        ("question1", "question2"),
        ("text", "text_b"),
    ],
)
def test_the_second_text_of_a_pair_is_not_ignored_unasked(text: str, second: str, tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [("a,b", "x"), ("c,d", "y")], f"{text},{second},label")
    with pytest.raises(
        SpecError, match=f"column '{second}' looks like the second text of a pair whose first is '{text}'"
    ):
        read(path, text=text)
    assert pairs(path, text=text, ignore=(second,)) == [("a", "x"), ("c", "y")]


def test_other_columns_of_texts_are_told(tmp_path: Path) -> None:
    rows = [(f"text {place},a title of some words {place},{place}", "xy"[place % 2]) for place in range(30)]
    path = table(tmp_path / "x.csv", rows, "text,title,number,label")
    assert "columns that hold texts too and are not read: title" in read(path).notes[0]
    assert read(path, ignore=("title",)).notes == ()


def test_a_part_may_have_columns_of_its_own(tmp_path: Path) -> None:
    from autocompress.core.data_spec import Asset, DataSpec
    from autocompress.reading import read_labelled

    paths = {
        "train": table(tmp_path / "a.csv", [("a", "x"), ("b", "y")]),
        "test": table(tmp_path / "b.csv", [("c", "x")], "body,class"),
    }
    spec = DataSpec(train=PartSpec(Asset(path="x")), test=PartSpec(Asset(path="x"), text="body", label="class"))
    assert read_labelled(spec, paths).parts["test"].texts == ("c",)
    with pytest.raises(SpecError, match=r"b.csv: no text column 'text'"):
        read_parts(paths)
