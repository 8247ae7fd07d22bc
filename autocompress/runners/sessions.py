"""Folders of Ray's sessions, on machines that others use too: private, short, and found again after a crash.

A Unix socket's path ends at 107 bytes, so the folder must have a short name; it lies in XDG_RUNTIME_DIR, which is the
user's alone, or is made by `mkdtemp` among temporary files. Whoever made it writes down in it which process that was
and which processes it started. A folder is believed, and deleted, only if it is this user's, closed to others and no
link, and if its process has certainly ended: in this boot and this container, with that start time.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from autocompress.core.process import Process
from autocompress.core.refusals import free_bytes, room_in_words
from autocompress.errors import HostError

logger = logging.getLogger(__name__)

_PREFIX: Final = "ac-"
_OWNER: Final = "owner.json"
RAY: Final = "r"
"""The folder in it that Ray is given. Ray opens its own to everybody (0777, whatever the umask); the one around it
stays closed, and so nobody gets there."""
_LONGEST: Final = 40
"""Bytes of the folder's path that leave room for what Ray puts below it: a session's name and a socket's, 62 of 107."""

_LEAST_ROOM: Final = 8 << 20
"""Bytes that logs and notes of a session want at least."""

_REASON: Final = re.compile(
    "Too many open files|No space left on device|Cannot allocate memory|Address already in use|Permission denied"
    "|Resource temporarily unavailable|Read-only file system"
)

_PATIENCE: Final = 2.0
"""Seconds in which a process that was asked to end may do so."""

_MOST: Final = 1 << 20
"""Bytes of an owner's note that are read at most."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who made a folder, and which processes were started for it."""

    process: Process
    started: tuple[Process, ...] = ()

    @staticmethod
    def read(folder: Path) -> _Owner | None:
        """None where there is no such note, or none of this user's that can be read."""
        try:
            handle = os.open(folder / _OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
                    return None
                tree: Any = json.loads(file.read(_MOST))
            owner = _Owner(_process(tree["process"]), tuple(_process(one) for one in tree["started"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return owner

    def write(self, folder: Path) -> None:
        part = folder / f"{_OWNER}.part"
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(folder / _OWNER)


def _process(tree: Any) -> Process:
    found = Process(tree["host"], tree["pid"], tree["kernel"], tree["started"])
    kinds = ((found.host, str), (found.pid, int), (found.kernel, str), (found.started, int))
    if not all(type(value) is kind for value, kind in kinds) or found.pid <= 1:
        raise ValueError(f"no process: {tree}")
    return found


def new_session() -> Path:
    """A folder of this user's alone. Raises HostError when none with a short enough path can be made."""
    tried = []
    for base in _bases():
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError as error:
            tried.append(f"{base}: {error.strerror}")
            continue
        if len(os.fsencode(folder / RAY)) <= _LONGEST:
            _Owner(Process.current()).write(folder)
            return folder
        folder.rmdir()
        tried.append(f"{base}: its path is too long for the sockets in it")
    raise HostError(
        f"Ray needs a folder for its sockets with a path of at most {_LONGEST} bytes ({'; '.join(tried)}); set TMPDIR "
        "to a short one that you may write to, or do without Ray: `--workers 0`"
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this user's alone for what ends with the block: deleted then or, when this process is killed, by the
    next one that looks for what was abandoned."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        _Owner(Process.current()).write(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def note_processes(folder: Path) -> None:
    """Writes down which processes run for this session, so that they can be ended when this one no longer can."""
    with suppress(OSError):
        _Owner(Process.current(), tuple(_of_session(folder))).write(folder)


def why_not_started(folder: Path) -> str:
    """What Ray's processes wrote down before they ended, where it is a reason: Ray itself only says that it waited.
    Empty where there is none. `folder` is the one that Ray was given."""
    if free_bytes(folder) < _LEAST_ROOM:
        return f"the disk of its temporary folder {folder.parent.parent} is full{room_in_words(folder, _LEAST_ROOM)}"
    for log in sorted(folder.glob("session_*/logs/*.*")):
        with suppress(OSError):
            found = _REASON.findall(log.read_text(encoding="utf-8", errors="replace")[-_MOST:])
            if found:
                return f"{log.stem}: {found[-1]}"
    return ""


def end_started(folder: Path) -> None:
    """Ends the processes that run for a session of this one, and keeps its folder."""
    note_processes(folder)
    owner = _Owner.read(folder)
    if owner is not None:
        _end(owner.started)


def end_session(folder: Path) -> None:
    """Ends what is left of the processes that were noted, and deletes the folder."""
    owner = _Owner.read(folder)
    if owner is not None:
        _end(owner.started)
    shutil.rmtree(folder, ignore_errors=True)


def abandoned() -> list[Path]:
    """Folders of this user's drivers that were killed."""
    return [folder for folder, owner in _own_folders() if _is_over(owner)]


def remove_abandoned() -> int:
    """Ends what they left running, and deletes them. Returns how many processes were ended."""
    ended = 0
    for folder in abandoned():
        owner = _Owner.read(folder)
        if owner is not None and _is_over(owner):
            ended += _end(owner.started)
            logger.info("removed %s, left by process %d", folder, owner.process.pid)
            shutil.rmtree(folder, ignore_errors=True)
    return ended


def _bases() -> Iterator[Path]:
    """Where a folder may be made, the best first."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and _is_private(Path(given)):
        yield Path(given)
    yield from dict.fromkeys((Path(tempfile.gettempdir()).absolute(), Path("/tmp")))


def _own_folders() -> Iterator[tuple[Path, _Owner]]:
    for base in _bases():
        for folder in _listed(base):
            if _is_private(folder) and (owner := _Owner.read(folder)) is not None:
                yield folder, owner


def _listed(base: Path) -> list[Path]:
    try:
        return sorted(base.glob(f"{_PREFIX}*"))
    except OSError:
        return []


def _is_private(folder: Path) -> bool:
    """A folder, no link, of this user's, which nobody else may enter."""
    try:
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077


def _is_over(owner: _Owner) -> bool:
    """Whether the process has certainly ended: seen from its own boot and container, or in an earlier boot."""
    here, there = Process.current(), owner.process
    if here.host == there.host and here.kernel and there.kernel and here.boot != there.boot:
        return True
    return there.is_gone()


def _of_session(folder: Path) -> Iterator[Process]:
    """This process's children that were started with the folder in their command, and what descends from them. Other
    children are none of ours: a caller in Python may have pools, servers and loaders of data of its own."""
    if Process.current().kernel is None:
        return
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if str(folder) in " ".join(child.cmdline()):
                for one in (child, *child.children(recursive=True)):
                    if (found := Process.of(one.pid)) is not None:
                        yield found


def _end(processes: Iterable[Process]) -> int:
    """Asks those that still run to end, and ends those that do not. Returns how many there were."""
    alive = []
    for one in processes:
        if one.host == socket.gethostname() and one.runs_here():
            with suppress(psutil.Error):
                alive.append(psutil.Process(one.pid))
    for process in alive:
        with suppress(psutil.Error):
            process.terminate()
    stubborn = psutil.wait_procs(alive, timeout=_PATIENCE)[1]
    for process in stubborn:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_PATIENCE)  # a child that nobody waits for stays as a zombie
    return len(alive)
