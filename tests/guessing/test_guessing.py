"""What columns hold, which of them are read, what is asked of them; and what is asked back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from autocompress.core.positions import way_to
from autocompress.errors import SpecError
from autocompress.guessing import Checkpoint, Named, Roles, checkpoint_of, column_of, kind_of, lengths_of, roles_of

ENCODER = Checkpoint("bert", "text")
NOBODY = Named()
WORDS = ("the", "plot", "was", "thin", "but", "actors", "played", "well", "tonight", "again")


def sentences(rows: int, *, seed: int = 0) -> list[str]:
    return [" ".join(WORDS[(row * 7 + place * 3 + seed) % 10] for place in range(6)) + f" {row}" for row in range(rows)]


def classes(rows: int, *names: str) -> list[str]:
    return [names[row * 7 % len(names)] for row in range(rows)]


def read(
    cells: Mapping[str, Sequence[Any]],
    *,
    checkpoint: Checkpoint = ENCODER,
    named: Named = NOBODY,
    kind: str | None = None,
) -> Roles:
    columns = [column_of(name, column) for name, column in cells.items()]
    return roles_of("texts.csv", columns, checkpoint, named=named, kind=kind, cells=cells)


def guessed(cells: Mapping[str, Sequence[Any]], checkpoint: Checkpoint = ENCODER) -> tuple[str | None, ...]:
    roles = read(cells, checkpoint=checkpoint)
    kind = kind_of("texts.csv", roles, checkpoint)
    assert kind.why
    return kind.value, roles.text.name, roles.pair.name if roles.pair else None, roles.label.name


@pytest.mark.parametrize(
    ("cells", "holds"),
    [
        (sentences(40), "texts"),
        (["这部电影的情节很单薄但是演员很好", "我非常喜欢这家餐厅的汤和面包"] * 10, "classes"),
        ([f"这部电影的情节很单薄但是演员很好{row}" for row in range(40)], "texts"),
        (classes(40, "spam", "ham"), "classes"),
        (classes(40, "1", "2", "3"), "classes"),
        ([True, False, False, True], "classes"),
        ([f"{row * 37 % 40 / 10:.2f}" for row in range(40)], "amounts"),
        ([row * 37 % 997 for row in range(400)], "amounts"),
        (["['a', 'b']", "[]", "['b']"] * 5, "lists"),
        ([["a", "b"], [], ["b"]] * 5, "lists"),
        (list(range(40)), "other"),
        ([f"R-{row + 1000}" for row in range(40)], "other"),
        ([f"2026-01-{row % 28 + 1:02d}" for row in range(40)], "other"),
        ([f"https://example.org/{row}" for row in range(40)], "other"),
        (["same"] * 40, "other"),
        (["", None, float("nan")], "other"),
        ([f"pictures/{row}.png" for row in range(40)], "files"),
    ],
)
def test_a_column_is_told_by_its_cells(cells: Sequence[Any], holds: str) -> None:
    assert column_of("a", cells).holds == holds


def test_odd_names_and_other_columns_do_not_hide_text_and_label() -> None:
    found = guessed(
        {
            "ID #": [f"R-{row + 1000}" for row in range(60)],
            "Review Body (en)": sentences(60),
            "Date": [f"2026-01-{row % 28 + 1:02d}" for row in range(60)],
            "Sentiment?": classes(60, "good", "bad"),
            "": ["x"] * 60,
        }
    )
    assert found == ("text-classification", "Review Body (en)", None, "Sentiment?")


def test_a_name_decides_between_columns_that_could_be_either() -> None:
    cells = {
        "Title": sentences(60, seed=1),
        "reviewBody": sentences(60, seed=2),
        "channel": classes(60, "web", "shop", "phone"),
        "label": classes(60, "good", "bad"),
    }
    assert guessed(cells) == ("text-classification", "reviewBody", None, "label")
    assert "'Title'" in next(one.value for one in read(cells).reasons if one.what == "not read")


def test_the_answers_of_a_fine_tuned_model_tell_which_column_they_are_of() -> None:
    model = Checkpoint("bert", "text", head="text", outputs=("GOOD", "BAD"))
    cells = {"a": sentences(60), "b": classes(60, "good", "bad"), "c": classes(60, "web", "shop", "phone")}
    assert guessed(cells, model)[3] == "b"


def test_of_a_number_and_its_name_the_name_is_taken() -> None:
    names = classes(60, "good", "bad", "neither")
    numbers = [str(["bad", "good", "neither"].index(name)) for name in names]
    cells = {"text": sentences(60), "category id": numbers, "category": names}
    assert guessed(cells) == ("text-classification", "text", None, "category")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            {"text": sentences(60), "a": classes(60, "x", "y"), "b": classes(60, "p", "q", "r")},
            r"several columns could hold the labels: 'a' .*, 'b' .*--label COLUMN",
        ),
        ({"text": sentences(60), "day": ["1"] * 60}, r"no column looks like one of labels .*--label COLUMN"),
        ({"label": classes(60, "x", "y"), "n": list(range(60))}, r"no column looks like one of texts.*--text COLUMN"),
        (
            {"left": sentences(60), "right": sentences(60, seed=3), "label": classes(60, "x", "y")},
            r"several columns could hold the texts: 'left' .*--text COLUMN, or both with --text COLUMN --pair COLUMN",
        ),
    ],
)
def test_what_is_not_sure_is_asked_with_the_option_that_settles_it(cells: Mapping[str, list[str]], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read(cells)


def test_named_columns_are_taken_and_wrong_names_refused() -> None:
    cells = {"left": sentences(60), "right": sentences(60, seed=3), "label": classes(60, "x", "y")}
    assert read(cells, named=Named(text="right")).text.name == "right"
    roles = read(cells, named=Named(text="left", pair="right"))
    assert (roles.text.name, roles.pair and roles.pair.name) == ("left", "right")
    with pytest.raises(SpecError, match="--label: texts.csv has no column 'lable'; did you mean 'label'"):
        read(cells, named=Named(label="lable"))
    with pytest.raises(SpecError, match="'left' is named twice"):
        read(cells, named=Named(text="left", label="left"))
    with pytest.raises(SpecError, match="--pair: text-classification reads one text a row"):
        read(cells, named=Named(pair="left"), kind="text-classification")


def test_two_texts_that_are_named_as_a_pair_are_one() -> None:
    cells = {"premise": sentences(60), "hypothesis": sentences(60, seed=3), "label": classes(60, "x", "y")}
    assert guessed(cells) == ("sentence-pairs", "premise", "hypothesis", "label")
    alone = read(cells, kind="text-classification", named=Named(text="premise"))
    assert (alone.pair, alone.ignored) == (None, ("hypothesis",))


def test_lists_are_several_classes_or_tags_of_words() -> None:
    several = {"text": sentences(60), "topics": ["['a', 'b']", "[]", "['b']"] * 20}
    assert guessed(several)[0] == "multi-label"
    words = [text.split() for text in sentences(60)]
    tagged = {"ner_tags": [["O"] * (len(row) - 1) + ["B-PER"] for row in words], "tokens": words}
    assert guessed(tagged) == ("token-classification", "tokens", None, "ner_tags")


def test_amounts_are_told_from_classes_or_asked_about() -> None:
    scores = [f"{row * 37 % 60 / 10:.2f}" for row in range(60)]
    assert guessed({"text": sentences(60), "score": scores})[0] == "regression"
    whole = [str(row * 37 % 59) for row in range(60)]
    with pytest.raises(SpecError, match="classes or amounts: say it with --task text-classification, or --task regr"):
        guessed({"text": sentences(60), "score": whole})
    one = Checkpoint("bert", "text", head="text", outputs=("LABEL_0",))
    assert guessed({"text": sentences(60), "score": whole}, one)[0] == "regression"
    pairs = {"sentence1": sentences(60), "sentence2": sentences(60, seed=3), "score": scores}
    assert guessed(pairs, Checkpoint("bert", "text", embeds=True))[0] == "sentence-embeddings"
    with pytest.raises(SpecError, match="--task regression, or --task sentence-embeddings"):
        guessed(pairs)


def test_a_checkpoint_is_read_by_its_config() -> None:
    found = checkpoint_of(
        {
            "model_type": "roberta",
            "architectures": ["RobertaForSequenceClassification"],
            "id2label": {"1": "good", "0": "bad"},
            "max_position_embeddings": 514,
        }
    )
    assert (found.head, found.outputs, found.named, found.positions) == ("text", ("bad", "good"), ("bad", "good"), 512)
    plain = checkpoint_of({"model_type": "vit", "architectures": ["ViTModel"]})
    assert (plain.head, plain.outputs, plain.modality) == ("", (), "image")


def test_lengths_are_those_that_hold_nearly_all_texts() -> None:
    found = lengths_of([*range(10, 50), 300], positions=512)
    assert (found.max_length, found.length) == (384, 48)
    cut = lengths_of([700] * 10, positions=512, more=way_to("bert"))
    assert (cut.max_length, cut.length) == (512, 512)
    assert "100% are longer, the model reads no more than 512; `model: {positions: tile}` (or" in cut.reasons[0].why
    far = lengths_of([700] * 10, positions=8192, more=way_to("modernbert"))
    assert "100% are longer, a larger `task.max_length` reads more" in far.reasons[0].why
    assert "positions" not in far.reasons[0].why
