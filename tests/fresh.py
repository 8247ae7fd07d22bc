"""Fresh processes for tests that need one: children start in milliseconds, and share no connection with us."""

from __future__ import annotations

import multiprocessing
from typing import Final

FRESH: Final = multiprocessing.get_context("forkserver")
"""Its processes begin with what `tests/preloaded.py` imports, as those that start anew do after some seconds. One
server serves all that a process starts, and the last list that it was given counts: there is one for all tests."""

FRESH.set_forkserver_preload(["tests.preloaded"])
