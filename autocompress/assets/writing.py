"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from autocompress.core.refusals import host_errors
from autocompress.errors import SpecError

_ASIDE = ".old"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file's content; whoever reads meanwhile sees the old or the new one, never a part.

    Raises HostError when the disk is full or the folder cannot be written.
    """
    temporary, given = _sibling(path), content.encode() if isinstance(content, str) else content
    with host_errors(path, needed=len(given)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: never through a link that somebody laid in the meantime.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.write(given)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(path: Path, *, needed: int = 0) -> Iterator[Path]:
    """A name beside `path` to write a file of `needed` bytes at, as far as that is known; it becomes `path` when the
    block ends well, and is gone when it does not: what a full disk took of it is free again.

    Raises HostError when the disk is full or the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with host_errors(path, needed=needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling to fill; it becomes `path` when the block ends well and disappears when it does not.

    For folders of the program's own; one that a user names is written through `new_export`. Raises SpecError when
    `path` is a link, a file or, without `replace`, a folder that holds something; HostError when the disk is full or
    the folder cannot be written.
    """
    _check_target(path, replace=replace)
    with host_errors(path), filled_folder(path) as temporary:
        yield temporary
        swap_in(temporary, path)


@contextlib.contextmanager
def filled_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path`, gone at the end unless `swap_in` made it `path`; what killed processes left of
    such siblings goes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _recover(path)
    temporary = _sibling(path)
    temporary.mkdir()
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: its leftovers stay
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def swap_in(temporary: Path, path: Path) -> Path | None:
    """Makes a filled folder `path`, once all of it is on the disk. Where a folder stands there, the two change places
    in one step if the system can, so that at no moment there is none; returns where the old one is now."""
    for inside in [temporary, *temporary.rglob("*")]:
        if not inside.is_symlink() and (inside.is_file() or inside.is_dir()):
            _sync(inside)
    old = None
    if not path.is_dir():
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        old = temporary
    else:
        old = _swap_in_two_steps(temporary, path)
    _sync(path.parent)
    return old


def readable_alike(folder: Path) -> None:
    """Gives every file of a folder the mode that a new one of this process gets: some libraries write theirs for its
    owner alone, and a copy keeps what the files of a private place had."""
    mask = os.umask(0o077)
    os.umask(mask)
    for inside in [folder, *folder.rglob("*")]:
        if not inside.is_symlink():
            inside.chmod((0o777 if inside.is_dir() else 0o666) & ~mask)


def _check_target(path: Path, *, replace: bool) -> None:
    if path.is_symlink():
        raise SpecError(f"{path}: is a link; name the folder itself")
    if path.exists() and not path.is_dir():
        raise SpecError(f"{path}: is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not replace:
        raise SpecError(f"{path}: exists and is not empty; choose another folder or allow to replace it")


def _sibling(path: Path) -> Path:
    """A free name in the same folder, so that renaming stays within one file system."""
    return path.parent / f".{path.name[:100]}.{secrets.token_hex(6)}.part"


def _exchange(one: Path, other: Path) -> bool:
    """Linux's renameat2(2) with RENAME_EXCHANGE; False where the system or the file system does not know it."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _swap_in_two_steps(temporary: Path, path: Path) -> Path:
    """Killed between the two, `path` is missing until `_recover` finds the old one."""
    aside = temporary.with_suffix(_ASIDE)
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(aside, path)
        raise
    os.rename(aside, temporary)
    return temporary


def _recover(path: Path) -> None:
    """Puts back what a process killed between two renames moved aside, and removes what killed ones were filling."""
    name = re.compile(rf"\.{re.escape(path.name[:100])}\.[0-9a-f]{{12}}(\.part|\{_ASIDE})")
    for left in [one for one in path.parent.iterdir() if name.fullmatch(one.name) and one.is_dir()]:
        with contextlib.suppress(OSError):
            if left.is_symlink() or left.lstat().st_uid != os.getuid():
                continue
            if left.suffix == _ASIDE:
                if not path.exists():
                    os.rename(left, path)
                continue
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while whoever fills it lives
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


def _sync(path: Path) -> None:
    """To the disk itself: after a power cut, a rename must not be there without what was renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
