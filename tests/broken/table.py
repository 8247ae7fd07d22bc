"""One broken input a row: what is built, what is asked for, how that must end."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Given = Literal["nothing", "project", "stored", "exported"]
"""What a row's folder holds before it is broken: nothing; a model, texts and `mine.yaml`; a database with the finished
study `quickstart`, its files apart; that with folders of its models, one of them exported to `picked`."""

EXECUTED = "executed"
"""The file that code in an input would make, in the folder where the command runs, if it were ever run."""
_TABOO = ("Traceback (most recent", "unexpected error", "fault of autocompress", "\x1b", f"{EXECUTED}\n")
_RUN_LEAVES = ("autocompress.db", "autocompress.db-journal", "autocompress-artifacts")
"""A run may leave the database in which it would have kept the study."""
_LONGEST = 3_000
"""Characters of a refusal: a page of a terminal."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row. `build` breaks something in the folder; the `command` then ends with `code` and `says` all these words.

    `leaves` are files and folders that the command may add; whatever was there stays as it was. A row with a `prefix`
    runs in a process of its own, started with these words before the program's; so does one with a `user`, the number
    of whom it becomes where the tests are root's.
    """

    name: str
    build: Callable[[Path], object]
    command: str
    code: int
    says: tuple[str, ...]
    given: Given = "project"
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    user: int | None = None
    leaves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def nothing(_: Path) -> None:
    """What a row builds whose command line or environment is what is broken."""


def snapshot(folder: Path) -> dict[str, str]:
    """Everything under a folder by its path: kind, mode, and the digest of its content. Links are not followed."""
    return {path.relative_to(folder).as_posix(): _told(path) for path in sorted(folder.rglob("*"))}


def faults(row: Broken, ended: Ended, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Everything that is not as documented."""
    said = f"{ended.err}{ended.out}"
    found = [] if ended.code == row.code else [f"exit code {ended.code}, documented is {row.code}"]
    found += [f"does not say {words!r}" for words in row.says if words not in said]
    found += [f"holds {words!r}" for words in _TABOO if words in said]
    if len(said) > _LONGEST:
        found.append(f"says {len(said):,} characters")
    if said.count("error: ") > 1:
        found.append("says more than one error")
    found += [f"lost: {name}" for name in before if name not in after]
    found += [f"changed: {name}" for name in before if name in after and before[name] != after[name]]
    found += [f"left behind: {name}" for name in after if name not in before and not _allowed(name, _may_leave(row))]
    return found


def _allowed(name: str, leaves: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in leaves)


def _may_leave(row: Broken) -> tuple[str, ...]:
    return (*row.leaves, *(_RUN_LEAVES if row.command.startswith("run ") else ()))


def _told(path: Path) -> str:
    status = path.lstat()
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    mode = stat.filemode(status.st_mode)
    return f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else mode
