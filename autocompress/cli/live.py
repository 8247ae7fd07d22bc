"""Watching a study run: a live view on a terminal, timed lines anywhere else.

Whoever watches must not stop what is watched: an observer logs its own errors and goes on.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from autocompress.core.ports import Observer, Tally
from autocompress.report.plain_text import one_line

if TYPE_CHECKING:
    from autocompress.cli.session import Session

logger = logging.getLogger(__name__)
P = ParamSpec("P")

SECONDS_BETWEEN_LINES: Final = 5.0
_DONE: Final = "done"
_RATE_FROM: Final = 3  # candidates before a rate means anything


@contextmanager
def watching(session: Session) -> Iterator[Observer]:
    """The observer for this session's stderr."""
    if session.err.is_terminal and not session.quiet:
        view = LiveView()
        with Live(get_renderable=view.render, console=session.err, refresh_per_second=5):
            yield view
    else:
        yield TimedLines(session)


def _unfailing(method: Callable[P, None]) -> Callable[P, None]:
    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.debug("the progress view failed", exc_info=True)

    return call


@dataclass(slots=True)
class _Stage:
    """One line of the view."""

    name: str
    detail: str
    started: float
    ended: float | None = None
    done: float = 0.0
    total: float | None = None
    text: str = ""

    def seconds(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.started


class LiveView:
    """Every stage with its time, the running one with a bar, and the search's tally below."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: list[_Stage] = []
        self._tally: Tally | None = None
        self._notes: list[str] = []
        self._spinner = Spinner("dots")

    @_unfailing
    def stage(self, name: str, detail: str = "") -> None:
        now = self._clock()
        if self._stages and self._stages[-1].ended is None:
            self._stages[-1].ended = now
        if name != _DONE:
            self._stages.append(_Stage(one_line(name), one_line(detail, width=80), now))

    @_unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        if self._stages:
            current = self._stages[-1]
            current.done, current.total, current.text = done, total, one_line(text, width=60)

    @_unfailing
    def tally(self, tally: Tally) -> None:
        self._tally = replace(tally)  # the search goes on counting in its own
        if self._stages and self._stages[-1].name == "search":
            self._stages[-1].done, self._stages[-1].total = tally.judged, tally.target

    @_unfailing
    def note(self, text: str) -> None:
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
                         _bar(stage) if running else Text(stage.detail, style="dim"))  # fmt: skip
        parts: list[RenderableType] = [*(Text(note, style="dim") for note in self._notes[-6:]), grid]
        if self._tally is not None:
            parts.append(Text(f"   {tally_in_words(self._tally)}"))
        return Group(*parts)


class TimedLines:
    """A line when a stage begins, and now and then how far it is. With `--quiet` nothing but stages."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._clock = session, clock
        self._started = clock()
        self._last = -SECONDS_BETWEEN_LINES
        self._stage = ""

    @_unfailing
    def stage(self, name: str, detail: str = "") -> None:
        self._stage = one_line(name)
        self._say(f"{self._stage}{f': {one_line(detail)}' if detail else ''}")
        self._last = self._clock()

    @_unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        if self._is_time():
            share = f" {done / total:.0%}" if total else f" {done:g}"
            self._say(f"{self._stage}{share}{f', {one_line(text)}' if text else ''}")

    @_unfailing
    def tally(self, tally: Tally) -> None:
        if self._is_time() or (tally.judged >= tally.target and not tally.running):
            self._say(f"search: {tally_in_words(tally)}")

    @_unfailing
    def note(self, text: str) -> None:
        self._say(one_line(text))

    def _is_time(self) -> bool:
        now = self._clock()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True

    def _say(self, text: str) -> None:
        self._session.say(f"[{_clock_text(self._clock() - self._started)}] {text}")


def tally_in_words(tally: Tally) -> str:
    """`67 of 120 judged · 2 running · 1 failed · 12 infeasible · 9 repeated · 64/min · front 14 · 0:49 left`."""
    parts = [f"{tally.judged} of {tally.target} judged", f"{tally.running} running"]
    counted = (("failed", tally.failed), ("infeasible", tally.infeasible), ("repeated", tally.repeated))
    parts += [f"{many} {what}" for what, many in counted if many]
    if tally.judged >= _RATE_FROM and tally.seconds > 0:
        rate = tally.judged / tally.seconds
        parts.append(f"{60 * rate:.0f}/min")
    if tally.front:
        parts.append(f"front {tally.front}")
    left = tally.target - tally.judged
    if left > 0 and tally.judged >= _RATE_FROM and tally.seconds > 0:
        parts.append(f"{_clock_text(left / rate)} left")
    return " · ".join(parts)


def _bar(stage: _Stage) -> RenderableType:
    text = Text(stage.text or stage.detail, style="dim")
    if not stage.total:
        return text
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=stage.total, completed=stage.done, width=30), _count(stage), text)
    return row


def _count(stage: _Stage) -> Text:
    total = stage.total or 0.0
    whole = float(stage.done).is_integer() and float(total).is_integer() and total < 10_000
    return Text(f"{stage.done:.0f}/{total:.0f}" if whole else f"{stage.done / total:.0%}")


def _time(seconds: float) -> Any:
    return Text(f"{seconds:6.1f} s", style="dim")


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
