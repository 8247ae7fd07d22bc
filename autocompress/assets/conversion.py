"""Pickled weights (`pytorch_model.bin`) as safetensors, where a study asks for it; the folder itself stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from autocompress.assets.digests import file_digest
from autocompress.assets.model_folders import model_folder_problems, weight_files
from autocompress.assets.wheels import cache_folder
from autocompress.assets.writing import atomic_folder
from autocompress.errors import HostError, SpecError

PICKLED: Final = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
"""What a hub repository is asked for beside safetensors, settings and tokenizers."""

_COMPANIONS = (".json", ".txt", ".model")
_INDEX = "pytorch_model.bin.index.json"
_SECONDS: Final = 1800
_KEPT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "LANG")
"""What the process gets of the environment: no token, no password, no address."""


def converted(folder: Path) -> Path:
    """A folder in the cache with the same settings and tokenizer, and its weights as safetensors; the folder itself
    where it holds such, or nothing to convert.

    Raises SpecError when the pickle holds more than tensors, HostError when it cannot be read in time.
    """
    files = _pickled(folder) if folder.is_dir() and not weight_files(folder) else []
    if not files or _is_refused(folder):
        return folder
    target = cache_folder() / "converted" / file_digest(folder)[:32]
    if not target.exists():
        with atomic_folder(target) as part:
            for file in folder.iterdir():
                if file.suffix in _COMPANIONS and file.name != _INDEX:
                    shutil.copyfile(file, part / file.name)
            _convert(folder, files, part / "model.safetensors")
    return target


def _pickled(folder: Path) -> list[Path]:
    """The one file, or the parts that its index names. Raises SpecError when one of these is missing."""
    if (folder / "pytorch_model.bin").is_file():
        return [folder / "pytorch_model.bin"]
    if not (folder / _INDEX).is_file():
        return []
    try:
        names = sorted(set(json.loads((folder / _INDEX).read_bytes())["weight_map"].values()))
        files = [folder / Path(name).name for name in names]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{folder / _INDEX}: no index of weights (`weight_map`): {error}; fetch it again") from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise SpecError(f"{folder}: parts that {_INDEX} names are missing: {', '.join(missing[:5])}; fetch them again")
    return files


def _is_refused(folder: Path) -> bool:
    """Whether something besides its weights is wrong, which is told where the model is checked."""
    return any("only safetensors are loaded" not in problem for problem in model_folder_problems(folder))


def _convert(folder: Path, files: list[Path], out: Path) -> None:
    command = [sys.executable, "-m", "autocompress.assets.unpickling", str(out), *map(str, files)]
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{folder}: converting its weights took more than {_SECONDS} s; convert them elsewhere"
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"its process ended with {done.returncode}"]
        raise SpecError(
            f"{folder}: {', '.join(file.name for file in files[:5])} cannot be converted, as it is damaged or holds "
            f"more than tensors: {said[0][:300]}; save the model anew with `save_pretrained`"
        )
