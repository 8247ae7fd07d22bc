from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from autocompress.assets import check_model_folder, fetch
from autocompress.core.data_spec import ModelAsset
from autocompress.errors import SpecError

TENSORS = {"embedding.weight": torch.arange(8.0).reshape(4, 2), "head.weight": torch.ones(2, 2, dtype=torch.bfloat16)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model" / "vocab.txt").write_text("a\n")
    return tmp_path / "model"


def converted(folder: Path, *, convert: bool = True) -> Path:
    return fetch(ModelAsset(path=str(folder), convert=convert))


def test_pickled_weights_are_converted_where_it_is_asked_for(folder: Path) -> None:
    tied = {**TENSORS, "tied": TENSORS["embedding.weight"]}
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in tied.items()}}, folder / "pytorch_model.bin"
    )
    before = sorted(folder.iterdir())
    made = converted(folder)
    check_model_folder(made)
    found = load_file(made / "model.safetensors")
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tied.items())
    assert sorted(path.name for path in made.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert sorted(folder.iterdir()) == before, "the user's folder stays as it is"
    assert converted(folder) == made
    with pytest.raises(
        SpecError, match=r"found pytorch_model\.bin; `model: \{path: \.\.\., convert: true\}` converts it"
    ):
        check_model_folder(converted(folder, convert=False))


def test_parts_of_pickled_weights_are_put_together(folder: Path) -> None:
    for name, tensor in TENSORS.items():
        torch.save({name: tensor}, folder / f"pytorch_model-{name}.bin")
    index = {"weight_map": {name: f"pytorch_model-{name}.bin" for name in TENSORS}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert set(load_file(converted(folder) / "model.safetensors")) == set(TENSORS)
    (folder / "pytorch_model-head.weight.bin").unlink()
    with pytest.raises(SpecError, match=r"are missing: pytorch_model-head\.weight\.bin"):
        converted(folder)


@pytest.mark.parametrize("form", ["torch", "plain"])
def test_a_pickle_that_runs_code_runs_none(folder: Path, tmp_path: Path, form: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    if form == "torch":
        torch.save({"a": Bomb()}, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(SpecError, match=r"pytorch_model\.bin cannot be converted, as it is damaged or holds more than"):
        converted(folder)
    assert not (tmp_path / "exploded").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_folder_with_safetensors_or_without_weights_stays_what_it_is(folder: Path) -> None:
    assert converted(folder) == folder
    (folder / "model.safetensors").write_bytes(b"")
    torch.save(TENSORS, folder / "pytorch_model.bin")
    assert converted(folder) == folder
