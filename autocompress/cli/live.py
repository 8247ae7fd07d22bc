"""Watching a study run: a live view on a terminal, timed lines anywhere else.

Whoever watches must not stop what is watched: an observer logs its own errors and goes on.
"""

from __future__ import annotations

import functools
import logging
import threading
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
from autocompress.report.plain_text import one_line, plain

if TYPE_CHECKING:
    from autocompress.cli.session import Session

logger = logging.getLogger(__name__)
P = ParamSpec("P")

SECONDS_BETWEEN_LINES: Final = 5.0
SILENCE: Final = 10.0
"""Seconds without a line after which one says what is still going on."""

_LEFT_FROM: Final = 3.0
"""Seconds of a stage's progress before its pace means anything."""
_BEGINNING: Final = ("start", "loading PyTorch and transformers")
_DONE: Final = "done"
_RATE_FROM: Final = 3  # candidates before a rate means anything


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
    """One line of the view. `begun` is where its progress was first heard of, and when: what came before (reading,
    loading) says nothing of its pace."""

    name: str
    detail: str
    started: float
    ended: float | None = None
    done: float = 0.0
    total: float | None = None
    text: str = ""
    begun: tuple[float, float] | None = None
    heard: float = 0.0

    def seconds(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.started

    def progress(self, done: float, total: float | None, text: str, now: float) -> None:
        if total is None or total != self.total or self.begun is None or done < self.begun[0]:
            self.begun = (done, now)
        self.done, self.total, self.text, self.heard = done, total, text, now

    def left(self, now: float) -> float | None:
        """Seconds until it ends, if it goes on as it did; None while nothing tells."""
        if self.total is None or self.begun is None or not self.begun[0] < self.done < self.total:
            return None
        seconds, done = self.heard - self.begun[1], self.done - self.begun[0]
        if seconds < _LEFT_FROM:
            return None
        return max(0.0, seconds * (self.total - self.done) / done - (now - self.heard))

    def in_words(self, now: float) -> str:
        """`teacher 34 %, epoch 2 of 5, best so far 0.9312, about 0:40 left`."""
        share = f" {self.done / self.total:.0%}" if self.total else ""
        left = self.left(now)
        end = "" if left is None else f"about {clock_text(left)} left"
        return ", ".join(part for part in (f"{self.name}{share}", self.text or self.detail, end) if part)


class LiveView:
    """Every stage with its time, the running one with a bar, and the search's tally below."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: list[_Stage] = []
        self._tally: Tally | None = None
        self._notes: list[str] = []
        self._table = ""
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
            self._stages[-1].progress(done, total, one_line(text, width=60), self._clock())

    @_unfailing
    def tally(self, tally: Tally) -> None:
        self._tally = replace(tally)  # the search goes on counting in its own
        if self._stages and self._stages[-1].name == "search":
            self._stages[-1].done, self._stages[-1].total = tally.judged, tally.target

    @_unfailing
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
        self._stage = _Stage("", "", self._started)
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

    @_unfailing
    def beat(self) -> None:
        """After a silence: what is still going on."""
        with self._lock:
            now = self._clock()
            if now - self._last >= SILENCE and self._stage.name not in ("", _DONE):
                self._last = now
                self._say(self._where(now))

    @_unfailing
    def stage(self, name: str, detail: str = "") -> None:
        with self._lock:
            self._stage, self._tally = _Stage(one_line(name), one_line(detail), self._clock()), None
            self._say(f"{self._stage.name}{f': {self._stage.detail}' if detail else ''}")
            self._last = self._clock()

    @_unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        with self._lock:
            self._stage.progress(done, total, one_line(text), self._clock())
            if self._is_time():
                self._say(self._where(self._clock()))

    @_unfailing
    def tally(self, tally: Tally) -> None:
        with self._lock:
            self._tally = replace(tally)
            if self._is_time() or (tally.judged >= tally.target and not tally.running):
                self._say(self._where(self._clock()))

    @_unfailing
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
    ends = [] if tally.limit is None else [max(0.0, tally.limit - tally.seconds)]
    if tally.judged >= _RATE_FROM and tally.seconds > 0:
        ends.append((tally.target - tally.judged) / rate)
    if ends and tally.judged < tally.target:
        parts.append(f"{clock_text(min(ends))} left")
    return " · ".join(parts)


def _bar(stage: _Stage, now: float) -> RenderableType:
    left = stage.left(now)
    end = "" if left is None else f"about {clock_text(left)} left"
    text = Text(", ".join(part for part in (end, stage.text or stage.detail) if part), style="dim")
    if not stage.total:
        return text
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=stage.total, completed=stage.done, width=12), _count(stage), text)
    return row


def _count(stage: _Stage) -> Text:
    total = stage.total or 0.0
    whole = float(stage.done).is_integer() and float(total).is_integer() and total < 10_000
    return Text(f"{stage.done:.0f}/{total:.0f}" if whole else f"{stage.done / total:.0%}")


def _time(seconds: float) -> Any:
    return Text(f"{seconds:6.1f} s", style="dim")


def clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
