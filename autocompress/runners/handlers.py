"""Ctrl-C and SIGTERM stay ours while Ray starts and ends.

`ray.init` replaces the handler of SIGTERM twice: in Python, and below it by one of its library's own, which prints a
stack and aborts; `ray.shutdown` leaves neither. Both take seconds.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from autocompress.core.interruption import SIGNALS, reinstall

_SECONDS: Final = 0.002
"""Between two looks at the handlers, from a thread beside Ray: Python itself lets the main thread alone set them."""


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Signals reach the handlers that are in place now, whatever is called inside."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_keep, args=(ended,), name="signal handlers", daemon=True)
    with _without_ray_s_own():
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            reinstall()


def _keep(ended: threading.Event) -> None:
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype = put.restype = ctypes.c_void_p
    get.argtypes, put.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_void_p]
    before = {number: get(number) for number in SIGNALS}
    while not ended.wait(_SECONDS):
        for number, handler in before.items():
            if get(number) != handler:
                put(number, handler)


@contextmanager
def _without_ray_s_own() -> Iterator[None]:
    """Ray's Python handler exits the process in the middle of whatever runs."""
    parts: Any = sys.modules.get("ray._private.utils")
    own = getattr(parts, "set_sigterm_handler", None)
    if own is None:
        yield
        return
    parts.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        parts.set_sigterm_handler = own
