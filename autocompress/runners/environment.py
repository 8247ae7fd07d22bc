"""The environment that Ray's processes inherit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from autocompress.core.secrets import VARIABLES


@contextmanager
def without_secrets() -> Iterator[None]:
    """While it lasts, this process's environment holds no password and no token: Ray's processes inherit it, live on
    for a while, and show it to whoever asks them. Workers touch neither the database nor a hub."""
    kept = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
