from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from autocompress.assets import check_model_folder, check_weights, model_folder_problems
from autocompress.assets.hub import licence_of
from autocompress.assets.model_folders import numbered_names, tensor_shapes
from autocompress.errors import IntegrityError, NotFoundError, SpecError

SHAPES = {"embedding.weight": (8, 4), "head.weight": (2, 4)}


def model_folder(path: Path, **config: Any) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    tensors = {name: np.zeros(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    save_file(tensors, path / "model.safetensors")
    return path


def test_a_folder_of_settings_and_safetensors_is_fine(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", _attn_implementation="sdpa", auto_map=None)
    check_model_folder(folder)
    check_weights(folder, SHAPES)
    check_weights(folder / "model.safetensors", SHAPES)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"_attn_implementation_internal": "someone/kernel"}, "_attn_implementation_internal"),
        ({"text_config": {"_attn_implementation_internal": "someone/kernel"}}, "_attn_implementation_internal"),
        ({"parts": [{"attn_implementation": "someone/kernel"}]}, "attn_implementation"),
    ],
)
def test_settings_that_ask_for_code_are_refused(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError, match=rf"config\.json: '{key}' asks for code from outside, which is never run"):
        check_model_folder(model_folder(tmp_path / "model", **config))


def test_a_tokenizer_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}')
    with pytest.raises(SpecError, match=r"tokenizer_config\.json: 'auto_map' asks for code"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "config.json: not JSON"),
        ("[" * 100_000, "config.json: not JSON"),
        ("[]", "must hold a JSON object, got list"),
        ("{}", "'model_type' is missing"),
        ('{"model_type": 3}', "'model_type' is missing"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, content: str, problem: str) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "config.json").write_text(content)
    with pytest.raises(SpecError, match=problem):
        check_model_folder(folder)


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    folder = model_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(SpecError, match=r"only safetensors are loaded, found pytorch_model\.bin"):
        check_model_folder(folder)
    assert not (tmp_path / "exploded").exists()


def test_every_problem_of_a_folder_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    problems = model_folder_problems(tmp_path / "empty")
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "no such file; a model folder holds one",
        "only safetensors are loaded, found none",
    ]
    with pytest.raises(NotFoundError, match="absent: no such folder"):
        model_folder_problems(tmp_path / "absent")


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_weights_are_damaged(tmp_path: Path, keep: int) -> None:
    folder = model_folder(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match=r"model\.safetensors: weights damaged: .*fetch or export the model again"):
        check_model_folder(folder)


def test_weights_that_differ_are_counted_and_the_first_five_named(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    expected = {"head.weight": (3, 4), **{f"layer.{index}": (1,) for index in range(7)}}
    with pytest.raises(SpecError) as caught:
        check_weights(folder, expected)
    assert [problem.removeprefix(f"{folder}: ") for problem in caught.value.problems] == [
        "7 weights missing: layer.0, layer.1, layer.2, layer.3, layer.4 and 2 more",
        "1 weight unexpected: embedding.weight",
        "1 weight of another shape: head.weight [2, 4] instead of [3, 4]",
    ]


def test_weights_must_be_there_to_be_compared(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no safetensors file there"):
        check_weights(tmp_path, SHAPES)


@pytest.mark.parametrize(
    "names", [["no", "yes"], "no", {"no": 0}, {"0": None}, {"0": ["no"]}, {"0": " "}, {"0.5": "no"}]
)
def test_class_names_that_are_none_are_shown_with_how_to_write_them(tmp_path: Path, names: Any) -> None:
    with pytest.raises(SpecError, match=r"`id2label` must map the number of each output to its name, as in .*, got "):
        check_model_folder(model_folder(tmp_path / "model", id2label=names))


def test_class_names_may_be_numbers_and_stand_backwards(tmp_path: Path) -> None:
    check_model_folder(model_folder(tmp_path / "model", id2label={"0": -1, "1": 1, "5": "other"}, label2id=["ignored"]))
    assert numbered_names({"-1": 0, "1": 1}, backwards=True) == {0: "-1", 1: "1"}
    with pytest.raises(SpecError, match=r"`label2id` must map each name to the number of its output"):
        check_model_folder(model_folder(tmp_path / "other", label2id={"no": "zero"}))


def test_files_that_git_lfs_left_out_are_named(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(
        SpecError, match=r"config\.json, model\.safetensors, tokenizer\.json: Git LFS pointers .* `git lfs pull`"
    ):
        check_model_folder(folder)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/base"}')
    with pytest.raises(SpecError, match=r"holds an adapter .* of someone/base; merge both"):
        check_model_folder(tmp_path)


def test_weights_that_are_quantized_already_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="quantized already; give the model that it was made from"):
        check_model_folder(model_folder(tmp_path / "model", quantization_config={"bits": 4}))


def sharded(folder: Path, *names: str) -> Path:
    """The same weights in parts, each tensor in one."""
    model_folder(folder)
    (folder / "model.safetensors").unlink()
    index = dict(zip(SHAPES, names, strict=True))
    for tensor, name in index.items():
        save_file({tensor: np.zeros(SHAPES[tensor], dtype=np.float32)}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def test_weights_in_parts_are_those_that_the_index_names(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model", "a.safetensors", "b.safetensors")
    save_file({"stray": np.zeros(3, dtype=np.float32)}, folder / "c.safetensors")
    check_model_folder(folder)
    assert tensor_shapes(folder) == SHAPES
    (folder / "b.safetensors").unlink()
    with pytest.raises(
        SpecError, match=r"1 of 2 parts of the weights .* are missing: b\.safetensors; fetch them again"
    ):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("{", "no index of weights"),
        ("[]", "no index of weights"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "outside of the folder"),
    ],
)
def test_an_index_that_cannot_be_used_is_named(tmp_path: Path, index: str, told: str) -> None:
    folder = sharded(tmp_path / "model", "a.safetensors", "b.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(SpecError, match=told):
        check_model_folder(folder)


def test_weights_that_nothing_would_read_are_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model", "a.safetensors", "b.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(
        SpecError, match=r"found a\.safetensors, b\.safetensors, without model\.safetensors\.index\.json"
    ):
        check_model_folder(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(SpecError, match=r"found a\.safetensors, without the name model\.safetensors"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\nlicense: apache-2.0\ntags: [a]\n---\n# M\n", {"license": "apache-2.0"}),
        (
            "---\nlicense: other\nlicense_name: ours\nlicense_link: LICENSE\n---\n",
            {"license": "other", "license_name": "ours"},
        ),
        (
            "---\nlicense: other\nlicense_link: https://example.org/terms\n---\n",
            {"license": "other", "license_link": "https://example.org/terms"},
        ),
        ("---\nlicense: [mit, gpl]\n---\n", {}),
        ("---\nlicense_name: ours\n---\n", {}),
        ("---\nlicense: {a\n---\n", {}),
        ("# A model under MIT\n", {}),
        (None, {}),
    ],
)
def test_a_licence_is_what_the_head_of_a_card_says_and_nothing_else(
    card: str | None, told: dict[str, str], tmp_path: Path
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert licence_of(tmp_path) == told
