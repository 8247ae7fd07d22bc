"""Entries of the cache, believed only as far as they are proved.

cache_folder()/KIND/NAME              an entry: a file or a folder, written once and never changed
cache_folder()/digests/KIND--NAME     its SHA-256 when it was made, written before the entry appears
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autocompress.assets.digests import file_digest
from autocompress.assets.wheels import cache_folder
from autocompress.assets.writing import write_atomically
from autocompress.core.refusals import host_errors

logger = logging.getLogger(__name__)


def find_entry(path: Path) -> bool:
    """Whether an entry is there as it was made. One that is not is removed with a word, so that it is made anew.

    What a version made that kept no digests is taken as it is now, and stays so: studies that began with it go on.
    """
    if not path.exists():
        return False
    seal = _seal(path)
    if not seal.is_file():
        write_atomically(seal, file_digest(path))
        return True
    with contextlib.suppress(OSError):  # what cannot be read is as bad as what reads otherwise
        if seal.read_text("ascii", "replace") == file_digest(path):
            return True
    logger.warning("%s: was changed or damaged since it was made; it is made anew", path)
    remove_entry(path)
    return False


@contextlib.contextmanager
def new_entry(path: Path, *, needed: int = 0) -> Iterator[Path]:
    """A name beside `path` to write a file or to make a folder at, of `needed` bytes as far as that is known; it
    becomes the entry when the block ends well.

    Raises HostError when the disk is full or the cache cannot be written.
    """
    with host_errors(path, needed=needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
        try:
            made = scratch / path.name
            yield made
            write_atomically(_seal(path), file_digest(made))
            if path.is_dir():  # another process made the same meanwhile
                shutil.rmtree(path)
            made.replace(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def remove_entry(path: Path) -> None:
    """The entry and its digest go."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    _seal(path).unlink(missing_ok=True)


def check_cache() -> None:
    """Raises HostError when nothing can be kept in the cache: better known now than after a training."""
    place = cache_folder()
    with host_errors(place):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))


def _seal(path: Path) -> Path:
    return cache_folder() / "digests" / "--".join(path.relative_to(cache_folder()).parts)
