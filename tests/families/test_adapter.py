"""Models of every family that is searched, cut, saved, and loaded by transformers through our adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autocompress.anatomy import anatomy_of
from autocompress.anatomy.heads import head_of
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.deploy.folder import WEIGHTS
from autocompress.exported.adapter import cut_config
from autocompress.importance import no_preference
from autocompress.operators import apply
from tests.families.given import LIVELY, live

STEPS = (
    Step("prune_heads", "layers.0.attention", {"heads": 2, "importance": "fisher"}),
    Step("prune_channels", "layers.1.feed_forward", {"channels": 24, "importance": "magnitude"}),
    Step("low_rank", "layers.0.feed_forward", {"rank": 0.25}),
)


@pytest.mark.usefixtures("adapted")
@pytest.mark.parametrize(
    "form",
    [
        "RobertaForSequenceClassification",
        "ElectraForSequenceClassification",
        "DistilBertForSequenceClassification",
        "MPNetForSequenceClassification",
        "DebertaV2ForSequenceClassification",
        "ModernBertForTokenClassification",
        "EuroBertForSequenceClassification",
        "ViTForImageClassification",
        "ASTForAudioClassification",
        "WhisperForAudioClassification",
        "HubertForSequenceClassification",
    ],
)
def test_a_cut_model_of_a_family_is_loaded_as_it_was(form: str, tmp_path: Path) -> None:
    model = live(form, **LIVELY.get(form, {}))
    head, config = head_of(model), model.config
    other = [Step("replace_attention", "layers.1.attention", {"form": "linear"})] if form.startswith("Roberta") else []
    anatomy, policy = anatomy_of(model).copy(), CompressionPolicy((*STEPS, *other))
    apply(policy, anatomy, no_preference(anatomy.shape()))
    student: Any = anatomy.model.eval()
    cut_config(config, head, policy, {"labels": ["a", "b"]}).save_pretrained(str(tmp_path))
    weights = {name: one.contiguous().clone() for name, one in student.state_dict().items()}
    save_file(weights, tmp_path / WEIGHTS, metadata={"format": "pt"})
    loaded = type(model).from_pretrained(str(tmp_path), attn_implementation="eager").eval()
    assert loaded.num_parameters() == student.num_parameters() < model.num_parameters()
    with torch.inference_mode():
        given = model.dummy_inputs if model.main_input_name == "input_ids" else _inputs(model)
        assert torch.allclose(loaded(**given).logits, student(**given).logits, atol=1e-6)


def _inputs(model: Any) -> dict[str, torch.Tensor]:
    """Images and sounds of the size that tiny models read."""
    generator = torch.Generator().manual_seed(0)
    shape = {
        "ViTForImageClassification": (2, 3, 24, 24),
        "ASTForAudioClassification": (2, 12, 8),
        "WhisperForAudioClassification": (2, 8, 20),
        "HubertForSequenceClassification": (2, 400),
    }[type(model).__name__]
    return {model.main_input_name: torch.randn(shape, generator=generator)}
