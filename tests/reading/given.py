"""Texts as people have them, and what must be read out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autocompress.core.data_spec import Asset, DataSpec, PartSpec
from autocompress.reading import Labelled, read_labelled

PAIRS = [("the bread, and soup", "food"), ('he said "goal"', "sports"), ("naïve café", "food"), ("a match", "sports")]
"""A comma, quotation marks and accents, in two classes."""


def data(**settings: Any) -> DataSpec:
    return DataSpec(source=Asset(path="x"), **settings)


def read(path: Path, **settings: Any) -> Labelled:
    """All texts of one source."""
    return read_labelled(data(**settings), {"all": path})


def pairs(path: Path, **settings: Any) -> list[tuple[str, str]]:
    (rows,) = read(path, **settings).parts.values()
    return list(zip(rows.texts, rows.labels, strict=True))


def read_parts(paths: dict[str, Path], **settings: Any) -> Labelled:
    """Texts of which every split has its own source."""
    parts: dict[str, Any] = {name: PartSpec(Asset(path="x")) for name in paths}
    return read_labelled(DataSpec(**parts, **settings), paths)
