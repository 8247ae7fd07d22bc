"""What stands in a folder, taken along into the next one, and removed once it stands there."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autocompress.assets.digests import file_digest
from autocompress.errors import IntegrityError, SpecError


@dataclass(frozen=True, slots=True)
class Found:
    """A file, a link or an empty folder as it was seen, so that a later one of its name is told apart."""

    path: Path
    is_file: bool
    signature: tuple[int, int, int]


def found_in(folder: Path) -> dict[str, Found]:
    """Everything in a folder but the folders that hold something, by its name from there.

    Raises SpecError where another file system is mounted inside: what is there is not the folder's own.
    """
    return {one.path.relative_to(folder).as_posix(): one for one in _walk(folder, folder.stat().st_dev)}


def _walk(folder: Path, device: int) -> Iterator[Found]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        known, path = entry.stat(follow_symlinks=False), Path(entry.path)
        if not stat.S_ISDIR(known.st_mode):
            yield Found(path, stat.S_ISREG(known.st_mode), _signature(known))
        elif known.st_dev != device or os.path.ismount(path):
            raise SpecError(f"{path}: another file system is mounted here, so nothing above it is replaced")
        elif os.listdir(path):
            yield from _walk(path, device)
        else:
            yield Found(path, False, _signature(known))


def carry(before: Mapping[str, Found], moves: Mapping[str, str], draft: Path) -> list[str]:
    """Puts what `moves` names into `draft`, under its new name; the old one stays where it is. Returns what to say of
    it, a line for what keeps its name and one for each that got another.

    A file is linked, not copied, where that is possible: it keeps its time, mode and owner, and takes no room.
    """
    for old, new in moves.items():
        place = draft / new
        place.parent.mkdir(parents=True, exist_ok=True)
        source = before[old].path
        if source.is_dir() and not source.is_symlink():
            place.mkdir(exist_ok=True)
            continue
        try:
            os.link(source, place, follow_symlinks=False)
        except OSError:  # no links on this file system, or not to this file
            shutil.copy2(source, place, follow_symlinks=False)
    same = sorted(old for old, new in moves.items() if old == new)
    shown = ", ".join(same[:5]) + (f" and {len(same) - 5} more" if len(same) > 5 else "")
    said = [f"kept what is not of the export: {shown}"] if same else []
    return said + [f"kept {old}, edited since it was exported, as {new}" for old, new in moves.items() if old != new]


def remove_known(folder: Path, before: Mapping[str, Found]) -> list[str]:
    """Removes what was seen in a folder that has moved since, and the folder; returns the names of what is newer than
    that, and stays."""
    left = []
    for name, one in before.items():
        place = folder / name
        try:
            known = place.lstat()
            if _signature(known) != one.signature:
                left.append(name)
            elif stat.S_ISDIR(known.st_mode):
                place.rmdir()
            else:
                place.unlink()
        except OSError:
            left.append(name)
    for inside, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inside)
        except OSError:
            left.append(Path(inside).name)
    return left


def copy_listed(source: Path, target: Path, files: Mapping[str, str]) -> None:
    """Copies the named files and nothing else into an existing folder, each readable as the umask says. What arrives is
    what counts: raises IntegrityError for a copy without its SHA-256, and for a link, wherever it leads."""
    for name, digest in files.items():
        place = target / name
        if not is_file_in(source, name):
            raise IntegrityError(f"{source / name}: missing, or a link; only files of the folder itself are exported")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, place, follow_symlinks=False)
        if (found := file_digest(place)) != digest:
            raise IntegrityError(
                f"{source / name}: changed since it was stored (SHA-256 {found[:12]}, expected {digest[:12]})"
            )


def is_file_in(folder: Path, name: str) -> bool:
    """Whether it is a file of the folder itself, with no link on the way."""
    place = folder
    for part in PurePosixPath(name).parts:
        place /= part
        if place.is_symlink():
            return False
    return place.is_file()


def _signature(known: os.stat_result) -> tuple[int, int, int]:
    return known.st_ino, known.st_size, known.st_mtime_ns
