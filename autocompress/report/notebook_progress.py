"""Watching a study run in a Jupyter notebook: one display, updated in place, of HTML and plain text, with no script."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any, Final, final

from autocompress.core.ports import Tally
from autocompress.report.plain_text import one_line, plain
from autocompress.report.progress import DONE, StageProgress, clock_text, tally_in_words, unfailing

logger = logging.getLogger(__name__)

Bundle = dict[str, str]
"""What a notebook may show of one thing, by MIME type."""
Show = Callable[[Bundle], Callable[[Bundle], None]]
"""Shows something, and gives what shows something else in its place."""

SECONDS_BETWEEN_UPDATES: Final = 0.25
_NOTES: Final = 4
_CELLS: Final = 20


def notebook_shell() -> Any | None:
    """The shell of the Jupyter kernel that this program runs in; None elsewhere, and where output is redirected.
    Imports nothing: a program that runs in a kernel has IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if "ZMQInteractiveShell" not in {kind.__name__ for kind in type(shell).__mro__}:
        return None
    # `%%capture` and redirect_stdout put something else in the place of the kernel's stream
    return shell if type(sys.stdout).__module__.startswith("ipykernel.") else None


def _shown(bundle: Bundle) -> Callable[[Bundle], None]:
    from IPython.display import display

    handle = display(bundle, raw=True, display_id=True)
    return lambda other: handle.update(other, raw=True)


@final
class NotebookObserver:
    """The stage with a bar, what is being done, and the last notes; at the end how long it took. Updated four times a
    second at most: what comes in between is shown by a thread that waits until then."""

    def __init__(self, study: str = "", *, show: Show = _shown, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._show, self._clock = one_line(study, width=60), show, clock
        self._started, self._updated = clock(), 0.0
        self._stage: StageProgress | None = None
        self._tally: Tally | None = None
        self._notes: list[str] = []
        self._table = self._end = ""
        self._update: Callable[[Bundle], None] | None = None
        self._waiting: threading.Timer | None = None
        self._lock = threading.RLock()

    @unfailing
    def stage(self, name: str, detail: str = "") -> None:
        with self._lock:
            if name == DONE:
                self._finish(DONE)
                return
            self._stage = StageProgress(one_line(name), one_line(detail, width=80), self._clock())
            self._changed()

    @unfailing
    def progress(self, done: float, total: float | None, text: str = "") -> None:
        with self._lock:
            if self._stage is not None:
                self._stage.progress(done, total, one_line(text, width=80), self._clock())
                self._changed()

    @unfailing
    def tally(self, tally: Tally) -> None:
        with self._lock:
            self._tally = replace(tally)  # the search goes on counting in its own
            self._changed()

    @unfailing
    def note(self, text: str) -> None:
        logger.info("%s", text)
        with self._lock:
            if "\n" in text:
                self._table = plain(text)
            else:
                self._notes = [*self._notes, one_line(text, width=200)][-_NOTES:]
            self._changed(over=bool(self._end))

    def ends_with_cell(self, shell: Any) -> None:
        """What goes on no longer when the cell that began it has run says so, and how long it took: not everything
        has a stage that ends it, least of all an error."""

        @unfailing
        def ended(result: Any) -> None:
            shell.events.unregister("post_run_cell", ended)
            with self._lock:
                if self._update is not None and not self._end:
                    self._finish(DONE if getattr(result, "success", True) else "stopped")

        shell.events.register("post_run_cell", ended)

    def bundle(self) -> Bundle:
        """What is shown now, as HTML and as plain text."""
        share, words = self._share(), self._words()
        named = f"{self._study}: " if self._study else ""
        cells = "" if share is None else "█" * round(_CELLS * share) + "░" * (_CELLS - round(_CELLS * share)) + "  "
        below = [*([self._table] if self._table else []), *self._notes]
        bar = (
            ""
            if share is None
            else f'<progress value="{share:.3f}" max="1" aria-label="{escape(words, quote=True)}"></progress> '
        )
        head = f"<div>{f'<b>{escape(self._study)}</b> ' if self._study else ''}{bar}{escape(words)}</div>"
        table = f'<pre style="font-size:90%">{escape(self._table)}</pre>' if self._table else ""
        notes = "".join(f'<div style="font-size:90%;opacity:0.75">{escape(note)}</div>' for note in self._notes)
        return {"text/plain": "\n".join([f"{named}{cells}{words}", *below]), "text/html": head + table + notes}

    def _share(self) -> float | None:
        """How much of the stage is done; of a search, of its candidates or of its time, whichever ends first."""
        if self._end or self._stage is None:
            return None
        done, total, tally = self._stage.done, self._stage.total, self._tally
        if self._stage.name == "search" and tally is not None:
            shares = [tally.judged / tally.target if tally.target else 1.0]
            shares += [tally.seconds / tally.limit] if tally.limit else []
            return min(1.0, max(shares))
        return min(1.0, max(0.0, done / total)) if total else None

    def _words(self) -> str:
        tally, stage = self._tally, self._stage
        if self._end:
            counted = "" if tally is None else f" · {tally.judged} judged"
            failed = "" if tally is None or not tally.failed else f" · {tally.failed} failed"
            front = "" if tally is None or not tally.front else f" · front {tally.front}"
            return f"{self._end}{counted}{failed}{front}"
        if stage is None:
            return ""
        if stage.name == "search" and tally is not None:
            return f"search: {tally_in_words(tally)}"
        return stage.in_words(self._clock())

    def _finish(self, how: str) -> None:
        where = f", in stage {self._stage.name!r}" if how != DONE and self._stage is not None else ""
        took = f"{how} {'in' if how == DONE else 'after'} {clock_text(self._clock() - self._started)}"
        self._end = took + where
        self._changed(over=True)

    def _changed(self, *, over: bool = False) -> None:
        """Shows it at once where it is `over` or was not shown for long enough, and else when that time has come."""
        if not over:
            self._end = ""  # something else goes on
        left = self._updated + SECONDS_BETWEEN_UPDATES - self._clock()
        if self._update is None or over or left <= 0:
            self._flush()
        elif self._waiting is None:
            self._waiting = threading.Timer(left, self._flush)
            self._waiting.daemon = True
            self._waiting.start()

    @unfailing
    def _flush(self) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
            self._updated = self._clock()
            if self._update is None:
                self._update = self._show(self.bundle())
            else:
                self._update(self.bundle())
