"""Lines of which a pattern says what is text and what label."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import regex  # as `re`, but that it can be told to give up

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table

_LINE_SECONDS: Final = 0.25
_SECONDS: Final = 60.0
"""What the matching of one line, and of all together, may take: a pattern that backtracks would never end."""


def read_lines(layout: Layout, path: Path, content: str) -> Table:
    """Raises SpecError with the lines that do not fit the pattern, or with the first that it cannot decide on."""
    assert layout.pattern is not None, "the format `lines` has a pattern"
    pattern = regex.compile(layout.pattern)
    deadline = time.monotonic() + _SECONDS
    numbers: list[int] = []
    unfit: list[int] = []
    cells: dict[str, list[str]] = {name: [] for name in layout.wanted.values()}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            left = deadline - time.monotonic()
            match = pattern.fullmatch(line, timeout=max(min(_LINE_SECONDS, left), 1e-3))
        except TimeoutError as error:
            raise SpecError(
                f"{path}:{number}: `pattern` does not decide on this line in {_LINE_SECONDS:g} s, as it tries every "
                "way to repeat what is repeated already, as (a+)+ does; write no repetition within a repetition"
            ) from error
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
