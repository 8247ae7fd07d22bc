"""Whether a folder holds a model that can be loaded, and only loaded: no code of its own, no pickles.

Background: CVE-2025-32434 and CVE-2026-24747 (pickled weights execute code even with `weights_only=True`),
CVE-2026-4372 (`_attn_implementation_internal` makes transformers download and run kernels).
"""

from __future__ import annotations

import json
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
_SHOWN = 5


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
    problems = [problem for name in _CONFIGS for problem in _config_problems(path / name)]
    if not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
        found = f"found {', '.join(pickles[:_SHOWN])}; convert with `save_pretrained`" if pickles else "found none"
        problems.append(f"{path}: only safetensors are loaded, {found}")
    return problems


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a safetensors file, or in all of a folder.

    Only headers are read. Raises NotFoundError, IntegrityError when a file is damaged.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
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
    return problems


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
