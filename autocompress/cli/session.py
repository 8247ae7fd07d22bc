"""Where a command's words go: data to stdout, narration to stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.errors import HostError

if TYPE_CHECKING:
    import typer
    from rich.console import Console, RenderableType

_PIPE_WIDTH = 200
"""Columns of a table that is piped into a file, where `COLUMNS` does not say: nobody wants it folded to the 80 of an
absent terminal."""


@dataclass
class Session:
    """One run of the program: how much it says, and to whom. Lives in the command's context, not in a global."""

    quiet: bool = False
    verbosity: int = 0
    debug: bool = False
    warned: bool = False
    """Whether anything was said that `--quiet` does not hide."""

    @cached_property
    def out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        return _console(stderr=True)

    def data(self, renderable: RenderableType) -> None:
        """Something for a person to read, on stdout."""
        self.out.print(renderable, markup=False)

    def text(self, text: str) -> None:
        """Text on stdout, not folded, not coloured, and without what would move a terminal's cursor: some of it was
        written by others."""
        from autocompress.report.plain_text import plain

        shown = plain(text)
        sys.stdout.write(shown if shown.endswith("\n") else f"{shown}\n")

    def json(self, value: Any) -> None:
        """One JSON document on stdout. ASCII, so that no terminal or pipe changes it."""
        self.text(json.dumps(value, indent=2, allow_nan=False))

    def say(self, text: str, *, style: str = "") -> None:
        """A line of narration on stderr, unless `--quiet`."""
        if not self.quiet:
            self.warn(text, style=style)

    def warn(self, text: str, *, style: str = "") -> None:
        """A line on stderr that `--quiet` does not hide."""
        from rich.text import Text

        from autocompress.report.plain_text import plain

        self.warned = True
        self.err.print(Text(plain(text), style=style), soft_wrap=True)

    def wrote(self, path: Path) -> None:
        self.say(f"wrote {path}")

    def start_logging(self) -> None:
        """Warnings by default, errors with `--quiet`, more with each `-v`; only autocompress's own below warnings."""
        handler = _Narrator(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        level = logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbosity, 2)]
        logging.getLogger("autocompress").setLevel(level)
        if self.quiet:
            logging.getLogger().setLevel(logging.ERROR)


class _Narrator(logging.Handler):
    """Log records as lines on stderr, above a live view rather than through it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        try:
            word = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
            style = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._session.warn(f"{word}{record.getMessage()}", style=style)
        except Exception:  # noqa: BLE001 - logging's own rule: a log call never raises
            self.handleError(record)


def session_of(context: typer.Context) -> Session:
    """The session a command runs in."""
    session = context.find_object(Session)
    assert session is not None, "main() puts it there"
    return session


def write_text(path: Path, text: str) -> None:
    """Raises HostError when the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror or error}") from error


def _console(*, stderr: bool) -> Console:
    from autocompress.cli.consoles import PlainConsole

    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() or (columns.isdecimal() and int(columns)) else _PIPE_WIDTH
    return PlainConsole(stderr=stderr, highlight=False, width=width)
