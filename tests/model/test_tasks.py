from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from autocompress.core.data_spec import Asset, DataSpec, TaskSpec, TextSpec
from autocompress.core.scores import parsed_metric
from autocompress.errors import SpecError
from autocompress.reading import read_labelled, read_texts
from autocompress.tasks import TextClassification
from autocompress.tasks.metrics import Metric, accuracy, accuracy_drop, of_classes
from tests.given_study import write_model


def spec(kind: str, **settings: object) -> DataSpec:
    return DataSpec(Asset(path="x"), kind, **settings)  # type: ignore[arg-type]


def read_rows(spec: DataSpec, path: Path) -> list[tuple[str, str]]:
    """(text, label) of one file."""
    (rows,) = read_labelled(spec, {"all": path}).parts.values()
    return list(zip(rows.texts, rows.labels, strict=True))


def write(folder: Path, text: str) -> Path:
    path = folder / "data"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kind": "csv"}, 'text,label\n"a, b",x\nc,y\n'),
        ({"kind": "csv", "columns": ("label", "text")}, 'x,"a, b"\ny,c\n'),
        ({"kind": "tsv", "text": "t", "label": "l"}, "l\tt\tother\nx\ta, b\t1\ny\tc\t2\n"),
        ({"kind": "jsonl"}, '{"text": "a, b", "label": "x"}\n\n{"label": "y", "text": "c", "more": 1}\n'),
        ({"kind": "lines", "pattern": r"(?P<label>\w)\|(?P<text>.+)"}, "x|a, b\ny|c\n"),
    ],
)
def test_every_format_gives_the_same_rows(settings: dict[str, object], text: str, tmp_path: Path) -> None:
    kind = str(settings.pop("kind"))
    assert read_rows(spec(kind, **settings), write(tmp_path, text)) == [("a, b", "x"), ("c", "y")]


def test_repeated_texts_are_dropped_and_the_first_label_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,x\nb,y\na,y\n")
    assert read_rows(spec("csv"), path) == [("a", "x"), ("b", "y")]
    assert len(read_rows(spec("csv", distinct=False), path)) == 3


def test_a_threshold_turns_scores_into_two_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,0\nb,1.5\nc,-2\n")
    assert [label for _, label in read_rows(spec("csv", threshold=0.0), path)] == [
        "at or below",
        "above",
        "at or below",
    ]


def test_a_lone_quotation_mark_in_a_tsv_swallows_nothing(tmp_path: Path) -> None:
    assert len(read_rows(spec("tsv"), write(tmp_path, 'text\tlabel\n"a\tx\nb\ty\n'))) == 2


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        ({"kind": "csv"}, "txt,label\na,x\n", r"no text column 'text'; did you mean 'txt'.*set `task.data.text`"),
        ({"kind": "csv"}, "text,lbl\na,x\n", r"no label column 'label'"),
        ({"kind": "csv"}, "text,label\na,x\nb,x\n", r"at least two classes, found \['x'\]"),
        ({"kind": "csv"}, "", "the file is empty"),
        ({"kind": "csv"}, "text,label\n", "at least two classes, found no rows"),
        ({"kind": "csv"}, "text,label\na,x\n ,y\n,x\n", r"2 rows have no text \(lines 3, 4\)"),
        ({"kind": "csv"}, "text,label\na,x\nb\n", r"1 row has no label \(line 3\)"),
        (
            {"kind": "csv", "threshold": 1.0},
            "text,label\na,x\n",
            r"data:2: `threshold` needs a number in 'label', got 'x'",
        ),
        ({"kind": "jsonl"}, "{}\n", "data:1: no text column 'text'"),
        ({"kind": "jsonl"}, '{"text": "a", "label": null}\n', r"1 row has no label \(line 1\)"),
        ({"kind": "jsonl"}, "[1]\n", "data:1: not a JSON object"),
        ({"kind": "jsonl"}, '{"text"\n', "data:1: not a JSON object"),
        (
            {"kind": "lines", "pattern": "(?P<label>.):(?P<text>.+)"},
            "x:a\nno\n",
            r"1 lines do not fit `pattern` \(line 2\)",
        ),
    ],
)
def test_mistakes_in_data_are_named_by_file_and_line(
    settings: dict[str, object], text: str, message: str, tmp_path: Path
) -> None:
    kind = str(settings.pop("kind"))
    with pytest.raises(SpecError, match=message):
        read_rows(spec(kind, **settings), write(tmp_path, text))


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes("text,label\ncaf\xe9,x\n".encode("latin-1"))
    with pytest.raises(SpecError, match="not readable as utf-8.*set `task.data.encoding`"):
        read_rows(spec("csv"), path)
    with pytest.raises(SpecError, match="not readable as utf-8.*set `finalists.transfer.texts.encoding`"):
        read_texts(texts("csv"), path, seed=0)


def texts(kind: str, **settings: object) -> TextSpec:
    return TextSpec(Asset(path="x"), kind, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kind": "csv"}, 'text,other\n"a, b",x\nc,\n'),
        ({"kind": "csv", "columns": ("text",)}, '"a, b"\nc\n'),
        ({"kind": "tsv", "text": "t"}, "l\tt\nx\ta, b\ny\tc\n"),
        ({"kind": "jsonl"}, '{"text": "a, b"}\n{"text": null}\n{"text": "c", "label": 1}\n'),
        ({"kind": "lines"}, "a, b\n\nc\n"),
        ({"kind": "lines", "pattern": r"\w\|(?P<text>.+)"}, "x|a, b\ny|c\n"),
    ],
)
def test_texts_without_labels_are_read_from_every_format(
    settings: dict[str, object], text: str, tmp_path: Path
) -> None:
    kind = str(settings.pop("kind"))
    assert read_texts(texts(kind, **settings), write(tmp_path, text), seed=0) == ["a, b", "c"]


def test_empty_and_repeated_texts_without_labels_are_dropped(tmp_path: Path) -> None:
    assert read_texts(texts("csv"), write(tmp_path, "text\na\n ,\nb\n a\n"), seed=0) == ["a", "b"]


def test_a_line_of_json_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    found = read_texts(texts("jsonl"), write(tmp_path, '{"text": "a\u2028b"}\r\n{"text": "c"}'), seed=0)
    assert found == ["a\u2028b", "c"]


def test_so_many_texts_are_drawn_by_the_seed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"{number:03}\n" for number in range(200)))
    first, again, other = (read_texts(texts("lines", most=20), path, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first == sorted(set(first))
    assert len(first) == len(other) == 20
    assert len(read_texts(texts("lines", most=200), path, seed=1)) == 200


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        (
            {"kind": "csv"},
            "txt\na\n",
            "no text column 'text'; did you mean 'txt'.*set `finalists.transfer.texts.text`",
        ),
        ({"kind": "jsonl"}, '{"text": "a"}\n{"txt": "b"}\n', "data:2: no text column 'text'; did you mean 'txt'"),
        ({"kind": "csv"}, "text\n", "no row has a text; give a file .*, or remove `finalists.transfer.texts`"),
        ({"kind": "lines"}, "", "no row has a text"),
        ({"kind": "lines"}, " \n\n", "no row has a text"),
        ({"kind": "lines", "pattern": "x:(?P<text>.+)"}, "x:a\nno\n", r"1 lines do not fit `pattern` \(line 2\)"),
    ],
)
def test_mistakes_in_texts_without_labels_are_named(
    settings: dict[str, object], text: str, message: str, tmp_path: Path
) -> None:
    kind = str(settings.pop("kind"))
    with pytest.raises(SpecError, match=message):
        read_texts(texts(kind, **settings), write(tmp_path, text), seed=0)


def test_a_folder_without_texts_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="a folder without a file that can be read as csv .it holds nothing.; name a file with"
    ):
        read_rows(spec("csv"), tmp_path)


def test_texts_without_labels_are_read_as_the_model_reads_them(tmp_path: Path) -> None:
    write_model(tmp_path, head=False)
    task = TaskSpec(spec("csv"), max_length=8)
    found = TextClassification.unlabelled(task, ["the goal", "", "we saw the goal " * 9], tmp_path)
    assert found.texts == ("the goal", "we saw the goal " * 9), "a text of no token teaches nothing"
    assert [len(ids) for ids in found.tokens] == [4, 8]
    assert {(ids[0], ids[-1]) for ids in found.tokens} == {(2, 3)}


def test_accuracy_has_wilsons_interval() -> None:
    score = accuracy(np.array([1] * 90 + [0] * 10), np.ones(100, int))
    assert score.value == 0.9
    assert score.interval == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))


def macro_f1(classes: int) -> Metric:
    return of_classes(parsed_metric("macro-f1"), [str(number) for number in range(classes)])


def test_macro_f1_equals_that_of_an_independent_library() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 4, 200), generator.integers(0, 4, 200)
    score = macro_f1(5).score(predicted, truth)
    assert score.value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert score.interval[0] < score.value < score.interval[1]


def test_a_drop_in_accuracy_counts_the_texts_that_one_model_alone_answers() -> None:
    """Twelve lost and five won of a hundred; the interval by hand from Bonett and Price (2012)."""
    truth = np.ones(100, int)
    reference, predicted = truth.copy(), truth.copy()
    predicted[:12] = reference[12:17] = reference[17:20] = predicted[17:20] = 0
    drop = accuracy_drop(predicted, reference, truth)
    assert drop.value == pytest.approx(0.07)
    assert drop.interval == (pytest.approx(-0.0141, abs=1e-4), pytest.approx(0.1513, abs=1e-4))
    assert accuracy_drop(reference, predicted, truth).interval[0] == pytest.approx(-0.1513, abs=1e-4)


def test_the_interval_of_a_drop_holds_the_true_one_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truth, held = np.ones(500, int), 0
    for _ in range(400):
        draws = generator.random(500)
        reference = (draws > 0.05).astype(int)
        predicted = ((draws > 0.08) | (draws < 0.02)).astype(int)  # loses 3 %, wins 2 %
        low, high = accuracy_drop(predicted, reference, truth).interval
        held += low <= 0.01 <= high
    assert 0.93 <= held / 400 <= 0.98


def test_a_drop_in_macro_f1_is_the_difference_and_knows_that_texts_are_the_same() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 200)
    reference = np.where(generator.random(200) < 0.9, truth, 0)
    predicted = np.where(generator.random(200) < 0.95, reference, 1)
    drop = macro_f1(4).drop(predicted, reference, truth)
    scores = [macro_f1(4).score(one, truth) for one in (reference, predicted)]
    assert drop.value == pytest.approx(scores[0].value - scores[1].value)
    assert drop.interval[0] < drop.value < drop.interval[1]
    assert drop.interval[1] - drop.interval[0] < scores[0].interval[1] - scores[0].interval[0]
    assert macro_f1(4).drop(reference, reference, truth).interval == (0.0, 0.0)
