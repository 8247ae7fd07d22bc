"""How the steps of a policy stand on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from autocompress.report.plain_text import one_line
from autocompress.report.steps.cells import TARGET, cells_of, signed
from autocompress.report.steps.told import Held, MatrixChange, Steps, StepTold, places_of


def as_steps(found: Steps, *, matrices: bool = False) -> RenderableType:
    """Laid out for 80 columns and more; with `matrices`, what became of each of them under every step."""
    return _Steps(found, matrices=matrices)


@final
class _Steps:
    def __init__(self, found: Steps, *, matrices: bool) -> None:
        self._found, self._matrices = found, matrices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self._found
        if not found.steps:
            return
        told = cells_of(found)
        table = _table()
        table.add_column(told.heads[0], overflow="fold", min_width=TARGET)
        for head in told.heads[1:]:
            if head in told.scores:
                table.add_column(head, overflow="fold", justify="right", max_width=13)
            else:
                table.add_column(head, no_wrap=True, justify="right")
        for row in told.rows:
            table.add_row(*("\n".join(lines) for lines in row))
        yield table
        if self._matrices and any(step.taken for step in found.steps):
            yield _matrix_table(found.steps)
        for line in told.legend:
            yield Text(one_line(line, width=400), style="dim")


def _table() -> Table:
    """Two columns of the terminal between two of the table."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _matrix_table(steps: Sequence[StepTold]) -> Table:
    table = _table()
    table.add_column("step", justify="right")
    table.add_column("matrices", overflow="fold")
    table.add_column("before", overflow="fold", min_width=12)
    table.add_column("after", overflow="fold", min_width=12)
    table.add_column("in the file", justify="right", no_wrap=True)
    for place, step in enumerate(steps, start=1):
        for names, before, after, size in _alike(step.taken.matrices if step.taken else ()):
            cells = one_line(names, width=200), _held(before), _held(after)
            table.add_row(str(place), *cells, signed("size_mb", size / 1e6))
    return table


def _held(held: Held | None) -> str:
    return "–" if held is None else str(held)


def _alike(changes: Sequence[MatrixChange]) -> Iterator[tuple[str, Held | None, Held | None, int]]:
    """Matrices that were alike and are alike now, named together, with what the file holds more of all of them."""
    in_part: dict[tuple[str, Held | None, Held | None], list[MatrixChange]] = {}
    for one in changes:
        in_part.setdefault((one.part, one.before, one.after), []).append(one)
    together: dict[tuple[str, str, Held | None, Held | None], list[MatrixChange]] = {}
    for (part, before, after), found in in_part.items():
        matrices = ", ".join(one.matrix for one in found)
        kind = part.rpartition(".")[2]
        together.setdefault((kind, matrices, before, after), []).extend(found)
    for (_, matrices, before, after), found in together.items():
        parts = places_of(one.part for one in found)
        yield f"{parts} {matrices}", before, after, sum(one.bytes for one in found)
