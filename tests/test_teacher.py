"""What is made of checkpoints as people have them; the model of these tests answers every text, its labels apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autocompress import config
from autocompress.errors import SpecError
from autocompress.operators import OPERATORS
from autocompress.teacher.teacher import Teacher, prepare_teacher
from tests.given_study import WORDS, write_data, write_model, write_study, write_telling_model

NAMES = sorted(WORDS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    return tmp_path


def change_config(project: Path, **changes: Any) -> None:
    """A change to None removes a key."""
    path = project / "model" / "config.json"
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def change_weights(project: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = project / "model" / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def relabel(project: Path, labels: Mapping[str, str]) -> None:
    """Other labels in the data; texts of a class that is not named go."""
    path = project / "texts.csv"
    with path.open(newline="") as file:
        rows = [(row["text"], labels[row["label"]]) for row in csv.DictReader(file) if row["label"] in labels]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def prepared(project: Path, *, labels: Mapping[Any, Any] | None = None, **teacher: Any) -> Teacher:
    task = {"max_length": 16, "data": {"source": {"path": "texts.csv"}, "format": "csv"}, "labels": labels or {}}
    settings = {"epochs": 4, "batch_size": 16, "learning_rate": 3.0e-3, **teacher}
    spec = config.load_study(write_study(project, task=task, teacher=settings), operators=OPERATORS)
    data = {"all": project / "texts.csv"}
    return prepare_teacher(spec, project / "model", data, on_progress=lambda _: None)


def numbered(*names: str) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


@pytest.mark.parametrize(
    ("id2label", "data", "labels"),
    [
        (numbered("LABEL_0", "LABEL_1", "LABEL_2"), ("-1", "0", "1"), ("-1", "0", "1")),
        (numbered("LABEL_0", "LABEL_1", "LABEL_2"), ("9", "10", "11"), ("9", "10", "11")),
        (numbered("LABEL_0", "LABEL_1", "LABEL_2"), ("first", "second", "third"), ("first", "second", "third")),
        (numbered("FOOD", "Sports", " travel "), ("food", "sports", "travel"), ("food", "sports", "travel")),
        (numbered(*NAMES), ("0", "1", "2"), ("0", "1", "2")),
        ({"0": "food", "1": "sports", "5": "travel"}, NAMES, tuple(NAMES)),
        (None, ("0", "1", "2"), ("0", "1", "2")),
        (numbered("LABEL_0", "LABEL_1"), NAMES, tuple(NAMES)),
    ],
)
def test_labels_that_can_be_told_are(project: Path, id2label: Any, data: Any, labels: tuple[str, ...]) -> None:
    change_config(project, id2label=id2label, label2id=None)
    relabel(project, dict(zip(NAMES, data, strict=True)))
    teacher = prepared(project)
    assert teacher.task.labels == labels
    assert teacher.validation == 1.0


def test_names_that_stand_in_label2id_alone_are_found(project: Path) -> None:
    change_config(project, id2label=None, label2id={"travel": 2, "food": 0, "sports": 1})
    assert prepared(project).task.labels == tuple(NAMES)


def test_words_in_another_order_than_the_outputs_are_asked_for_with_what_to_write(project: Path) -> None:
    change_config(project, id2label=numbered("LABEL_0", "LABEL_1", "LABEL_2"), label2id=None)
    relabel(project, dict(zip(NAMES, ("positive", "neutral", "negative"), strict=True)))
    asked = r"under `task`: labels: \{0: positive, 1: neutral, 2: negative\}"
    with pytest.raises(SpecError, match=asked):
        prepared(project)
    teacher = prepared(project, labels={0: "positive", 1: "neutral", 2: "negative"})
    assert teacher.task.labels == ("positive", "neutral", "negative")
    assert teacher.validation == 1.0


def test_names_on_the_wrong_outputs_are_told_with_the_order_that_fits(project: Path) -> None:
    change_config(project, id2label=numbered("travel", "sports", "food"), label2id=None)
    asked = (
        r"right for \d+ of 192 training texts, and for 192 if .*labels: \{travel: food, sports: sports, food: travel\}"
    )
    with pytest.raises(SpecError, match=asked):
        prepared(project)
    assert prepared(project, labels={"travel": "food", "food": "travel"}).validation == 1.0
    assert "was accepted" in " ".join(prepared(project, accept_poor=True).notes)


def test_numbers_of_a_label_map_may_be_written_as_numbers(project: Path) -> None:
    relabel(project, dict(zip(NAMES, ("1", "0", "-1"), strict=True)))
    assert prepared(project, labels={"food": 1, "sports": 0, "travel": -1}).task.labels == ("1", "0", "-1")


def test_data_that_lack_a_class_keep_the_outputs_of_the_model(project: Path) -> None:
    relabel(project, {"food": "food", "travel": "travel"})
    teacher = prepared(project)
    assert teacher.task.labels == tuple(NAMES)
    assert teacher.anatomy.shape().classes == 3
    assert teacher.validation == 1.0


def test_data_with_a_class_that_the_model_lacks_are_refused_with_both_ways_out(project: Path) -> None:
    relabel(project, {"food": "food", "travel": "travel", "sports": "cars"})
    with pytest.raises(SpecError, match=r"no output for 'cars' of the data; it knows 'food', 'sports', 'travel'; say"):
        prepared(project)
    (project / "texts.csv").write_text("text,label\n" + "".join(f"goal {i},{'abcd'[i % 4]}\n" for i in range(80)))
    with pytest.raises(SpecError, match=r"leave such texts out, or `teacher: \{head: new\}` in the study trains"):
        prepared(project)


def test_a_teacher_no_better_than_the_commonest_class_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_model(tmp_path / "model", head=True)
    told = (
        r"scores 0\.\d+ \(accuracy\) on validation texts, no more than always answering the commonest class, 0\.\d+: "
    )
    with pytest.raises(
        SpecError, match=told + r"its outputs are food, sports, travel, as its config says; .*accept_poor"
    ):
        prepared(tmp_path)
    assert "a poor teacher was accepted: scores 0." in prepared(tmp_path, accept_poor=True).notes[-1]


def test_a_trained_teacher_that_learned_nothing_is_refused_too(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_model(tmp_path / "model", head=False)
    with pytest.raises(SpecError, match=r"trained for 1 epoch with `teacher\.learning_rate: 1e-08`; raise the epochs"):
        prepared(tmp_path, epochs=1, learning_rate=1.0e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("head", [True, False])
def test_checkpoints_of_any_float_type_are_read_as_fp32(project: Path, dtype: torch.dtype, head: bool) -> None:
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind: Any = AutoModelForSequenceClassification if head else AutoModel
    kind.from_pretrained(str(project / "model")).to(dtype).save_pretrained(str(project / "model"))
    teacher = prepared(project, epochs=1, accept_poor=not head)
    assert {tensor.dtype for tensor in teacher.anatomy.model.parameters()} == {torch.float32}
    model: Any = teacher.anatomy.model
    assert model.config.to_dict()["dtype"] == "float32"
    assert teacher.validation == 1.0 or not head


def test_a_head_for_something_else_is_replaced_where_the_study_says_so(project: Path) -> None:
    relabel(project, {"food": "b", "sports": "a", "travel": "a"})
    teacher = prepared(project, head="new", epochs=8)
    assert teacher.task.labels == ("a", "b")
    assert teacher.anatomy.shape().classes == 2
    assert teacher.validation > 0.9
    with pytest.raises(SpecError, match=r"task\.labels: must be left out, as .* gets a new head"):
        prepared(project, head="new", labels={0: "a"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertForTokenClassification"]}, "its config says BertForTokenClassification"),
        ({"problem_type": "regression"}, "has 3 outputs and `problem_type: regression`: its answers are amounts"),
        ({"problem_type": "multi_label_classification"}, "it says yes or no to each class"),
        ({"id2label": numbered("a", "b", "c", "d", "e")}, "`id2label` names 5 classes, but the weights have 3 outputs"),
        ({"num_hidden_layers": 1}, "weights of layers that its config does not have: bert.encoder.layer.1"),
        ({"num_hidden_layers": 3}, "weights do not fit the model's config: bert.encoder.layer.2"),
        ({"hidden_size": "wide"}, "config.json: 'hidden_size' must be a whole number from 1 to 65,536, got wide"),
        ({"num_attention_heads": 5}, "not the config of a model that can be built: The hidden size"),
        ({"model_type": "deberta"}, "would need positions relative to each other in its attention"),
        ({"model_type": "no_such"}, "no anatomy for the family 'no_such': it would need a description"),
    ],
)
def test_a_checkpoint_whose_config_says_something_else_is_refused(
    project: Path, changes: dict[str, Any], message: str
) -> None:
    change_config(project, **changes)
    with pytest.raises(SpecError, match=message):
        prepared(project)


def test_a_part_of_the_head_that_is_missing_is_not_made_up(project: Path) -> None:
    change_weights(project, lambda tensors: {name: one for name, one in tensors.items() if "pooler" not in name})
    told = r"holds 'classifier', but not 'bert\.pooler\.dense', without which its answers are random; `teacher: \{head:"
    with pytest.raises(SpecError, match=told):
        prepared(project)
    assert prepared(project, head="new", epochs=1, accept_poor=True).notes[0].endswith("its head was replaced")


def test_a_head_of_one_output_is_a_regression(project: Path) -> None:
    change_weights(project, lambda tensors: {n: t[:1] if n.startswith("classifier") else t for n, t in tensors.items()})
    with pytest.raises(SpecError, match=r"has 1 output: its answers are amounts, and a study needs a class"):
        prepared(project)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(project: Path, value: float) -> None:
    def broken(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors["bert.encoder.layer.1.output.dense.bias"][3] = value
        return tensors

    change_weights(project, broken)
    with pytest.raises(
        SpecError, match=r"1 weights hold NaN or infinite values: bert\.encoder\.layer\.1\.output\.dense"
    ):
        prepared(project)
