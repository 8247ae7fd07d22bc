"""Places that nothing is ever written in the place of, whatever stands there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autocompress.assets.wheels import cache_folder
from autocompress.errors import SpecError

_CHECKOUTS: Final = (".git", ".hg", ".svn")
_ARTIFACTS: Final = "-artifacts"
_SQLITE: Final = b"SQLite format 3\0"
_COMPANIONS: Final = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database."""


def refuse_place(path: Path, *, keep: Sequence[Path] = (), is_file: bool = False) -> None:
    """Raises SpecError when `path` is a link, is of the wrong kind, or is, holds or lies in what must stay: the root, a
    home, the current folder, a checkout, the cache, and what `keep` names."""
    kind, other = ("file", "folder") if is_file else ("folder", "file")
    try:
        if path.is_symlink():
            raise SpecError(f"{path}: is a link; name the {kind} itself")
        if path.exists() and path.is_dir() == is_file:
            raise SpecError(f"{path}: is a {other}; name a {kind}")
        real = path.resolve()
        above = next((one for one in real.parents if one.exists()), real)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a NUL in it
        raise SpecError(f"{path}: no name that a {kind} can have here: {error}; choose another") from error
    if not above.is_dir():
        raise SpecError(f"{path}: {above} is a file, so nothing can be written below it; choose another {kind}")
    why = _of_the_program(real, [*keep, *_companions(keep)]) or ("" if is_file else _of_the_user(real))
    if why:
        raise SpecError(f"{path}: {why}, so nothing is written there; choose another {kind}")


def _of_the_program(real: Path, keep: Sequence[Path]) -> str:
    """Why a place belongs to the program."""
    theirs = next((one for one in (real, *real.parents) if _is_kept_by_a_database(one)), None)
    if theirs is not None:
        return f"is or lies in {theirs}, which a study database keeps its files in"
    for kept in keep:
        one = kept.resolve()
        if real == one:
            return "is what the studies are kept in"
        if one.is_relative_to(real):
            return f"holds {kept}, which the studies are kept in"
        if real.is_relative_to(one):
            return f"lies in {kept}, which the studies are kept in"
    return ""


def _is_kept_by_a_database(folder: Path) -> bool:
    """By its name: a SQLite file `x.db` has `x-artifacts` beside it, a server a folder of a fixed name."""
    if not folder.name.endswith(_ARTIFACTS) or not folder.is_dir():
        return False
    if folder.name == f"autocompress{_ARTIFACTS}":
        return True
    stem = folder.name.removesuffix(_ARTIFACTS)
    return any(_is_sqlite(one) for one in folder.parent.iterdir() if one.stem == stem)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _of_the_user(real: Path) -> str:
    """Why a folder is more than an export."""
    if real == Path(real.anchor):
        return "is the root of the file system"
    home = Path(os.path.expanduser("~"))
    named = [
        ("your home", home.resolve()) if home.is_absolute() else None,
        ("the folder you are in", Path.cwd()),
    ]
    for what, place in filter(None, named):
        if real == place:
            return f"is {what}"
        if place.is_relative_to(real):
            return f"holds {what}"
    checkout = next((name for name in _CHECKOUTS if (real / name).exists()), None)
    if checkout:
        return f"is a checkout (it holds {checkout})"
    if os.path.ismount(real):
        return "is where a file system is mounted"
    return _of_the_cache(real)


def _of_the_cache(real: Path) -> str:
    try:
        cache = cache_folder().resolve()
    except RuntimeError:  # no home
        return ""
    if cache.is_relative_to(real) or real.is_relative_to(cache):
        return f"is, holds or lies in the cache ({cache})"
    return ""


def _companions(keep: Sequence[Path]) -> list[Path]:
    return [one.with_name(one.name + end) for one in keep if one.suffix for end in _COMPANIONS]
