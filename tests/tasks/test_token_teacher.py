"""A model fine-tuned for tokens is taken by the names of its tags; any other is asked about, or gets a head."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForTokenClassification

from autocompress import config
from autocompress.errors import SpecError
from autocompress.operators import OPERATORS
from autocompress.teacher.teacher import Teacher, prepare_teacher
from tests.given_study import FILLERS, WORDS, write_model, write_study

NAMES = sorted(WORDS)
TAGS = ["B-travel", "O", "B-food", "B-sports"]
"""In an order of the model's own."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


def write_tagger(folder: Path, names: Sequence[str] = TAGS) -> None:
    """A model whose weights are set by hand: its layers add nothing, and a tag is told by the word alone."""
    write_model(folder, head=False)
    settings: Any = AutoConfig.from_pretrained(str(folder))
    settings.id2label, settings.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model: Any = AutoModelForTokenClassification.from_config(settings)
    outside, *kinds = torch.eye(settings.hidden_size)[: len(TAGS)]
    tags = {"O": outside, **{f"B-{name}": kind for name, kind in zip(NAMES, kinds, strict=True)}}
    words = [tags[f"B-{name}"] for name, group in WORDS.items() for _ in group]
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "LayerNorm" not in name:
                tensor.zero_()
        table = model.bert.embeddings.word_embeddings.weight
        table.copy_(outside.expand_as(table))
        table[-len(words) :] = torch.stack(words)
        model.classifier.weight.copy_(torch.stack([tags[tag] for tag in TAGS]))
    model.save_pretrained(str(folder))


def write_told(path: Path, *, rows: int = 60, more: Sequence[str] = ()) -> None:
    generator, found = random.Random(0), []
    for number in range(rows):
        name = generator.choice(NAMES)
        words = [*generator.choices(FILLERS, k=3), generator.choice(WORDS[name]), str(number)]
        found.append({"text": words, "label": ["O", "O", "O", f"B-{name}", "O"]})
    found += [{"text": [word], "label": ["B-drink"]} for word in more]
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def prepared(folder: Path, *, labels: dict[Any, str] | None = None, **teacher: Any) -> Teacher:
    task = {"kind": "token-classification", "max_length": 16, "data": {"source": "rows.jsonl"}, "labels": labels or {}}
    study = write_study(folder, task=task, teacher={"epochs": 1, "batch_size": 16, "learning_rate": 3.0e-3, **teacher})
    spec = config.load_study(study, operators=OPERATORS)
    return prepare_teacher(spec, folder / "model", {"all": folder / "rows.jsonl"}, on_progress=lambda _: None)


def test_a_tagger_is_taken_by_the_names_of_its_tags(tmp_path: Path) -> None:
    write_told(tmp_path / "rows.jsonl")
    write_tagger(tmp_path / "model")
    teacher = prepared(tmp_path)
    assert (teacher.task.labels, teacher.validation, teacher.notes) == (tuple(TAGS), 1.0, ())


def test_tags_that_nobody_named_are_asked_for(tmp_path: Path) -> None:
    write_told(tmp_path / "rows.jsonl")
    write_tagger(tmp_path / "model", [f"LABEL_{place}" for place in range(4)])
    with pytest.raises(SpecError, match=r"say which output means which label, under `task`: labels: \{0: \.\.\., 1:"):
        prepared(tmp_path)
    assert prepared(tmp_path, labels=dict(enumerate(TAGS))).validation == 1.0


def test_tags_that_the_model_lacks_are_named(tmp_path: Path) -> None:
    write_told(tmp_path / "rows.jsonl", more=["tea", "milk"])
    write_tagger(tmp_path / "model")
    with pytest.raises(SpecError, match="leave such texts out, or `teacher: {head: new}`"):
        prepared(tmp_path)


def test_a_classifier_of_texts_gets_a_head_for_tokens_where_the_study_says_so(tmp_path: Path) -> None:
    write_told(tmp_path / "rows.jsonl")
    write_model(tmp_path / "model", head=True)
    with pytest.raises(SpecError, match="BertForSequenceClassification, and a study takes a ForTokenClassification"):
        prepared(tmp_path)
    teacher = prepared(tmp_path, head="new", accept_poor=True)
    assert type(teacher.anatomy.model).__name__ == "BertForTokenClassification"
    assert teacher.notes[0] == "BertForSequenceClassification: its head was replaced"
    assert teacher.task.labels == ("B-food", "B-sports", "B-travel", "O")
