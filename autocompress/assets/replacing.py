"""What a user's `--out` may replace: an earlier export of ours, a file of ours, and nothing else.

Every folder and file that is named on the command line or in Python is written through `new_export` or `write_file`.
Nothing of the user's goes: what was added to an earlier export is carried over into the new one, what was edited there
is kept beside it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from autocompress.assets.digests import file_digest
from autocompress.assets.places import refuse_place
from autocompress.assets.trees import Found, carry, found_in, is_file_in, remove_known
from autocompress.assets.writing import filled_folder, swap_in
from autocompress.core.refusals import host_errors
from autocompress.errors import HostError, SpecError

logger = logging.getLogger(__name__)

MANIFEST, BUNDLE, CARD = "manifest.json", "bundle.json", "README.md"
_MOST_BYTES: Final = 64 * 2**20
_REMOVABLE: Final = frozenset({"config.json", "weights.safetensors", "model.safetensors.index.json"})
"""The torch form, which an export answers without."""
_EDITED: Final = ".edited"
_HEAD: Final = 4096
_TAIL: Final = 2**20
"""What a parquet file says of itself stands at its end, behind a schema of all its columns."""
_NAMED: Final = 5
"""As many files are named in a message."""


_PICTURES: Final = (
    b"Software\0autocompress",
    # before pictures named their maker, they said only what they show
    *(
        b"Description\0" + begin
        for begin in (
            b"Pareto front of the study ",
            b"Profile of the device ",
            b"Importance of heads and layers, ",
            b"Attention of teacher and student, ",
            b"Time of parts beside the machine's ceiling, ",
        )
    ),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How a file of ours is known by its first bytes, or by its last where it is so (`at_end`), its `form` and suffix,
    and which suffixes it does not have."""

    what: str
    is_ours: Callable[[bytes], bool]
    form: str = ""
    suffix: str = ""
    suffixes_of_others: frozenset[str] = frozenset()
    at_end: bool = False


_PICTURED: Final = frozenset({".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".webp", ".bmp", ".tif", ".tiff", ".eps"})
_WRITTEN: Final = frozenset(
    {".csv", ".json", ".md", ".parquet", ".txt", ".yaml", ".yml", ".db", ".onnx", ".safetensors", ".py"}
)
PAGE: Final = Mark(
    "a page of autocompress",
    lambda head: "· autocompress</title>".encode() in head,
    "an HTML page",
    ".html",
    _PICTURED | _WRITTEN | {".png"},
)
PICTURE: Final = Mark(
    "a picture of autocompress",
    lambda head: head.startswith(b"\x89PNG") and any(b"tEXt" + mark in head for mark in _PICTURES),
    "a PNG",
    ".png",
    _PICTURED | _WRITTEN | {".html", ".htm"},
)
_OTHERS: Final = _PICTURED | _WRITTEN | {".png", ".html", ".htm"}
SHEET: Final = Mark(
    "a table of autocompress",
    lambda head: head.startswith(b"study,number,digest,state,on_front,knee,"),
    "a CSV",
    ".csv",
    _OTHERS - {".csv", ".txt"},
)
DOCUMENT: Final = Mark(
    "a Markdown document of autocompress",
    lambda head: head.startswith(b"<!-- autocompress: "),
    "Markdown",
    ".md",
    _OTHERS - {".md", ".txt"},
)
JSON: Final = Mark(
    "a JSON document of autocompress",
    lambda head: b'"schema": "autocompress.' in head,
    "JSON",
    ".json",
    _OTHERS - {".json", ".txt"},
)
PARQUET: Final = Mark(
    "a parquet file of autocompress",
    lambda tail: tail.endswith(b"PAR1") and b'"made_by": "autocompress"' in tail,
    "a parquet file",
    ".parquet",
    _OTHERS - {".parquet"},
    at_end=True,
)
MEASUREMENTS: Final = Mark(
    "measurements of autocompress", lambda head: b'"schema": "autocompress.measurements/' in head
)


@contextlib.contextmanager
def new_export(path: Path, *, keep: Sequence[Path] = ()) -> Iterator[Path]:
    """A temporary sibling to fill; it becomes `path` when the block ends well, in the place of an earlier export.

    `keep` are files and folders of the program itself (the study database, its artifacts) that `path` may neither be
    nor hold nor lie in. Raises SpecError, having touched nothing, when `path` holds anything but an earlier export, and
    HostError when it cannot be written.
    """
    earlier_export(path, keep=keep)
    with _in_words(path), filled_folder(path) as draft:
        yield draft
        listed = earlier_export(path, keep=keep)  # again: somebody may have worked there meanwhile
        if listed is None:
            swap_in(draft, path)
            return
        before = found_in(path)
        notes = carry(before, _moves(path, listed, before, draft), draft)
        old = swap_in(draft, path)
        left = remove_known(old, before) if old else []
    for note in notes:
        logger.warning("%s: %s", path, note)
    if left:
        logger.warning("%s: changed while it was replaced; what was left is kept in %s", path, old)


def earlier_export(path: Path, *, keep: Sequence[Path] = ()) -> Mapping[str, str] | None:
    """The files of the export that stands at `path`, by their SHA-256; None where nothing stands, or an empty folder.

    Raises SpecError when anything else does.
    """
    refuse_place(path, keep=keep)
    if not path.exists():
        return None
    with _in_words(path):
        if not any(path.iterdir()):
            return None
        listed = _listed(path)
    if listed is None:
        raise SpecError(
            f"{path}: exists, is not empty and is no earlier export (no {MANIFEST} or {BUNDLE} of ours), so it is left "
            "as it is; choose another folder"
        )
    missing = [name for name in listed if PurePosixPath(name).name not in _REMOVABLE and not is_file_in(path, name)]
    if missing:
        raise SpecError(
            f"{path}: no whole earlier export: it lists {_some(missing)}, which is not there, so it is left as it is; "
            "choose another folder"
        )
    return listed


def check_file(path: Path, mark: Mark, *, keep: Sequence[Path] = ()) -> None:
    """Raises SpecError when `path` is not free, and holds no file of ours that may be replaced. Devices and pipes are
    written to as they are."""
    if path.suffix.lower() in mark.suffixes_of_others:
        named = path.with_suffix(mark.suffix).name
        raise SpecError(f"{path}: {mark.form} is written, not a {path.suffix[1:]} file; name it {named}")
    if _is_stream(path):
        return
    refuse_place(path, keep=keep, is_file=True)
    with _in_words(path):
        if not path.exists() or path.stat().st_size == 0:
            return
        with path.open("rb") as file:
            if mark.at_end:
                file.seek(max(0, path.stat().st_size - _TAIL))
                seen = file.read(_TAIL)
            else:
                seen = file.read(_HEAD)
    if not mark.is_ours(seen):
        raise SpecError(f"{path}: exists and is not {mark.what}, so it is left as it is; choose another name")


def write_file(path: Path, content: bytes | str, mark: Mark, *, keep: Sequence[Path] = ()) -> None:
    """Writes a file that appears whole or not at all, where `check_file` allows it. Raises SpecError or HostError."""
    check_file(path, mark, keep=keep)
    given = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with _in_words(path):
        if _is_stream(path):
            path.write_bytes(given)
            return
        temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
        try:
            with temporary.open("xb") as file:
                file.write(given)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Whatever the operating system refuses, as a HostError that names the file."""
    try:
        with host_errors(path):
            yield
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror or error}") from error


def _listed(folder: Path) -> dict[str, str] | None:
    """The files that a manifest, or a bundle's list, of ours names; None where there is none."""
    for name, is_ours in ((MANIFEST, _is_manifest), (BUNDLE, _is_bundle)):
        tree = _json(folder / name)
        if tree is None or not is_ours(tree) or not isinstance(tree.get("files"), dict):
            continue
        files = tree["files"]
        if files and all(_is_relative(one) and isinstance(digest, str) for one, digest in files.items()):
            return {**files, name: file_digest(folder / name)}
    return None


def _is_manifest(tree: Mapping[str, Any]) -> bool:
    return isinstance(tree.get("format"), int) and {"study", "digest", "task", "metrics"} <= tree.keys()


def _is_bundle(tree: Mapping[str, Any]) -> bool:
    return str(tree.get("schema", "")).startswith("autocompress.bundle/")


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object in a file of the folder itself, of a size that a list of files has."""
    try:
        known = path.lstat()
        if not stat.S_ISREG(known.st_mode) or known.st_size > _MOST_BYTES:
            return None
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def _is_relative(name: object) -> bool:
    return isinstance(name, str) and bool(name) and not name.startswith("/") and ".." not in PurePosixPath(name).parts


def _moves(path: Path, listed: Mapping[str, str], before: Mapping[str, Found], draft: Path) -> dict[str, str]:
    """Where what the user added or edited goes: old name -> new name. What was added keeps its place, unless the new
    export has a file there."""
    new = {inside.relative_to(draft).as_posix() for inside in draft.rglob("*")}
    moves: dict[str, str] = {}
    for name, one in before.items():
        if name in listed and one.is_file and file_digest(path / name) == listed[name]:
            continue
        if name not in listed and name not in new:
            moves[name] = name
            continue
        number, free = 1, f"{name}{_EDITED}"
        while free in new or free in before or free in moves.values():
            number += 1
            free = f"{name}{_EDITED}{number}"
        moves[name] = free
    return moves


def _is_stream(path: Path) -> bool:
    """/dev/stdout, a terminal, a pipe: nothing is replaced there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    within = os.path.abspath(path)
    return within.startswith(("/dev/std", "/dev/fd/", "/proc/self/fd/")) or not (
        stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
