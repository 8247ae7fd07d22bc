"""What studies leave on the disk beside their results, and how to free it.

A finished study needs no training checkpoints; caches are made anew, or fetched again, when something asks for them.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autocompress.assets import cache_folder
from autocompress.errors import HostError
from autocompress.store import Store

logger = logging.getLogger(__name__)

_WORK: Final = ("training", "exports")
"""Folders of a study that only its run needs."""

_CACHES: Final = {
    "teachers": "fine-tuned teachers",
    "baselines": "exported teachers",
    "shapes": "exports of uncompressed models that `verify` times files beside",
    "elastic": "elastic models",
    "importance": "importance scores",
    "forms": "which form of graphs is faster here",
    "profiles": "measurements of this machine",
    "members": "fetched models and data",
    "wheels": "fetched packages",
    "converted": "converted checkpoints",
    "digests": "what these held when they were made",
}
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_STALE_SECONDS: Final = 86400.0
"""A draft that nobody wrote to for a day is nobody's any more."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files that may go: what they are, where, how many bytes they take."""

    what: str
    path: Path
    bytes: int


def work_of(store: Store, name: str) -> list[Leftover]:
    """The training checkpoints and drafts of a study."""
    folder = store.folder(name)
    return _sized((f"training checkpoints of {name!r}", folder / part) for part in _WORK)


def files_of(store: Store, name: str) -> list[Leftover]:
    """All that a study has on the disk, its verified models too; nothing where models lie among it that this database
    does not know: then the folder is also that of a study in another one."""
    own = {one.candidate.digest for one in store.finalists(name)}
    if {path.name for path in _inside(store.folder(name)) if _DIGEST.fullmatch(path.name)} - own:
        return []
    return _sized([(f"files of {name!r}", store.folder(name))])


def of_finished_studies(store: Store) -> list[Leftover]:
    return [one for study in store.studies() if study.state == "complete" for one in work_of(store, study.name)]


def orphans(store: Store) -> list[Leftover]:
    """Folders among the artifacts that no study of this database has. They may be another database's."""
    known = {store.folder(study.name).name for study in store.studies()}
    found = [path for path in _inside(store.artifacts) if path.name not in known and not path.name.startswith(".")]
    return _sized(("files of no study in this database", path) for path in found)


def drafts(store: Store) -> list[Leftover]:
    """Hidden drafts of what was killed while it was written, and trainings of teachers that nobody went on with."""
    folders = [store.artifacts, *(path for path in _inside(store.artifacts) if path.is_dir())]
    found = [path for folder in folders for path in _inside(folder) if path.name.startswith(".")]
    places = [path for path in found if path.suffix == ".part"]
    places += [path for kind in _CACHES for path in _inside(cache_folder() / kind) if _is_draft(path)]
    places += _inside(cache_folder() / "partial")
    return _sized(("a draft that was never finished", path) for path in places if _is_stale(path))


def caches() -> list[Leftover]:
    return _sized((what, cache_folder() / kind) for kind, what in _CACHES.items())


def free(leftover: Leftover) -> None:
    """Deletes it; links in it are not followed. Raises HostError when that is not allowed."""
    try:
        if leftover.path.is_symlink() or leftover.path.is_file():
            leftover.path.unlink()
        else:
            shutil.rmtree(leftover.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"{leftover.path}: cannot be deleted: {error.strerror or error}") from error


def _is_draft(path: Path) -> bool:
    return path.suffix in (".part", ".training") or ".part." in path.name or path.name.startswith(".new-")


def _is_stale(path: Path) -> bool:
    try:
        newest = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except OSError:
        return False
    return time.time() - newest > _STALE_SECONDS


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder that is no link."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _sized(found: Iterator[tuple[str, Path]] | list[tuple[str, Path]]) -> list[Leftover]:
    sized = [Leftover(what, path, _bytes(path)) for what, path in found if os.path.lexists(path)]
    return [one for one in sized if one.bytes or not one.path.is_dir()]


def _bytes(path: Path) -> int:
    """What lies under a path, links counted as themselves."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total
