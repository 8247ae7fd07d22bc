"""The stock export as an OpenVINO model, without what would make files of different precision hard to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def files_of(xml: str) -> tuple[str, ...]:
    """A model is two files."""
    return xml, str(Path(xml).with_suffix(".bin"))


def tensors(ids: list[int], names: set[str], *, pad_to: int | None = None) -> dict[str, Any]:
    """One text as the model reads it, padded with masked tokens where the shape is fixed."""
    import numpy as np

    length = pad_to or len(ids)
    fed = {name: np.zeros((1, length), dtype=np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    fed["input_ids"][0, : len(ids)] = ids
    fed["attention_mask"][0, : len(ids)] = 1
    return {name: array for name, array in fed.items() if name in names}
