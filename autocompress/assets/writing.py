"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from autocompress.errors import HostError, SpecError

_WORDS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "your disk quota is used up; free some space and try again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "you may not write there; choose another folder",
    errno.EPERM: "you may not write there; choose another folder",
}


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file's content; whoever reads meanwhile sees the old or the new one, never a part.

    Raises HostError when the disk is full or the folder cannot be written.
    """
    temporary = _sibling(path)
    with host_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: never through a link that somebody laid in the meantime.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling to fill; it becomes `path` when the block ends well and disappears when it does not.

    Raises SpecError when `path` is a link, a file or, without `replace`, a folder that holds something; HostError when
    the disk is full or the folder cannot be written.
    """
    _check_target(path, replace=replace)
    temporary = _sibling(path)
    with host_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            for inside in [temporary, *temporary.rglob("*")]:
                if not inside.is_symlink():
                    _sync(inside)
            _swap_in(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def host_errors(path: Path) -> Iterator[None]:
    """What the operating system refuses, in words. Other errors pass."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        words = _WORDS.get(_number(error) or 0)
        if words is None:
            raise
        raise HostError(f"{path}: cannot be written: {words}") from error


def _number(error: Exception) -> int | None:
    """The operating system's; safetensors has it in its text alone: `I/O error: ... (os error 28)`."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


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


def _swap_in(temporary: Path, path: Path) -> None:
    old = None
    if path.is_dir():
        old = _sibling(path)
        os.rename(path, old)
    try:
        os.rename(temporary, path)
    except OSError:
        if old is not None:
            os.rename(old, path)
        raise
    _sync(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """To the disk itself: after a power cut, a rename must not be there without what was renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
