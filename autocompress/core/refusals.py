"""What the machine refuses, in words: to write something, why, and how much room is missing; to load a library."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from autocompress.errors import AutocompressError, HostError

_WORDS: Final = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "your disk quota is used up; free some space and try again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "you may not write there; choose another folder",
    errno.EPERM: "you may not write there; choose another folder",
    errno.EEXIST: "a file stands where a folder must be; move it away, or choose another folder",
    errno.ENOTDIR: "a file stands where a folder must be; move it away, or choose another folder",
    errno.EFBIG: "it would be larger than a file may be here; raise the limit (`ulimit -f`), or choose another disk",
}
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OF_WRITING: Final = frozenset({*_FULL, errno.EROFS, errno.EFBIG})
"""What reading never ends with: whoever meets it was writing, wherever that was."""
_SAID: Final = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]|(No space left on device)|(Disk quota exceeded)")
"""How libraries tell it that are no OSErrors: `I/O error: ... (os error 28)` is what Rust says."""


@contextlib.contextmanager
def host_errors(path: Path, *, needed: int = 0) -> Iterator[None]:
    """What is refused of writing to `path`, in words. Other errors pass. `needed` are the bytes that are written, where
    that is known before.

    Raises HostError.
    """
    try:
        yield
    except AutocompressError:
        raise
    except Exception as error:
        number = _number(error)
        if number not in _WORDS:
            raise
        raise _told(number, path, needed) from error


def host_error(error: BaseException) -> HostError | None:
    """What the system refused to write anywhere among the causes of an error; None where it refused nothing. For where
    an error arrives that nobody expected: of a library's own files, or of a place that names none."""
    told: HostError | None = None
    for one in _causes(error):
        if isinstance(one, HostError):
            told = one  # the words that it has already
        elif not isinstance(one, AutocompressError) and (number := _number(one)) in _OF_WRITING:
            name = getattr(one, "filename", None)
            return told or _told(number, Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else None)
    return None


WHOLE: Final = ("torch", "transformers", "onnx", "onnxscript", "optuna", "ray", "scipy", "sklearn", "sentencepiece")
"""Modules that a light installation leaves out (docs/light.md): whatever needs one asks for all."""


def check_whole(what: str, *, ray: bool = True) -> None:
    """Raises HostError where any of them is not installed; Ray is needed unless a study runs without workers."""
    missing = [name for name in WHOLE if (ray or name != "ray") and importlib.util.find_spec(name) is None]
    if missing:
        raise _not_whole(what, missing)


def _not_whole(what: str, missing: Sequence[str]) -> HostError:
    return HostError(
        f"{what} needs {', '.join(missing)}, which this light installation has not; `pip install autocompress` brings "
        "all that is needed"
    )


def not_loaded(error: BaseException) -> HostError | None:
    """Which library could not be loaded among the causes of an error, which others may have made something else of;
    None where all could, or where it is a module of ours, which is our fault."""
    found = [one for one in _causes(error) if isinstance(one, ImportError) and one.name]
    if not found or str(found[-1].name).partition(".")[0] == "autocompress":
        return None
    missing = str(found[-1].name).partition(".")[0]
    if missing in WHOLE and importlib.util.find_spec(missing) is None:
        return _not_whole("this", [missing])
    return HostError(
        f"a library cannot be loaded: {found[-1]}; install autocompress again in a fresh environment, and see whether "
        f"you may read all of Python ({sys.base_prefix}) and of its packages ({sys.prefix})"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised for, and so on."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def is_full(number: int | None) -> bool:
    """Whether an `errno` says that there is no room."""
    return number in _FULL


def free_bytes(path: Path) -> int:
    """What may still be written where `path` lies, or would."""
    place = next((one for one in (path, *path.absolute().parents) if one.exists()), Path())
    return shutil.disk_usage(place).free


def room_in_words(path: Path, needed: int = 0) -> str:
    """` (3.1 MB are needed, 1.9 MB are free there: 1.2 MB are missing)`"""
    free = free_bytes(path)
    there = f"{_size(free)} are free there"
    if needed <= free:
        return f" ({there})"
    return f" ({_size(needed)} are needed, {there}: {_size(needed - free)} are missing)"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _told(number: int, path: Path | None, needed: int = 0) -> HostError:
    where = "a file" if path is None else str(path)
    left = room_in_words(path, needed) if path is not None and number in _FULL else ""
    return HostError(f"{where}: cannot be written: {_WORDS[number]}{left}")


def _number(error: BaseException) -> int:
    """The operating system's, 0 for errors of another kind."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _SAID.search(str(error))
    if found is None:
        return 0
    return int(found[1] or found[2] or (errno.ENOSPC if found[3] else errno.EDQUOT))
