"""Content identity of files and folders."""

from __future__ import annotations

import hashlib
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
