"""Where a study's texts are, as people write it: a path alone, an asset, or a mapping with more settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autocompress.config.problems import Problems
from autocompress.core.data_spec import SPLITS
from autocompress.core.paths import expanded

_ASSET = {"path", "hub", "wheel"}
MISSING = (
    "names no texts: give `source`, a file or folder that is split, or `train`, and `validation` and `test` where you "
    "have them; from Python, `autocompress.run(..., data=...)`"
)


def place_sources(tree: dict[str, Any], problems: Problems, *, base: Path, data_given: bool) -> None:
    """Writes paths out in full, relative to `base`, and every source as a mapping. With `data_given` the study's texts
    come from elsewhere, and what it says of their place counts for nothing."""
    data = _mapping(_mapping(tree, "task"), "data")
    texts = _mapping(_mapping(_mapping(tree, "finalists"), "transfer"), "texts")
    if data_given:
        for name in ("source", *SPLITS):
            data.pop(name, None)
    for name in SPLITS:
        if isinstance(data.get(name), str) or (isinstance(data.get(name), dict) and _ASSET & set(data[name])):
            data[name] = {"source": data[name]}
    for holder in (data, texts, *(_mapping(data, name) for name in SPLITS)):
        if isinstance(holder.get("source"), str):
            holder["source"] = {"path": holder["source"]}
    holders = (data, texts, *(_mapping(data, name) for name in SPLITS))
    for asset in (_mapping(tree, "model"), *(_mapping(holder, "source") for holder in holders)):
        if isinstance(asset.get("path"), str):
            # Not resolved: a link is what the user named, and may point elsewhere tomorrow.
            asset["path"] = os.path.abspath(base / expanded(asset["path"]))
    if not data_given and isinstance(tree.get("task"), dict) and not {"source", *SPLITS} & set(data):
        problems.add(("task", "data"), MISSING)


def _mapping(tree: dict[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}
