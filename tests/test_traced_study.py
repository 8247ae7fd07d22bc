"""The main job on classifiers whose graph is not written node by node: searched, trained, traced, picked, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

import autocompress
from autocompress.exported.folder_check import verify_folder
from tests.given_study import BOARD, FILLERS, WORDS, write_data, write_model, write_study

pytestmark = [pytest.mark.slow, pytest.mark.long]

SIZES: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
FORMS: Final[dict[str, dict[str, Any]]] = {
    "mpnet": SIZES,
    "eurobert": {**SIZES, "num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3},
    "modernbert": {**SIZES, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
}


def write_model_of(family: str, folder: Path) -> None:
    """A base model with random weights, and the tokenizer of `write_model`."""
    from transformers import AutoConfig, AutoModel

    write_model(folder, head=False)
    words = 5 + len(FILLERS) + sum(map(len, WORDS.values()))
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=words, **FORMS[family])
    AutoModel.from_config(config).save_pretrained(str(folder))


@pytest.mark.parametrize("family", ["mpnet", "modernbert", "eurobert"])
def test_a_family_without_a_written_graph_is_compressed_and_deployed(family: str, tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_model_of(family, tmp_path / "model")
    (tmp_path / "board.yaml").write_text(BOARD, encoding="utf-8")
    cheap = {
        "budget": {"trials": 3},
        "elastic": {"steps": 4, "batch_size": 16, "learning_rate": 1.0e-3},
        "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    }
    spec = write_study(tmp_path, device="board.yaml", export={"form": "fastest"}, **cheap)
    with autocompress.run(spec, storage=str(tmp_path / "autocompress.db"), workers=0) as study:
        verified = [member["metrics"] for member in study.pareto().to_json()["members"] if member["verified"]]
        assert verified
        assert all(metrics["parity"]["value"] < 1e-4 for metrics in verified)
        study.pick(maximize="quality", out=tmp_path / "picked")
    model = autocompress.load(tmp_path / "picked")
    texts = ["we saw the oven and some soup", "the team and the goal"]
    assert {answer.label for answer in model(texts)} <= set(WORDS)
    again = autocompress.load_torch(tmp_path / "picked")
    with torch.inference_mode():
        rows = [again(input_ids=torch.from_numpy(ids)[None]).logits[0].numpy() for ids in model.tokens(texts)]
    assert np.abs(np.stack(rows) - model.logits(texts)).max() < 1e-4
    assert verify_folder(tmp_path / "picked").ok
