"""A terminal that only the program itself moves: what others wrote is shown, and never obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from autocompress.report.plain_text import plain


@final
class PlainConsole(Console):
    """Prints no escape codes but its own. Names, reasons and messages come out of databases, files and libraries;
    whoever shows one need not think of it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            if part.control or part.text.isprintable():
                yield part
            else:
                yield Segment(plain(part.text), part.style)
