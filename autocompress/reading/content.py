"""What a file holds, as characters: unpacked, decoded, and told where it is something else than text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from autocompress.errors import HostError, SpecError

_ZSTD: Final = "zst"
PACKED: Final = ("gz", "bz2", "xz", _ZSTD, "zip")

_MARKS: Final = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_STRANGE: Final = {
    b"PAR1": "a parquet file; set `{key}.format: parquet`",
    b"ARROW1": "an arrow file; set `{key}.format: arrow`",
    b"PK\x03\x04": "a zip archive or an Excel workbook; save a workbook as `CSV UTF-8`, name an archive .zip",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as `CSV UTF-8`",
    b"\x1f\x8b": "packed with gzip; name it .gz",
    b"BZh": "packed with bzip2; name it .bz2",
    b"\xfd7zXZ": "packed with xz; name it .xz",
    b"\x28\xb5\x2f\xfd": "packed with zstandard; name it .zst",
    b"version https://git-lfs": "a Git LFS pointer, not the file; fetch it with `git lfs pull`",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"SQLite format 3": "a database; export the table as csv",
    b"%PDF": "a PDF; export its table as csv",
}


def suffixes(path: Path) -> tuple[str, str]:
    """What a name says of its content and its packing: ("csv", "gz"), lower-case; empty where it says nothing."""
    found = [suffix[1:].lower() for suffix in path.suffixes[-2:]]
    packed = found.pop() if found and found[-1] in PACKED else ""
    return (found[-1] if found else ""), packed


def read_text(path: Path, *, encoding: str, key: str) -> str:
    """The characters of a file. Raises SpecError when it is not what its name says, or no text in this encoding, and
    HostError when it cannot be read."""
    content = _unpacked(path)
    strange = next((words for start, words in _STRANGE.items() if content.startswith(start)), None)
    if strange:
        raise SpecError(f"{path}: this is {strange.format(key=key)}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), encoding)
    try:
        text = content.decode(encoding)
    except LookupError:
        raise SpecError(f"{path}: no encoding is called {encoding!r}; set `{key}.encoding`, such as cp1252") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{path}:{line}: not readable as {encoding}: byte 0x{content[error.start]:02x} ({error.reason}); set "
            f"`{key}.encoding`, in Western Europe cp1252 or latin-1"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpecError(
            f"{path}:{line}: holds a NUL character, which no text does; if it is UTF-16 set `{key}.encoding: utf-16-le`"
        )
    return text.removeprefix("\ufeff")


def _unpacked(path: Path) -> bytes:
    packed = suffixes(path)[1]
    try:
        content = path.read_bytes()
        return _UNPACK[packed](content, path) if packed else content
    except OSError as error:
        if error.strerror is None:  # gzip's and bz2's own
            raise SpecError(f"{path}: not packed as its name says, or not whole: {error}") from error
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    except (EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise SpecError(f"{path}: not packed as its name says, or not whole: {error}") from error


def _from_zip(content: bytes, path: Path) -> bytes:
    import io

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise SpecError(f"{path}: holds {len(names)} files; unpack it, and name the one that is meant")
        return archive.read(names[0])


def _from_zstd(content: bytes, _: Path) -> bytes:
    import pyarrow

    with pyarrow.input_stream(pyarrow.py_buffer(content), compression="zstd") as stream:
        unpacked: bytes = stream.read()
    return unpacked


_UNPACK: Final[dict[str, Callable[[bytes, Path], bytes]]] = {
    "gz": lambda content, _: gzip.decompress(content),
    "bz2": lambda content, _: bz2.decompress(content),
    "xz": lambda content, _: lzma.decompress(content),
    _ZSTD: _from_zstd,
    "zip": _from_zip,
}
