"""Which form of graph is deployed, where a model has both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pytest
import torch

from autocompress import config
from autocompress.anatomy import FAMILIES, Anatomy, anatomy_of
from autocompress.core.device import DeviceProfile
from autocompress.core.lowering import PLAIN, FormChoice
from autocompress.core.opsets import ExportSpec
from autocompress.core.spec import StudySpec
from autocompress.deploy.forms import GraphMaker, forms_of
from autocompress.deploy.session import Session
from autocompress.devices.host import fingerprint
from autocompress.exported.forms import Forms, form_problems
from autocompress.operators import OPERATORS
from tests.conftest import build_model
from tests.families.given import inputs, telling
from tests.given_study import write_study

IDS: Final = {"input_ids": torch.tensor([[2, 7, 9, 11, 3]]), "attention_mask": torch.ones((1, 5), dtype=torch.int64)}


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    (tmp_path / "model").mkdir()
    return config.load_study(write_study(tmp_path, export={"form": "fastest"}), operators=OPERATORS)


@pytest.fixture
def here() -> DeviceProfile:
    return replace(config.load_device("xeon-2core"), fingerprint=fingerprint())


def in_int8(anatomy: Anatomy) -> Anatomy:
    copied = anatomy.copy()
    copied.quantize([slot for layer in copied.layers for slot in (*layer.attention, *layer.feed_forward)])
    return copied


def asking(spec: StudySpec, form: Literal["fastest", "written", "traced"]) -> StudySpec:
    return replace(spec, export=ExportSpec(form=form))


@pytest.mark.long
def test_both_forms_are_measured_once_for_a_kind_of_model_and_give_the_same_answers(
    bert: Anatomy, spec: StudySpec, here: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    student = in_int8(bert)
    forms = Forms(spec, here, {})
    choice, maker = forms.choose(student, student.shape(), PLAIN)
    assert choice.why == "the faster here"
    assert set(choice.milliseconds) == {"written", "traced"}
    assert maker.form == choice.form
    if choice.form == "traced":
        assert choice.milliseconds["traced"] < choice.milliseconds["written"]
    assert Forms(spec, here, {}).choose(student, student.shape(), PLAIN)[0] == choice  # from the cache
    assert Forms(spec, here, forms.to_json()).chosen == {"onnxruntime, int8": choice}
    traced = GraphMaker("traced")
    for one in (student, bert):  # one trace for both
        with torch.inference_mode():
            known = one.model(**IDS).logits.numpy()
        for graph in (GraphMaker("written").graph(one), traced.graph(one)):
            session = Session(graph.SerializeToString())
            assert np.abs(session.run({name: tensor.numpy() for name, tensor in IDS.items()}) - known).max() < 1e-4


def test_what_needs_no_measurement_has_none(bert: Anatomy, spec: StudySpec, here: DeviceProfile) -> None:
    def chosen(study: StudySpec, device: DeviceProfile, anatomy: Anatomy = bert) -> FormChoice:
        return Forms(study, device, {}).choose(anatomy, anatomy.shape(), PLAIN)[0]

    assert chosen(asking(spec, "traced"), here) == FormChoice("traced", "as the study asks")
    away = replace(here, fingerprint={"cpu": "another"})
    assert chosen(spec, away) == FormChoice("written", "not measured, as the device is another machine")
    mpnet = anatomy_of(telling("MPNetForSequenceClassification").float())
    assert chosen(spec, here, mpnet) == FormChoice("traced", "the only form of a mpnet")
    rembert = anatomy_of(build_model("rembert"))
    assert str(chosen(spec, here, rembert)) == "written node by node: the only form of a rembert"


def test_a_family_has_the_forms_that_its_data_gives_it(spec: StudySpec) -> None:
    found = {name: forms_of(anatomy_of(build_model(name))) for name in ("bert", "rembert")}
    assert found == {"bert": ("written", "traced"), "rembert": ("written",)}
    modern = anatomy_of(telling("ModernBertForSequenceClassification").float())
    assert forms_of(modern) == ("written", "traced")
    assert modern.is_written
    given = inputs(modern.model, batch=1)
    session = Session(GraphMaker("written").graph(in_int8(modern)).SerializeToString())
    with torch.inference_mode():
        known = in_int8(modern).model(**given).logits.numpy()
    assert np.abs(session.run({name: tensor.numpy() for name, tensor in given.items()}) - known).max() < 1e-4


def test_a_form_that_a_family_does_not_have_is_refused_before_anything_is_trained(spec: StudySpec) -> None:
    def told(form: Literal["fastest", "written", "traced"], family: str) -> list[str]:
        return form_problems(asking(spec, form), {"model_type": family})

    assert told("written", "mpnet") == ["export.form: a mpnet has no written graph (allowed: traced, fastest)"]
    assert told("traced", "rembert") == ["export.form: a rembert has no traced graph (allowed: written, fastest)"]
    assert not [*told("fastest", "mpnet"), *told("written", "modernbert"), *told("traced", "bert")]
    assert {name for name in FAMILIES if told("written", name)} == {
        "albert",
        "audio-spectrogram-transformer",
        "deberta-v2",
        "dinov2",
        "mpnet",
        "whisper",
    }
