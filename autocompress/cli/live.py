"""Watching a study run: a live view on a terminal, timed lines anywhere else.

Whoever watches must not stop what is watched: an observer logs its own errors and goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from autocompress.core.ports import Observer, Tally
from autocompress.report.plain_text import one_line, plain
from autocompress.report.progress import DONE, StageProgress, clock_text, tally_in_words, unfailing

if TYPE_CHECKING:
    from autocompress.cli.session import Session


SECONDS_BETWEEN_LINES: Final = 5.0
SILENCE: Final = 10.0
"""Seconds without a line after which one says what is still going on."""

_BEGINNING: Final = ("start", "loading PyTorch and transformers")


@contextmanager
def watching(session: Session) -> Iterator[Observer]:
    """The observer for this session's stderr."""
    if session.err.is_terminal and not session.quiet:
        view = LiveView()
        with Live(get_renderable=view.render, console=session.err, refresh_per_second=5):
            view.stage(*_BEGINNING)
            yield view
    else:
        lines = TimedLines(session)
        lines.stage(*_BEGINNING)
        with lines.beating():
            yield lines


class LiveView:
    """Every stage with its time, the running one with a bar, and the search's tally below."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: list[StageProgress] = []
        self._tally: Tally | None = None
        self._notes: list[str] = []
        self._table = ""
        self._spinner = Spinner("dots")

    @unfailing
    def stage(self, name: str, detail: str = "") -> None:
        now = self._clock()
        if self._stages and self._stages[-1].ended is None:
            self._stages[-1].ended = now
        if name != DONE:
            self._stages.append(StageProgress(one_line(name), one_line(detail, width=80), now))

    @unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        if self._stages:
            self._stages[-1].progress(done, total, one_line(text, width=60), self._clock())

    @unfailing
    def tally(self, tally: Tally) -> None:
        self._tally = replace(tally)  # the search goes on counting in its own
        if self._stages and self._stages[-1].name == "search":
            self._stages[-1].done, self._stages[-1].total = tally.judged, tally.target

    @unfailing
    def note(self, text: str) -> None:
        if "\n" in text:
            self._table = plain(text)
        else:
            self._notes.append(one_line(text))

    def render(self) -> RenderableType:
        """Called by the display's thread, several times a second."""
        now = self._clock()
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=1)
        for stage in list(self._stages):
            running = stage.ended is None
            mark: RenderableType = self._spinner if running else Text("✓", style="green")
            grid.add_row(mark, Text(stage.name, style="bold" if running else ""), _time(stage.seconds(now)),
                         _bar(stage, now) if running else Text(stage.detail, style="dim"))  # fmt: skip
        table = [Text(self._table)] if self._table else []
        parts: list[RenderableType] = [*table, *(Text(note, style="dim") for note in self._notes[-6:]), grid]
        if self._tally is not None:
            parts.append(Text(f"   {tally_in_words(self._tally)}"))
        return Group(*parts)


class TimedLines:
    """A line when a stage begins, and now and then how far it is, also while nothing is heard of it. With `--quiet`
    nothing at all."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._clock = session, clock
        self._started = clock()
        self._last = -SECONDS_BETWEEN_LINES
        self._stage = StageProgress("", "", self._started)
        self._tally: Tally | None = None
        self._lock = threading.RLock()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Looks every second, on a thread of its own, whether it was silent for too long."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.beat()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @unfailing
    def beat(self) -> None:
        """After a silence: what is still going on."""
        with self._lock:
            now = self._clock()
            if now - self._last >= SILENCE and self._stage.name not in ("", DONE):
                self._last = now
                self._say(self._where(now))

    @unfailing
    def stage(self, name: str, detail: str = "") -> None:
        with self._lock:
            self._stage, self._tally = StageProgress(one_line(name), one_line(detail), self._clock()), None
            self._say(f"{self._stage.name}{f': {self._stage.detail}' if detail else ''}")
            self._last = self._clock()

    @unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        with self._lock:
            self._stage.progress(done, total, one_line(text), self._clock())
            if self._is_time():
                self._say(self._where(self._clock()))

    @unfailing
    def tally(self, tally: Tally) -> None:
        with self._lock:
            self._tally = replace(tally)
            if self._is_time() or (tally.judged >= tally.target and not tally.running):
                self._say(self._where(self._clock()))

    @unfailing
    def note(self, text: str) -> None:
        with self._lock:
            first, *others = text.split("\n")
            self._say(one_line(first))
            for line in others:  # a table
                self._session.say(f"  {line}")
            self._last = self._clock()

    def _where(self, now: float) -> str:
        return f"search: {tally_in_words(self._tally)}" if self._tally else self._stage.in_words(now)

    def _is_time(self) -> bool:
        now = self._clock()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True

    def _say(self, text: str) -> None:
        self._session.say(f"[{clock_text(self._clock() - self._started)}] {text}")


def _bar(stage: StageProgress, now: float) -> RenderableType:
    left = stage.left(now)
    end = "" if left is None else f"about {clock_text(left)} left"
    text = Text(", ".join(part for part in (end, stage.text or stage.detail) if part), style="dim")
    if not stage.total:
        return text
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=stage.total, completed=stage.done, width=12), _count(stage), text)
    return row


def _count(stage: StageProgress) -> Text:
    total = stage.total or 0.0
    whole = float(stage.done).is_integer() and float(total).is_integer() and total < 10_000
    return Text(f"{stage.done:.0f}/{total:.0f}" if whole else f"{stage.done / total:.0%}")


def _time(seconds: float) -> Any:
    return Text(f"{seconds:6.1f} s", style="dim")
