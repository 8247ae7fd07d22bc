"""Tables that fit the width they are printed at: columns are left out by rank rather than cut, and one may fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_BETWEEN: Final = 3
"""Columns of the terminal between two of a table."""
_EDGES: Final = 2
ROOMY: Final = 100
"""Columns of a terminal that may have room for intervals beside their values."""

Cell = str | Text


@dataclass(frozen=True, slots=True)
class Column:
    """`rank` says when it is left out of a narrow table: the highest first, 0 never. One that `folds` takes the room
    that the others leave, at `least` so much, and is left out, if it may be, where there is less; so does one that is
    `cut`, in one line each."""

    heading: str
    justify: Literal["left", "right"] = "left"
    rank: int = 0
    folds: bool = False
    cut: bool = False
    least: int = 20


@dataclass(frozen=True, slots=True)
class Row:
    cells: Sequence[Cell]
    style: str = ""
    ends_section: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that is laid out when its width is known."""

    columns: Sequence[Column]
    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.shown(options.max_width)
        widths = self._widths()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for place in shown:
            column = self.columns[place]
            gives = column.folds or column.cut
            others = sum(widths[one] for one in shown if one != place) + _BETWEEN * (len(shown) - 1) + _EDGES
            table.add_column(
                column.heading,
                justify=column.justify,
                no_wrap=not column.folds,
                min_width=None if gives else widths[place],
                max_width=max(column.least, options.max_width - others) if column.cut else None,
                overflow="ellipsis" if column.cut else "fold",
            )
        for row in self.rows:
            table.add_row(*(row.cells[place] for place in shown), style=row.style, end_section=row.ends_section)
        yield table

    def fits(self, width: int) -> bool:
        """Whether every column has all the room that it needs."""
        return sum(self._widths().values()) + _BETWEEN * (len(self.columns) - 1) + _EDGES <= width

    def shown(self, width: int) -> list[int]:
        """The places of the columns that there is room for; those of one rank go together."""
        widths = self._widths()
        shown = list(range(len(self.columns)))
        for rank in sorted({column.rank for column in self.columns if column.rank}, reverse=True):
            if sum(widths[one] for one in shown) + _BETWEEN * (len(shown) - 1) + _EDGES <= width:
                break
            shown = [place for place in shown if self.columns[place].rank != rank]
        return shown

    def _widths(self) -> Mapping[int, int]:
        """What each column needs: all of its longest line, or `least` of one that folds."""
        found = {}
        for place, column in enumerate(self.columns):
            cells = [column.heading, *(row.cells[place] for row in self.rows)]
            longest = max(_width(cell) for cell in cells)
            found[place] = min(longest, column.least) if column.folds or column.cut else longest
        return found


def with_gaps(made: Callable[[str], Fitted], width: int) -> Fitted:
    """A table `made` with intervals beside their values (a gap of one space) where there is room for that, and below
    them (a new line) elsewhere: rich would cut the last columns away."""
    beside = made(" ")
    return beside if width >= ROOMY and beside.fits(width) else made("\n")


def _width(cell: Cell) -> int:
    text = cell.plain if isinstance(cell, Text) else cell
    return max((cell_len(line) for line in text.splitlines()), default=0)
