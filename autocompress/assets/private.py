"""What a study keeps is its user's alone: his texts are in it, and what was learned from them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OWNER_ALONE: Final = 0o077


class _Mask:
    """The process's umask while anybody writes privately. It is the process's alone, and so is this: of two runs in two
    threads, the last one to end puts back what was there before the first."""

    def __init__(self) -> None:
        self._turn, self._inside, self._before = threading.Lock(), 0, 0

    def enter(self) -> None:
        with self._turn:
            if not self._inside:
                self._before = os.umask(_OWNER_ALONE)
            self._inside += 1

    def leave(self) -> None:
        with self._turn:
            self._inside -= 1
            if not self._inside:
                os.umask(self._before)


_mask: Final = _Mask()


@contextmanager
def private_files() -> Iterator[None]:
    """Files and folders that are made inside are 0600 and 0700, whoever makes them: libraries and processes that are
    started too. What stands there already keeps its mode, as its owner may have opened it to others on purpose."""
    _mask.enter()
    try:
        yield
    finally:
        _mask.leave()
