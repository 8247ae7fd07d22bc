"""`python -m autocompress.assets.unpickling OUT FILE...`: the tensors of pickled checkpoints as one safetensors file.

Run as a process of its own, with nothing in it that is worth having: what `weights_only` lets through in spite of
itself (CVE-2025-32434) meets an empty memory and no open database.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

_WRAPPINGS = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."


def unpickled(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name. Raises ValueError when it holds something else."""
    found: Any = torch.load(file, map_location="cpu", weights_only=True)
    for key in _WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{file.name} holds no tensors by name, but a {type(found).__name__}")
    strange = [str(name) for name, tensor in found.items() if not isinstance(tensor, Tensor)]
    if strange:
        raise ValueError(f"{file.name}: {strange[0]!r} is no tensor; save `model.state_dict()` alone")
    parallel = all(str(name).startswith(_PARALLEL) for name in found)
    return {str(name).removeprefix(_PARALLEL) if parallel else str(name): tensor for name, tensor in found.items()}


def main(out: Path, files: list[Path]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= unpickled(file)
    # Cloned, as safetensors refuses tensors that share memory, such as tied embeddings.
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, out, metadata={"format": "pt"})


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
    except Exception as error:  # noqa: BLE001 - whatever a pickle makes of its reader ends here, in words for who asked
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
