"""Content identity of files and folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from autocompress.errors import NotFoundError


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, or of a folder's relative paths and contents; names and times of the outside do not
    count. Links are followed: the hub's folders consist of them. Raises NotFoundError."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise NotFoundError(f"{path}: no such file or folder")
    whole = hashlib.sha256()
    files = {inside.relative_to(path).as_posix(): inside for inside in path.rglob("*") if inside.is_file()}
    for name in sorted(files):
        # Both ends are fixed: no file name holds a NUL, and a digest has 64 characters.
        whole.update(f"{name}\0{file_digest(files[name])}\n".encode())
    return whole.hexdigest()


def data_digest(files: Mapping[str, Path]) -> str:
    """That of files by what they hold; one file that holds everything has its own. Raises NotFoundError."""
    if len(files) == 1:
        return file_digest(next(iter(files.values())))
    named = "".join(f"{name}\0{file_digest(path)}\n" for name, path in files.items())
    return hashlib.sha256(named.encode()).hexdigest()
