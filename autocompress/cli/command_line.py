"""What other users of the machine see of our command line, in `ps` and in Ray's list of jobs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from autocompress.core.secrets import secrets_in

_FIRST, _LAST = 45, 46
"""Of the fields behind the command's name in /proc/self/stat, those of the arguments' first and last byte (proc(5))."""
_LEAST: Final = 3


def hide_secrets(arguments: Iterable[str]) -> None:
    """Overwrites every password that this process was started with, where the kernel shows it to others. Does nothing
    where the kernel does not say where that is."""
    secrets = {secret for one in arguments for secret in secrets_in(one.partition("=")[2]) | secrets_in(one)}
    coded = {os.fsencode(one) for one in secrets if len(one) >= _LEAST}
    if not coded:
        return
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        first, last = int(fields[_FIRST]), int(fields[_LAST])
        shown = Path("/proc/self/cmdline").read_bytes()
    except (OSError, IndexError, ValueError):
        return
    if not first or last - first != len(shown) or ctypes.string_at(first, last - first) != shown:
        return
    for secret in coded:
        place = shown.find(secret)
        while place >= 0:
            ctypes.memset(first + place, ord("*"), len(secret))
            place = shown.find(secret, place + 1)
