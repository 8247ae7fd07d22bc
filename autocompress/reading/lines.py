"""Lines of which a pattern says what is text and what label."""

from __future__ import annotations

import re
from pathlib import Path

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table


def read_lines(layout: Layout, path: Path, content: str) -> Table:
    """Raises SpecError with the lines that do not fit the pattern."""
    assert layout.pattern is not None, "the format `lines` has a pattern"
    pattern = re.compile(layout.pattern)
    numbers: list[int] = []
    unfit: list[int] = []
    cells: dict[str, list[str]] = {name: [] for name in layout.wanted.values()}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line)
        if not match:
            unfit.append(number)
            continue
        numbers.append(number)
        for group, name in layout.wanted.items():
            cells[name].append(match[group] or "")
    if unfit:
        shown = Table(str(path), (), {}, lambda: unfit).told(range(len(unfit)))
        raise SpecError(f"{path}: {len(unfit)} lines do not fit `pattern` ({shown})")
    return Table(str(path), tuple(cells), cells, lambda: numbers)
