"""Exported folders as transformers reads them: where a config of the family can say what was cut, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline

import autocompress
from autocompress.core.outcome import Measurement
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase
from autocompress.deploy.forms import GraphMaker
from autocompress.exported.exporting import Known
from autocompress.importance import no_preference
from autocompress.operators import apply
from tests.model.test_exported_folder import ASKED, TEXTS, Exported, made

__all__ = ["made"]

NARROW = [
    Step("prune_channels", f"layers.{layer}.feed_forward", {"channels": 48, "importance": "fisher"})
    for layer in range(2)
]
ROUNDED = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(2)]


def exported(made: Exported, place: Path, steps: list[Step]) -> Path:
    policy, student = CompressionPolicy(tuple(steps)), made.teacher.anatomy.copy()
    importance = no_preference(student.shape())
    apply(policy, student, importance, before=Phase.PRECISION)
    weights = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
    apply(policy, student, importance, since=Phase.PRECISION)
    shape = student.shape()
    made.exporting.begin(place / "begun", policy, shape, student, ASKED, GraphMaker("written"))
    found = [Measurement("latency_ms", 1.0, "ms", "measured"), Measurement("quality", 0.5, "accuracy", "measured")]
    known = Known(tuple(found), tuple(found), "measured here")
    made.exporting.finish(place / "picked", place / "begun", policy, shape, weights, known, ASKED)
    return place / "picked"


def answers(model: Any, folder: Path, text: str) -> np.ndarray:
    ids = torch.from_numpy(autocompress.load(folder).tokens([text])[0])[None]
    with torch.inference_mode():
        found: np.ndarray = model.eval()(input_ids=ids).logits.numpy()
    return found


@pytest.mark.parametrize(
    ("steps", "tolerance"),
    [
        ([], 1e-5),
        ([Step("remove_layer", "layers.0"), NARROW[1]], 1e-5),
        ([*NARROW, *ROUNDED], 0.05),
    ],
    ids=["nothing", "a layer and channels", "channels, in int8"],
)
def test_transformers_loads_what_is_left(made: Exported, tmp_path: Path, steps: list[Step], tolerance: float) -> None:
    folder = exported(made, tmp_path, steps)
    model = AutoModelForSequenceClassification.from_pretrained(str(folder))
    assert model.num_parameters() == autocompress.load_torch(folder).num_parameters() or steps[-1:] == ROUNDED[-1:]
    served = autocompress.load(folder)
    for text in TEXTS[:2]:
        logits = served.logits(text)
        assert np.abs(answers(model, folder, text) - logits).max() <= tolerance * max(1.0, np.abs(logits).max())
    answer = pipeline("text-classification", model=str(folder))(TEXTS[0])[0]
    assert answer["label"] == served([TEXTS[0]])[0].label

    model.save_pretrained(str(tmp_path / "again"))
    again = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "again"))
    assert again.num_parameters() == model.num_parameters()
    assert np.array_equal(answers(again, folder, TEXTS[0]), answers(model, folder, TEXTS[0]))
    assert not list(folder.glob("*.bin"))


HEADS = [Step("prune_heads", f"layers.{layer}.attention", {"heads": 2, "importance": "fisher"}) for layer in range(2)]
UNSAID = {
    "fewer heads": HEADS,
    "one narrow layer": [*NARROW[:1], *ROUNDED],
    "tensors of a size that means something else": [Step("prune_hidden", "*", {"hidden_size": 16}), *HEADS],
    "two factors": [Step("low_rank", f"layers.{layer}.feed_forward", {"rank": 0.3}) for layer in range(2)],
    "zeros, of a layer of two": [
        Step("remove_layer", "layers.1"),
        *HEADS[:1],
        Step("prune_weights", "layers.0.feed_forward", {"pattern": "unstructured", "sparsity": 0.5}),
    ],
}
"""What no config can say."""


@pytest.mark.parametrize("steps", UNSAID.values(), ids=UNSAID.keys())
def test_what_no_config_can_say_is_never_loaded_as_something_else(
    made: Exported, tmp_path: Path, steps: list[Step]
) -> None:
    folder = exported(made, tmp_path, steps)
    assert AutoConfig.from_pretrained(str(folder)).intermediate_size == 64
    with pytest.raises(OSError, match="no file named model.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(str(folder))
    assert "`import autocompress.auto`, and then `AutoModelForSeq" in (folder / "README.md").read_text()
    served, torch_form = autocompress.load(folder), autocompress.load_torch(folder)
    assert np.abs(answers(torch_form, folder, TEXTS[0]) - served.logits(TEXTS[0])).max() < (
        0.05 if steps[-1] in ROUNDED else 1e-4
    )


@pytest.mark.usefixtures("adapted")
@pytest.mark.parametrize("steps", UNSAID.values(), ids=UNSAID.keys())
def test_with_our_adapter_transformers_loads_it_and_keeps_what_was_cut(
    made: Exported, tmp_path: Path, steps: list[Step]
) -> None:
    folder = exported(made, tmp_path, steps)
    model = AutoModelForSequenceClassification.from_pretrained(str(folder))
    assert type(model).__name__ == "BertForSequenceClassification"
    served = autocompress.load(folder)
    for text in TEXTS[:2]:
        logits = served.logits(text)
        most = 0.05 if steps[-1] in ROUNDED else 1e-5
        assert np.abs(answers(model, folder, text) - logits).max() <= most * max(1.0, np.abs(logits).max())
    answer = pipeline("text-classification", model=str(folder))(TEXTS[0])[0]
    assert answer["label"] == served([TEXTS[0]])[0].label

    model.save_pretrained(str(tmp_path / "again"))
    again = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "again"))
    assert {name: one.shape for name, one in again.named_parameters()} == {
        name: one.shape for name, one in model.named_parameters()
    }
    assert np.array_equal(answers(again, folder, TEXTS[0]), answers(model, folder, TEXTS[0]))
    base = AutoModel.from_pretrained(str(folder))
    assert sum(one.numel() for one in base.parameters()) < sum(one.numel() for one in model.parameters())


@pytest.mark.usefixtures("adapted")
def test_steps_that_are_not_known_here_are_refused(made: Exported, tmp_path: Path) -> None:
    folder = exported(made, tmp_path, HEADS)
    told = json.loads((folder / "config.json").read_text())
    told["quantization_config"]["steps"][0]["operator"] = "merge_heads"
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="no operator is called merge_heads; install the package that has it"):
        AutoModelForSequenceClassification.from_pretrained(str(folder))


def test_the_uncompressed_sizes_stay_in_the_config(made: Exported, tmp_path: Path) -> None:
    folder = exported(made, tmp_path, [Step("remove_layer", "layers.0"), NARROW[1]])
    told = json.loads((folder / "config.json").read_text())
    assert (told["num_hidden_layers"], told["intermediate_size"]) == (1, 48)
    assert told["autocompress_uncut"] == {"num_hidden_layers": 2, "intermediate_size": 64}
    assert "AutoModelForSequenceClassification.from_pretrained" in (folder / "README.md").read_text()
