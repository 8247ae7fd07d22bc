"""Whether a folder holds a model that can be loaded, and only loaded: no code of its own, no pickles.

Background: CVE-2025-32434 and CVE-2026-24747 (pickled weights execute code even with `weights_only=True`),
CVE-2026-4372 (`_attn_implementation_internal` makes transformers download and run kernels).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from autocompress.errors import IntegrityError, NotFoundError, SpecError

_CODE_KEYS = {"auto_map", "custom_pipelines", "_attn_implementation_internal"}
_KERNEL_KEYS = {"attn_implementation", "_attn_implementation"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_CONFIGS = ("config.json", "tokenizer_config.json")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_READ = {".safetensors", ".json", ".txt", ".model", ".bin"}
_POINTER, _POINTER_SIZE = b"version https://git-lfs", 1024
_NUMBER = re.compile(r"\d{1,6}")
_SHOWN = 5
_MOST = {
    **dict.fromkeys(("num_hidden_layers", "n_layers"), 1000),
    **dict.fromkeys(("num_attention_heads", "n_heads"), 1024),
    **dict.fromkeys(("hidden_size", "dim"), 2**16),
    **dict.fromkeys(("intermediate_size", "hidden_dim"), 2**20),
    **dict.fromkeys(("vocab_size", "max_position_embeddings"), 2**24),
}
_FEWER = {
    **dict.fromkeys(("type_vocab_size", "task_type_vocab_size"), 2**16),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "output_embedding_size"), 2**16),
}
"""The sizes of a model's config, and what each is at most; those of `_FEWER` may be 0, or null."""


def check_model_folder(path: Path) -> None:
    """Raises NotFoundError, IntegrityError when weights are damaged, SpecError with everything else that is wrong."""
    if problems := model_folder_problems(path):
        raise SpecError(*problems)
    tensor_shapes(path)


def model_folder_problems(path: Path) -> list[str]:
    """Why a model must not or cannot be loaded from a folder; damaged weights are found by `tensor_shapes`.

    Raises NotFoundError when there is no such folder.
    """
    if not path.is_dir():
        raise NotFoundError(f"{path}: no such folder")
    if adapter := _adapter_problem(path):
        return [adapter]
    problems = _pointer_problems(path)
    if not problems:
        problems = [problem for name in _CONFIGS for problem in _config_problems(path / name)]
    return problems + _weight_problems(path)


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that the modelling library reads from a folder: `model.safetensors`, else the shards that
    the index names, there or not; what else lies there (adapters, other precisions) is none of the model's. Where there
    is neither, all."""
    if (path / _WEIGHTS).is_file():
        return [path / _WEIGHTS]
    if (path / _INDEX).is_file():
        return sorted({path / name for name in _index(path / _INDEX).values()})
    return sorted(path.glob("*.safetensors"))


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a safetensors file, or in the weights of a folder.

    Only headers are read. Raises NotFoundError, IntegrityError when a file is damaged.
    """
    files = weight_files(path) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise NotFoundError(f"{path}: no safetensors file there")
    return {name: shape for file in files for name, shape in _file_shapes(file)}


def check_weights(path: Path, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises SpecError when names or shapes differ from what a model expects, IntegrityError when a file is damaged."""
    found = tensor_shapes(path)
    problems = _listed(path, "missing", sorted(set(expected) - set(found)))
    problems += _listed(path, "unexpected", sorted(set(found) - set(expected)))
    different = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in sorted(set(found) & set(expected))
        if tuple(found[name]) != tuple(expected[name])
    ]
    problems += _listed(path, "of another shape", different)
    if problems:
        raise SpecError(*problems)


@contextmanager
def config_errors(folder: Path) -> Iterator[None]:
    """What the modelling library makes of a config that says what cannot be, as a SpecError."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SpecError(f"{folder / 'config.json'}: not the config of a model that can be built: {reason}") from error


def _listed(path: Path, what: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    plural = "" if len(entries) == 1 else "s"
    return [f"{path}: {len(entries)} weight{plural} {what}: {', '.join(entries[:_SHOWN])}{more}"]


def _file_shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    try:
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - safetensors' handle is no mapping
                yield name, tuple(opened.get_slice(name).get_shape())
    except SafetensorError as error:
        raise IntegrityError(f"{file}: weights damaged: {error}; fetch or export the model again") from error


def _adapter_problem(path: Path) -> str | None:
    """An adapter is a difference to another model, which the folder does not hold."""
    if not (path / "adapter_config.json").is_file():
        return None
    try:
        base = json.loads((path / "adapter_config.json").read_bytes()).get("base_model_name_or_path")
    except (ValueError, RecursionError, AttributeError):
        base = None
    return (
        f"{path}: holds an adapter (adapter_config.json) of {base or 'another model'}; merge both where it was "
        "trained, `model.merge_and_unload().save_pretrained(FOLDER)`, and name that folder (a merged model's folder "
        "holds no adapter_config.json)"
    )


def _pointer_problems(path: Path) -> list[str]:
    """Files that Git LFS left out of a clone."""
    files = sorted(file for file in path.iterdir() if file.suffix in _READ and file.is_file())
    found = [file.name for file in files if file.stat().st_size < _POINTER_SIZE and _is_pointer(file)]
    if not found:
        return []
    return [f"{path}: {', '.join(found)}: Git LFS pointers in place of the files; run `git lfs pull` in the clone"]


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


def _weight_problems(path: Path) -> list[str]:
    files = weight_files(path)
    if missing := [file.name for file in files if not file.is_file()]:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        return [
            f"{path}: {len(missing)} of {len(files)} parts of the weights that {_INDEX} names are missing: "
            f"{', '.join(missing[:_SHOWN])}{more}; fetch them again"
        ]
    if files and files[0].name != _WEIGHTS and not (path / _INDEX).is_file():
        shown = ", ".join(file.name for file in files[:_SHOWN])
        needed = f"{_INDEX}, which says what the parts hold" if len(files) > 1 else f"the name {_WEIGHTS}"
        return [
            f"{path}: weights are read from {_WEIGHTS}, or from parts with an index; found {shown}, without {needed}"
        ]
    if files:
        return []
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
    if any(name.startswith("pytorch_model") for name in pickles):
        return [
            f"{path}: only safetensors are loaded, found {', '.join(pickles[:_SHOWN])}; `model: {{path: ..., convert: "
            "true}` converts it in a process of its own that reads tensors and runs no code"
        ]
    found = f"found {', '.join(pickles[:_SHOWN])}; convert with `save_pretrained`" if pickles else "found none"
    return [f"{path}: only safetensors are loaded, {found}"]


def _index(file: Path) -> dict[str, str]:
    """Tensor -> file of sharded weights. Raises SpecError when it says something else."""
    try:
        found = json.loads(file.read_bytes())["weight_map"]
        names = {str(name): str(part) for name, part in found.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{file}: no index of weights (`weight_map`: tensor -> file): {error}; fetch it again"
        ) from error
    if outside := sorted(part for part in names.values() if Path(part).name != part):
        raise SpecError(f"{file}: names {outside[0]!r}, which lies outside of the folder; fetch it again")
    return names


def _config_problems(file: Path) -> list[str]:
    is_main = file.name == "config.json"
    if not file.is_file():
        return [f"{file}: no such file; a model folder holds one"] if is_main else []
    try:
        config = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        return [f"{file}: not JSON: {error}"]
    if not isinstance(config, dict):
        return [f"{file}: must hold a JSON object, got {type(config).__name__}"]
    problems = [
        f"{file}: {key!r} asks for code from outside, which is never run; use a model without it"
        for key in sorted(set(_code_keys(_entries(config))))
    ]
    if is_main and not isinstance(config.get("model_type"), str):
        problems.append(f"{file}: 'model_type' is missing; it names the model's family, e.g. \"bert\"")
    return problems + ([*_size_problems(file, config), *_meaning_problems(file, config)] if is_main else [])


def _meaning_problems(file: Path, config: Mapping[str, Any]) -> list[str]:
    """What a config must not say of a model that is to be compressed, and class names that are no names."""
    problems = []
    if config.get("quantization_config"):
        problems.append(
            f"{file}: `quantization_config`: its weights are quantized already; give the model that it was made from"
        )
    forwards, backwards = config.get("id2label"), config.get("label2id")
    if forwards is not None and numbered_names(forwards) is None:
        problems.append(
            f"{file}: `id2label` must map the number of each output to its name, as in "
            f'{{"0": "no", "1": "yes"}}, got {json.dumps(forwards)[:80]}'
        )
    if forwards is None and backwards is not None and numbered_names(backwards, backwards=True) is None:
        problems.append(
            f"{file}: `label2id` must map each name to the number of its output, as in "
            f'{{"no": 0, "yes": 1}}, got {json.dumps(backwards)[:80]}'
        )
    return problems


def _size_problems(file: Path, config: Mapping[str, Any]) -> list[str]:
    """Sizes that no model has: what they would cost is seen before it is paid."""
    problems = []
    for key, most in (_MOST | _FEWER).items():
        value, least = config.get(key, 1), int(key in _MOST)
        if value is None and not least:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            problems.append(f"{file}: {key!r} must be a whole number from {least} to {most:,}, got {str(value)[:40]}")
    return problems


def numbered_names(mapping: Any, *, backwards: bool = False) -> dict[int, str] | None:
    """Output -> name, of a config's `id2label`, or of its `label2id` read backwards; None where it is none."""
    if not isinstance(mapping, dict):
        return None
    pairs = [(number, name) for name, number in mapping.items()] if backwards else list(mapping.items())
    sound = all(
        _NUMBER.fullmatch(str(number)) and isinstance(name, str | int | float) and str(name).strip()
        for number, name in pairs
    )
    found = {int(number): str(name).strip() for number, name in pairs} if sound else {}
    return found if sound and len(found) == len(pairs) else None


def _code_keys(entries: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in entries:
        is_hub_kernel = key in _KERNEL_KEYS and isinstance(value, str) and "/" in value
        if (key in _CODE_KEYS and value) or is_hub_kernel:
            yield key


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, of configurations within configurations too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)
