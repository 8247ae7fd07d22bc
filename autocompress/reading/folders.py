"""Which files a source consists of, and which split they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast, get_args

from autocompress.core.data_spec import TextFormat
from autocompress.errors import SpecError
from autocompress.reading.columnar import read_arrow, read_parquet
from autocompress.reading.conll import read_conll
from autocompress.reading.content import read_text, suffixes
from autocompress.reading.delimited import read_delimited
from autocompress.reading.json_rows import read_json, read_json_lines
from autocompress.reading.layout import Layout, Table
from autocompress.reading.lines import read_lines

_BY_SUFFIX: Final[Mapping[str, TextFormat]] = {
    **{name: cast(TextFormat, name) for name in get_args(TextFormat) if name != "lines"},
    "ndjson": "jsonl",
    "tab": "tsv",
    "pq": "parquet",
    "feather": "arrow",
    "bio": "conll",
    "iob": "conll",
    "iob2": "conll",
}
_LINES: Final = ("txt", "text")
_IMAGES: Final = frozenset(
    (
        *("avif", "bmp", "gif", "heic", "heif", "ico", "jfif", "jp2", "jpeg", "jpg"),
        *("pgm", "png", "pnm", "ppm", "svg", "tga", "tif", "tiff", "webp"),
    )
)
"""Endings of names of images; those of some that cannot be read here are told, not passed over."""
_RECORDINGS: Final = frozenset(
    (
        *("aac", "aif", "aifc", "aiff", "amr", "au", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "ra", "snd"),
        *("spx", "wav", "wave", "weba", "wma"),
    )
)
"""The same of recordings."""
_ABOUT: Final = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}
"""What the `datasets` library writes beside data."""

_SPLITS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}

_TEXT_READERS: Final[Mapping[TextFormat, Callable[[Layout, Path, str], Table]]] = {
    "lines": read_lines,
    "jsonl": read_json_lines,
    "json": read_json,
    "conll": read_conll,
    "csv": lambda layout, path, content: read_delimited(layout, path, content, usual=","),
    "tsv": lambda layout, path, content: read_delimited(layout, path, content, usual="\t"),
}
_READERS: Final[Mapping[TextFormat, Callable[[Layout, Path], Table]]] = {"parquet": read_parquet, "arrow": read_arrow}


@dataclass(frozen=True, slots=True)
class Found:
    """Files by the split they hold, `all` where they do not say; `notes` tell what was left unread."""

    files: Mapping[str, list[Path]]
    notes: list[str] = field(default_factory=list)


def split_named(name: str) -> str | None:
    """The split that a name says: `dev-00000-of-00002` is one of validation."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def find_files(layout: Layout, path: Path) -> Found:
    """Raises SpecError when a folder holds nothing that can be read, or files in several formats."""
    if not path.is_dir():
        return Found({"all": [path]})
    if (path / "dataset_dict.json").is_file():
        return _saved_splits(path)
    if (path / "state.json").is_file():
        return Found({"all": _saved_files(path)})
    return _loose_files(layout, path)


def read_file(layout: Layout, path: Path) -> Table:
    """Raises SpecError when it cannot be read as it is said to be."""
    form = layout.format or _format(layout, path)
    if form == "conll" and not layout.tagged:
        raise SpecError(
            f"{path}: has a tag for each word, and the task wants a label for each text; `task.kind: "
            "token-classification` reads it"
        )
    if form in _READERS:
        return _READERS[form](layout, path)
    return _TEXT_READERS[form](layout, path, read_text(path, encoding=layout.encoding, key=layout.key))


def _format(layout: Layout, path: Path) -> TextFormat:
    suffix = suffixes(path)[0]
    if suffix in ("xlsx", "xls", "xlsm", "ods"):
        raise SpecError(
            f"{path}: this is a workbook; save its sheet as `CSV UTF-8`, or give it from Python: "
            "autocompress.run(STUDY, data=pandas.read_excel(...))"
        )
    if suffix in _LINES and layout.pattern is not None:
        return "lines"
    if suffix not in _BY_SUFFIX:
        allowed = ", ".join(get_args(TextFormat))
        raise SpecError(f"{path}: its name does not say its format; set `{layout.key}.format` (allowed: {allowed})")
    return _BY_SUFFIX[suffix]


def _saved_splits(path: Path) -> Found:
    """What `DatasetDict.save_to_disk` leaves."""
    names = [str(name) for name in _json(path / "dataset_dict.json").get("splits", [])]
    files: dict[str, list[Path]] = {}
    unread = []
    for name in names:
        split = split_named(name)
        if split is None or split in files:
            unread.append(name)
        else:
            files[split] = _saved_files(path / name)
    if "train" not in files:
        raise SpecError(
            f"{path}: none of its splits is called train (there are {', '.join(names) or 'none'}); name the folder of "
            "one: `train: {path: FOLDER/SPLIT}`"
        )
    return Found(files, [f"{path}: splits that are not read: {', '.join(unread)}"] if unread else [])


def _saved_files(path: Path) -> list[Path]:
    """What `Dataset.save_to_disk` leaves."""
    state = _json(path / "state.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise SpecError(f"{path}: was saved with a selection of its rows; save it once more with a newer `datasets`")
    return [path / str(one["filename"]) for one in state.get("_data_files", [])]


def _json(path: Path) -> Mapping[str, list[Mapping[str, object]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not readable as the `datasets` library writes it: {error}") from error
    return found if isinstance(found, dict) else {}


def _loose_files(layout: Layout, path: Path) -> Found:
    names = sorted(
        inside
        for inside in path.rglob("*")
        if inside.is_file() and not any(part.startswith(".") for part in inside.relative_to(path).parts)
    )
    files = [name for name in names if name.name not in _ABOUT and _is_asked(layout, name)]
    if not files:
        listed = ", ".join(name.relative_to(path).as_posix() for name in names[:5]) or "nothing"
        other = "; images are read by `task.kind: image-classification`" if any(map(is_picture, names)) else ""
        if any(map(is_recording, names)):
            other = "; recordings are read by `task.kind: audio-classification`"
        raise SpecError(
            f"{path}: a folder without a file that can be read as {layout.format or 'a table'} (it holds {listed}); "
            f"name a file with `{layout.key}.source.member`, or set `{layout.key}.format`{other}"
        )
    formats = {known_format(name) for name in files}
    if not layout.format and len(formats) > 1:
        told = ", ".join(sorted(map(str, formats)))
        raise SpecError(f"{path}: holds files in several formats ({told}); say which with `{layout.key}.format`")
    by_split: dict[str | None, list[Path]] = {}
    for name in files:
        by_split.setdefault(_split_of(name.relative_to(path)), []).append(name)
    unnamed = by_split.pop(None, [])
    if not by_split:
        return Found({"all": unnamed})
    if "train" not in by_split:
        return Found({"all": files})  # a folder that is one split
    shown = ", ".join(name.name for name in unnamed[:5])
    return Found(
        {name: found for name, found in by_split.items() if name},
        [f"{path}: files that say no split and are not read: {shown}"] if unnamed else [],
    )


def is_picture(path: Path) -> bool:
    """Whether a file is taken for an image, by its name."""
    return path.suffix[1:].lower() in _IMAGES


def is_recording(path: Path) -> bool:
    """Whether a file is taken for a recording, by its name."""
    return path.suffix[1:].lower() in _RECORDINGS


def is_table(path: Path) -> bool:
    """Whether a file is one that tables are read from, by its name."""
    return path.is_file() and path.name not in _ABOUT and known_format(path) is not None


def _split_of(path: Path) -> str | None:
    """A file's own name counts before that of its folder."""
    return next((split for part in reversed(path.parts) if (split := split_named(part))), None)


def known_format(path: Path) -> TextFormat | None:
    """The format that a name says."""
    return _BY_SUFFIX.get(suffixes(path)[0])


def _is_asked(layout: Layout, path: Path) -> bool:
    """Whether a file may be in the format that the study says, if it says one."""
    is_lines = layout.pattern is not None and suffixes(path)[0] in _LINES
    if layout.format is None:
        return known_format(path) is not None or is_lines
    return is_lines if layout.format == "lines" else known_format(path) == layout.format
