"""Model folders that hold no model, another one, or a program."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.broken.given import a_folder, both, changed, edited, in_json, removed, written
from tests.broken.table import Broken

CONFIG, WEIGHTS = "model/config.json", "model/model.safetensors"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 90868376\n"
PAYLOAD = b"cposix\nsystem\n(S'touch executed'\ntR."
"""A pickle that would run a program."""


def weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """The checkpoint with other tensors."""

    def build(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return build


def header(text: bytes, *, length: int | None = None) -> Callable[[Path], None]:
    """A safetensors file of this header, which says that it is so long."""
    return written(WEIGHTS, struct.pack("<Q", len(text) if length is None else length) + text)


def _cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def _first(tensors: dict[str, Any], part: str) -> str:
    return next(name for name in sorted(tensors) if part in name)


def _narrow(tensors: dict[str, Any]) -> None:
    name = _first(tensors, "query.weight")
    tensors[name] = np.ascontiguousarray(tensors[name][:, :8])


def _not_a_number(tensors: dict[str, Any]) -> None:
    tensors[_first(tensors, "query.weight")][:] = np.nan


def _renamed(tensors: dict[str, Any]) -> None:
    for name in list(tensors):
        tensors[f"model.{name}"] = tensors.pop(name)


def _sharded(folder: Path) -> None:
    index = {
        "metadata": {},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    (folder / "model/model.safetensors.index.json").write_text(json.dumps(index))
    (folder / WEIGHTS).rename(folder / "model/model-00001-of-00002.safetensors")


def _adapter(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / "model/adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "bert-base"}')
    (folder / WEIGHTS).rename(folder / "model/adapter_model.safetensors")


def _linked(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("model.safetensors")


def _of(
    title: str, build: Callable[[Path], object], *says: str, code: int = 2, command: str = "check mine.yaml"
) -> Broken:
    return Broken(title, build, command, code, says)


def _run(title: str, build: Callable[[Path], object], *says: str, code: int = 2) -> Broken:
    return Broken(title, build, "run mine.yaml --workers 0", code, says)


def _config(title: str, *says: str, **values: Any) -> Broken:
    return _run(title, in_json(CONFIG, **values), "model", *says)


ROWS = (
    _of("no model folder", removed("model"), "model", "no such file or folder", "relative to the study's file"),
    _run("no model folder, run", removed("model"), "model: no such file or folder", code=3),
    _of("a file for a model", both(removed("model"), written("model", "x")), "model"),
    _run("a file for a model, run", both(removed("model"), written("model", "x")), "model: no such folder", code=3),
    _of("an empty folder", both(removed("model"), a_folder("model")), "config.json: no such file"),
    _run("an empty folder, run", both(removed("model"), a_folder("model")), "config.json: no such file"),
    _of("a pointer for weights", written(WEIGHTS, POINTER), "model.safetensors", "git lfs pull"),
    _run("a pointer for weights, run", written(WEIGHTS, POINTER), "model.safetensors", "git lfs pull"),
    _run("a pointer for a config", written(CONFIG, POINTER), "config.json", "git lfs pull"),
    _of("a shard that is missing", _sharded, "model-00002-of-00002.safetensors"),
    _run("a shard that is missing, run", _sharded, "model-00002-of-00002.safetensors"),
    _run("an adapter", _adapter, "adapter", "bert-base"),
    _run(
        "a pickle with a program",
        both(removed(WEIGHTS), written("model/pytorch_model.bin", PAYLOAD)),
        "only safetensors are loaded",
        "pytorch_model.bin",
    ),
    _run(
        "a pickle with a program, to be converted",
        both(
            removed(WEIGHTS),
            written("model/pytorch_model.bin", PAYLOAD),
            changed(model={"path": "model", "convert": True}),
        ),
        "pytorch_model.bin",
    ),
    _of("truncated weights", _cut, "weights damaged", "model.safetensors"),
    _run("truncated weights, run", _cut, "weights damaged", "model.safetensors", code=7),
    _run("weights of nothing", written(WEIGHTS, b""), "weights damaged", code=7),
    _run("a header without end", header(b"{", length=2**62), "weights damaged", code=7),
    _run("a header of nested lists", header(b'{"a":' + b"[" * 20_000), "weights damaged", code=7),
    _run(
        "a header beyond its file",
        header(b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'),
        "weights damaged",
        code=7,
    ),
    _run(
        "a header of negative sizes",
        header(b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}'),
        "weights damaged",
        code=7,
    ),
    _run("a picture for weights", written(WEIGHTS, b"\x89PNG\r\n\x1a\n" * 40), "weights damaged", code=7),
    _run("a link in a circle for weights", _linked, "model.safetensors"),
    _run("weights of other shapes", weights(_narrow), "query.weight"),
    _run("weights that are no numbers", weights(_not_a_number), "query.weight", "NaN"),
    _run("weights of other names", weights(_renamed), "weights"),
    _run("a layer that is missing", weights(lambda t: [t.pop(n) for n in list(t) if "layer.1." in n]), "layer.1."),
    _config("code of its own", "'auto_map' asks for code from outside", auto_map={"AutoModel": "evil.Model"}),
    _config(
        "a kernel from a hub", "'_attn_implementation_internal' asks for code", _attn_implementation_internal="a/b"
    ),
    _config("a family nobody knows", "nonesuch", model_type="nonesuch"),
    _config("a family that cannot be cut", "whisper", model_type="whisper"),
    _config("a family that is a number", "'model_type'", model_type=3),
    _config("no family", "'model_type' is missing", model_type=None),
    _config("a million layers", "'num_hidden_layers'", "1,000", "1000000", num_hidden_layers=10**6),
    _config("no layer", "'num_hidden_layers'", num_hidden_layers=0),
    _config("layers in words", "'num_hidden_layers'", "two", num_hidden_layers="two"),
    _config("sizes below nothing", "'hidden_size'", "-3", hidden_size=-3),
    _config("kinds of tokens beyond all", "'type_vocab_size'", "65,536", type_vocab_size=10**12),
    _config("sizes far beyond its weights", "ask for 67,", "the weights beside it are", vocab_size=2**21),
    _config("a size of 5,000 digits", "config.json", hidden_size=10**4000),
    _config("heads that do not divide", "config.json", "number of attention heads (5)", num_attention_heads=5),
    _config("another width", "6 weights do not fit", intermediate_size=128),
    _config("class names as a list", "`id2label`", id2label=["a", "b", "c"]),
    _config("class names without numbers", "`id2label`", id2label={"x": "a"}),
    _config("weights in few bits", "`quantization_config`", quantization_config={"bits": 4}),
    _config("an activation nobody knows", "config.json", "swish9", hidden_act="swish9"),
    _run("a config cut short", written(CONFIG, '{"model_type": "bert", '), "config.json: not JSON"),
    _run("a config that is a list", written(CONFIG, "[]"), "config.json: must hold a JSON object, got list"),
    _run("a config a thousand deep", written(CONFIG, "[" * 100_000), "config.json: not JSON"),
    _run(
        "a config of latin-1", written(CONFIG, '{"model_type": "b\u00e9"}'.encode("latin-1")), "config.json: not JSON"
    ),
    _run("half a surrogate pair in a config", edited(CONFIG, '"bert"', '"\\ud800"'), "no anatomy for the family"),
    _run("a config that is a folder", a_folder(CONFIG), "config.json"),
    _of(
        "heads beyond the model's",
        changed(
            space={
                "name": "s",
                "version": 1,
                "steps": [
                    {
                        "operator": "prune_heads",
                        "target": "layers.*.attention",
                        "knobs": {"heads": {"low": 1, "high": 10**9}},
                    }
                ],
            }
        ),
        "mine.yaml: space 's' does not fit the model",
        "1000000000 is more than the model has (4)",
    ),
    _run(
        "heads beyond the model's, run",
        changed(
            space={
                "name": "s",
                "version": 1,
                "steps": [
                    {"operator": "prune_heads", "target": "layers.*.attention", "knobs": {"heads": {"choices": [64]}}}
                ],
            }
        ),
        "space 's' does not fit the model",
        "64 is more than the model has (4)",
    ),
    _of("texts beyond the model's places", changed(task__max_length=64), "task.max_length: must be <= 32"),
    _run(
        "texts beyond the model's places, run",
        changed(task__max_length=64),
        "task.max_length: must be <= 32",
        "`model: {positions: tile}` (or `interpolate`) in the study gives it more",
    ),
    _of("a hash of another model", changed(model={"path": "model", "sha256": "0" * 64}), "SHA-256"),
    _run(
        "a hash of another model, run", changed(model={"path": "model", "sha256": "0" * 64}), "its SHA-256 is", code=7
    ),
    # Tokenizers
    _run("no tokenizer", both(removed("model/tokenizer.json"), removed("model/tokenizer_config.json")), "tokenizer"),
    _run("a tokenizer cut short", written("model/tokenizer.json", '{"version": "1.0", '), "tokenizer.json"),
    _run("a tokenizer that is a pointer", written("model/tokenizer.json", POINTER), "tokenizer.json", "git lfs pull"),
    _run("a tokenizer that is a list", written("model/tokenizer.json", "[]"), "tokenizer.json"),
    _run("a tokenizer of nothing", written("model/tokenizer.json", "{}"), "tokenizer.json"),
    _run(
        "a tokenizer with code",
        in_json("model/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}),
        "tokenizer_config.json",
        "'auto_map' asks for code",
    ),
    _run(
        "settings of a tokenizer cut short",
        written("model/tokenizer_config.json", "{"),
        "tokenizer_config.json: not JSON",
    ),
    _run("more tokens than rows", in_json(CONFIG, vocab_size=8), "8"),
    _run(
        "a tokenizer that knows no word",
        both(
            lambda here: shutil.copy(here / "model/tokenizer.json", here / "t.json"),
            edited("model/tokenizer.json", '"type": "WordLevel"', '"type": "NoSuchModel"'),
        ),
        "tokenizer.json",
    ),
)
