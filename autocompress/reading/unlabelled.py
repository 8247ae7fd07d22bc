"""Texts without labels out of files."""

from __future__ import annotations

import random
from pathlib import Path

from autocompress.core.data_spec import TextSpec
from autocompress.errors import SpecError
from autocompress.reading.cells import texts_of
from autocompress.reading.folders import find_files, read_file
from autocompress.reading.layout import Layout


def read_texts(spec: TextSpec, path: Path, *, seed: int) -> list[str]:
    """Texts in the order of the files, without the empty and the repeated ones; `spec.most` of them, drawn by the seed.

    Raises SpecError when there is none, or when rows do not fit the format.
    """
    layout = Layout.of_texts(spec)
    files = find_files(layout, path).files
    tables = (read_file(layout, file) for paths in files.values() for file in paths)
    found = (text for table in tables for text in texts_of(table, spec.text, may_lack=True))
    texts = list(dict.fromkeys(text for text in found if text))
    if not texts:
        raise SpecError(f"{path}: no row has a text; give a file with at least one, or remove `{layout.key}`")
    if len(texts) <= spec.most:
        return texts
    return [texts[place] for place in sorted(random.Random(seed).sample(range(len(texts)), spec.most))]
