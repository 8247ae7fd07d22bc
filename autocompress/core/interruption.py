"""Ctrl-C and SIGTERM as a wish to stop: noted at once, acted on where nothing is broken by it.

The first signal interrupts what runs (as a KeyboardInterrupt), unless that is `patient`: then it is noted, and whoever
is patient looks at `thrown` and stops by itself. A second one interrupts the patient too. Inside of `shielded`, for
what must not be torn apart and takes seconds at most, signals wait for its end; a third one leaves at once. One that
comes in a finalizer, where Python prints an interrupt and forgets it, is sent again when that has ended.
"""

from __future__ import annotations

import _thread
import _weakrefset
import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_LAST: Final = 3
"""So many signals leave at once, also where they would have to wait."""

_AGAIN_SECONDS: Final = 0.02
"""After which a signal that came in a finalizer is sent again."""

_OF_THE_DEAD: Final = (weakref.__file__, _weakrefset.__file__)
"""Where the standard library keeps what it calls for objects that are gone."""

_switch: Switch | None = None
"""The one in place. Handlers of signals belong to the process, and so does this."""


@final
class Switch:
    """Which signal asked to stop first. Made by `interruptible`."""

    def __init__(self) -> None:
        self.thrown: signal.Signals | None = None
        self._heard = 0
        self._patient = 0
        self._shields = 0
        self._due = False

    def install(self) -> None:
        """Takes (back) the process's handlers: libraries replace them. Only the main thread may."""
        for number in SIGNALS:
            signal.signal(number, self._throw)

    def check(self) -> None:
        """Raises KeyboardInterrupt once the switch was thrown: for where the first one was swallowed on its way."""
        if self.thrown is not None:
            raise KeyboardInterrupt

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Inside, a first signal is only noted: what runs there looks at `thrown`."""
        self._patient += 1
        try:
            yield
        finally:
            self._patient -= 1

    @contextmanager
    def _shielded(self) -> Iterator[None]:
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self._act()

    def _throw(self, number: int, frame: FrameType | None) -> None:
        if _finalizes(frame):
            _thread.start_new_thread(_send_again, (number,))  # takes no lock that this thread may hold
            return
        self._heard += 1
        first = self.thrown is None
        self.thrown = self.thrown or signal.Signals(number)
        if self._heard >= _LAST and self._shields:
            os._exit(self.exit_code)
        self._due = not (first and self._patient)
        self._act()

    def _act(self) -> None:
        if self._due and not self._shields:
            self._due = False
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """What a shell calls a process that such a signal ended; 130 where none was heard (a KeyboardInterrupt of
        another origin)."""
        return 128 + (self.thrown or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Switch]:
    """The switch that Ctrl-C and SIGTERM throw while the context lasts: the one in place, or a new one. Outside of the
    main thread, which alone hears signals, it is never thrown."""
    global _switch
    if _switch is not None or not _is_main():
        yield _switch if _switch is not None and _is_main() else Switch()
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _switch = Switch()
    try:
        _switch.install()
        yield _switch
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _switch = None


@contextmanager
def shielded() -> Iterator[None]:
    """What runs inside is not interrupted; signals act at its end."""
    if _switch is None or not _is_main():
        yield
        return
    with _switch._shielded():
        yield


def reinstall() -> None:
    """Takes the handlers back from a library that replaced them."""
    if _switch is not None and _is_main():
        _switch.install()


def exit_code_keeper() -> Callable[[int], None]:
    """What it is told is the code that this process ends with. Asked for early: it acts after what else is done at
    exit.

    Python (3.8 to 3.13 at least) remembers an interrupt that passed through `exec("...")`, which dataclasses and named
    tuples are made with, and `python -m` then ends by SIGINT, whoever caught it and whatever code it left with.
    """
    kept: list[int] = []

    def act() -> None:
        if kept:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(kept[0])

    atexit.register(act)
    return kept.append


def leave_quietly(code: int) -> None:
    """From here on a signal ends the process at once, with this exit code if it tells of anything: all is stored and
    said, and only the interpreter's own end is left, in which an interrupt would be a traceback."""
    if not _is_main():
        return
    handler: Callable[[int, FrameType | None], None] = lambda number, _: os._exit(code or 128 + number)  # noqa: E731
    for number in SIGNALS:
        signal.signal(number, handler)


def _finalizes(frame: FrameType | None) -> bool:
    """Whether a frame runs, directly or not, for an object that is gone."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename in _OF_THE_DEAD:
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    os.kill(os.getpid(), number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
