"""Texts longer than the checkpoint's positions: the model that reads them, its files, and who is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

import autocompress
from autocompress.anatomy import FAMILIES, anatomy_of
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.positions import give_positions, places_of
from autocompress.anatomy.written import written_weights
from autocompress.config import load_study
from autocompress.core.data_spec import ModelAsset
from autocompress.core.positions import Extension, places_in, way_to, ways_of, why_too_long
from autocompress.core.spec import StudySpec
from autocompress.deploy.graph import write_graph
from autocompress.errors import SpecError
from autocompress.exported.verification import judge_folder
from autocompress.operators import OPERATORS
from autocompress.study.preflight import misfits
from autocompress.teacher.teacher import cached_teacher, prepare_teacher
from tests.families.given import answers, inputs, live
from tests.families.test_traced import ran
from tests.given_study import write_data, write_model, write_study
from tests.model.test_exported_folder import made_in

TABLED = (
    *("BertForSequenceClassification", "RobertaForSequenceClassification", "DistilBertForSequenceClassification"),
    *("MPNetForSequenceClassification", "AlbertForSequenceClassification", "ElectraForSequenceClassification"),
)
ROTARY = ("ModernBertForSequenceClassification", "EuroBertForSequenceClassification")
LONGER = 100


def more(form: str, way: Extension, length: int = LONGER, **settings: Any) -> tuple[Any, Any]:
    """The model before and after, of 40 rows of positions."""
    before, after = (live(form, max_position_embeddings=40, **settings) for _ in range(2))
    give_positions(after, FAMILIES[after.config.model_type], length, way)
    return before, after


def table(model: nn.Module) -> torch.Tensor:
    family = FAMILIES[model.config.model_type]  # type: ignore[union-attr,index]
    (found,) = (one for name, one in model.named_parameters() if name.endswith("position_embeddings.weight"))
    return found[family.first_position(model.config) :]


@pytest.mark.parametrize("form", TABLED)
def test_rows_are_repeated_or_drawn_out_and_those_of_no_token_stay_before_them(form: str) -> None:
    before, tiled = more(form, "tile")
    _, drawn = more(form, "interpolate")
    old, first = table(before), FAMILIES[before.config.model_type].first_position(before.config)
    assert first == (2 if form.startswith(("Roberta", "MPNet")) else 0)
    assert torch.equal(table(tiled), old.repeat(4, 1)[:LONGER])
    assert torch.allclose(table(drawn)[[0, -1]], old[[0, -1]])
    doubled = more(form, "interpolate", 2 * len(old) - 1)[1]
    assert torch.allclose(table(doubled)[::2], old, atol=1e-6)
    assert torch.allclose(table(doubled)[1::2], (old[1:] + old[:-1]) / 2, atol=1e-6)
    for model in (tiled, drawn):
        assert model.config.max_position_embeddings == LONGER + first
        assert places_of(model.config, FAMILIES[model.config.model_type]) == LONGER == places_in(model.config.to_dict())
    short, long = inputs(before, length=12), inputs(before, length=LONGER)
    assert torch.equal(answers(tiled, short), answers(before, short))
    assert torch.isfinite(answers(drawn, long)).all()
    with pytest.raises((IndexError, RuntimeError)):
        answers(before, long)


@pytest.mark.parametrize("form", ROTARY)
def test_angles_are_smaller_but_for_layers_that_look_at_their_neighbourhood(form: str) -> None:
    before, after = more(form, "interpolate", 160)
    found = {name: [dict(one.named_buffers())[name] for one in (before, after)] for name, _ in before.named_buffers()}
    frequencies = {name: both for name, both in found.items() if "inv_freq" in name}
    assert frequencies
    for name, (old, new) in frequencies.items():
        assert torch.allclose(new, old if "sliding" in name else old / 4), name
    assert after.config.max_position_embeddings == 160
    twice = live(form, max_position_embeddings=40)
    for length in (80, 160):
        give_positions(twice, FAMILIES[twice.config.model_type], length, "interpolate")
    long = inputs(after, length=50)
    assert torch.allclose(answers(twice, long), answers(after, long), atol=1e-6)


@pytest.mark.parametrize("form", ["BertForSequenceClassification", "RobertaForSequenceClassification", *ROTARY])
def test_the_file_and_the_saved_model_read_as_much(form: str, tmp_path: Path) -> None:
    model = more(form, "interpolate")[1]
    given = inputs(model, length=LONGER)
    weights = anatomy_of(model).weights() if form in TABLED else written_weights(LiveModel(model))
    assert (ran(write_graph(weights), given) - answers(model, given)).abs().max() < 1e-4
    model.save_pretrained(str(tmp_path))
    again = AutoModelForSequenceClassification.from_pretrained(str(tmp_path), attn_implementation="eager")
    assert torch.allclose(answers(again.eval(), given), answers(model, given), atol=1e-6)


def test_a_model_that_reads_enough_is_left_alone() -> None:
    before, after = more("RobertaForSequenceClassification", "tile", 38)
    assert table(after).shape == table(before).shape


def test_who_cannot_be_given_more_is_told_so() -> None:
    assert ways_of("bert") == ("tile", "interpolate")
    assert ways_of("eurobert") == ("interpolate",)
    assert why_too_long("here", "bert", 512, 512, None) == why_too_long("here", "bert", 512, 9000, "tile") == ""
    told = "task.max_length: must be <= 512, the positions that here has, got 600; a workload is no longer than that; "
    asked = "`model: {positions: tile}` (or `interpolate`) in the study gives it more"
    assert why_too_long("here", "bert", 512, 600, None) == told + asked
    assert (
        "`model.positions: tile` is for tables of positions, and a modernbert has none: write `model: {positions: "
        in (why_too_long("here", "modernbert", 512, 600, "tile"))
    )
    assert ", xlm-roberta, and this is a deberta-v2" in why_too_long("here", "deberta-v2", 512, 600, "tile")
    assert way_to("deberta-v2") == ""
    angles = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(SpecError, match=r"model\.positions: the checkpoint's angles are scaled as yarn already"):
        more("EuroBertForSequenceClassification", "interpolate", rope_parameters=angles)


# In a study


def study_of(place: Path, length: int, **model: str) -> StudySpec:
    task = {"max_length": length, "data": {"source": {"path": "texts.csv"}, "format": "csv"}}
    teacher = {"epochs": 1, "batch_size": 64, "accept_poor": True}
    path = write_study(place, task=task, model={"path": "model", **model}, teacher=teacher)
    return load_study(path, operators=OPERATORS)


def test_a_study_says_how_and_its_teacher_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    write_model(tmp_path / "model", head=False)
    write_data(tmp_path / "texts.csv", rows=60)
    model, data = tmp_path / "model", {"all": tmp_path / "texts.csv"}
    (problem,) = misfits(study_of(tmp_path, 48), model)
    assert "must be <= 32" in problem
    assert "`model: {positions: tile}`" in problem
    with pytest.raises(SpecError, match=r"must be <= 32, .* `model: \{positions: tile\}` \(or `interpolate`\) in the"):
        prepare_teacher(study_of(tmp_path, 48), model, data, on_progress=lambda _: None)
    found = {}
    for way in ("tile", "interpolate"):
        spec = study_of(tmp_path, 48, positions=way)
        assert misfits(spec, model) == []
        teacher = found[way] = prepare_teacher(spec, model, data, on_progress=lambda _: None)
        assert teacher.notes[0] == f"positions: 32 of the checkpoint, 48 by `{way}`"
        assert json.loads((teacher.folder / "config.json").read_text())["max_position_embeddings"] == 48
        kept = cached_teacher(spec, model, data, digest=teacher.digest)
        assert torch.equal(table(kept.anatomy.model), table(teacher.anatomy.model)), (
            "it is trained once, and longer once"
        )
    assert found["tile"].digest != found["interpolate"].digest
    with pytest.raises(ValueError, match=r"model\.positions: of texts, and image-classification reads none"):
        replace(spec, task=replace(spec.task, kind="image-classification", max_length=128, metric=None))
    with pytest.raises(SpecError, match=r"positions: .*'tile'.*'stretch'|positions: .*stretch.*tile"):
        study_of(tmp_path, 48, positions="stretch")


def test_a_folder_reads_whole_texts_with_and_without_us(tmp_path: Path) -> None:
    task = {"max_length": 48, "data": {"source": {"path": "texts.csv"}, "format": "csv"}}
    made = made_in(tmp_path, task=task, model={"path": "model", "positions": "tile"})
    assert "it was not trained on so long texts" in made.teacher.notes[0]
    text = " ".join(["we", *["goal", "the", "soup"] * 30])
    served = autocompress.load(made.folder)
    (ids,) = served.tokens([text])
    assert len(ids) == 48
    given = {"input_ids": torch.from_numpy(ids)[None], "attention_mask": torch.ones(1, 48, dtype=torch.int64)}
    known = answers(made.teacher.anatomy.model, given).numpy()
    plain = AutoModelForSequenceClassification.from_pretrained(str(made.folder)).eval()
    for found in (
        served.logits(text),
        answers(plain, given).numpy(),
        answers(autocompress.load_torch(made.folder), given),
    ):
        assert np.abs(np.asarray(found) - known).max() < 1e-4
    assert plain.config.max_position_embeddings == 48
    example = [sys.executable, str(made.folder / "example.py"), text]
    said = subprocess.run(example, capture_output=True, text=True, check=True).stdout
    assert served([text])[0].label in said
    assert judge_folder(made.folder, made.teacher.task, made.teacher.anatomy.shape()).measurements


def test_a_model_of_ones_own_keeps_what_the_study_says() -> None:
    assert ModelAsset(path="here", positions="tile").positions == "tile"
    assert ModelAsset(path="here").positions is None
