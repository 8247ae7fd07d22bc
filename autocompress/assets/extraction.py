"""One member out of a zip archive that is not trusted."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from autocompress.errors import IntegrityError, NotFoundError, did_you_mean

MAX_BYTES = 8 * 2**30


def extract_member(archive: Path, member: str, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Write a file, or all files of a folder, of a zip archive to `target`.

    Raises NotFoundError when the archive holds no such member, IntegrityError when a file of it is a link, would land
    outside of `target`, or all together claim more than `max_bytes`; zipfile.BadZipFile when the archive is damaged.
    """
    with zipfile.ZipFile(archive) as opened:
        chosen = _members(opened, member.rstrip("/"), archive)
        total = sum(info.file_size for info in chosen.values())
        if total > max_bytes:
            raise IntegrityError(f"{archive.name}: {member} unpacks to {total:,} bytes, allowed are {max_bytes:,}")
        for name, info in chosen.items():
            _refuse_unsafe(name, info, archive)
            place = target / name if name else target
            place.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, place.open("xb") as copy:  # zipfile stops at file_size, checks the CRC
                shutil.copyfileobj(source, copy, 2**20)


def _members(opened: zipfile.ZipFile, member: str, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Name within the target -> entry; the name of a single file is empty."""
    files = [info for info in opened.infolist() if not info.is_dir()]
    for info in files:
        if info.filename == member:
            return {"": info}
    inside = {info.filename[len(member) + 1 :]: info for info in files if info.filename.startswith(f"{member}/")}
    if not inside:
        near = did_you_mean(member, [info.filename for info in files][:20])
        raise NotFoundError(f"{archive.name}: holds no {member!r}; {near}")
    return inside


def _refuse_unsafe(name: str, info: zipfile.ZipInfo, archive: Path) -> None:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise IntegrityError(f"{archive.name}: {info.filename} is a link; links are not unpacked")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise IntegrityError(f"{archive.name}: {info.filename!r} would be written outside of its folder")
