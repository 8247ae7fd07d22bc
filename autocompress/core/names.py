"""Where studies, spaces and device profiles are found.

A reference is a name or a path. Names are looked up in two places, the first wins:

1. the folder of the kind (`studies/`, `search_spaces/`, `hardware_profiles/`) under the current directory;
2. what ships with autocompress: `autocompress/_yaml/` in an installed package, the repository's folders in a checkout.

A file in a folder of the kind's folder is named with it: `benchmarks/pareto`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import autocompress
from autocompress.core.paths import expanded
from autocompress.errors import NotFoundError, did_you_mean

Kind = Literal["study", "space", "device"]

FOLDERS: dict[Kind, str] = {"study": "studies", "space": "search_spaces", "device": "hardware_profiles"}

_WORDS: dict[Kind, str] = {"study": "study", "space": "search space", "device": "device profile"}
_SUFFIXES = (".yaml", ".yml")
_log = logging.getLogger(__name__)


def named(kind: Kind) -> dict[str, Path]:
    """Every name of a kind that can be used from the current directory, with its file."""
    shipped = _files(_shipped() / FOLDERS[kind])
    own = _files(Path.cwd() / FOLDERS[kind])
    for name in sorted(set(shipped) & set(own)):
        if not own[name].samefile(shipped[name]):
            _log.info("%s: used instead of the %s of that name that ships with autocompress", own[name], _WORDS[kind])
    return dict(sorted((shipped | own).items()))


def locate(kind: Kind, ref: str | Path, *, base: Path | None = None) -> Path:
    """The file that a name or a path means; paths are relative to `base`, by default the current directory.

    A text is a path when it ends in .yaml or .yml, or when no name but a file fits it. Raises NotFoundError.
    """
    path = (base or Path.cwd()) / expanded(ref)
    is_path = isinstance(ref, Path) or str(ref).endswith(_SUFFIXES)
    if is_path:
        if path.is_file():
            return _short(path)
        raise NotFoundError(f"{_short(path)}: no such file")
    names = named(kind)
    if str(ref) in names:
        return _short(names[str(ref)])
    if path.is_file():
        return _short(path)
    raise NotFoundError(f"no {_WORDS[kind]} is called {str(ref)[:200]!r}; {did_you_mean(str(ref), names)}")


def _shipped() -> Path:
    package = Path(autocompress.__path__[0])
    return package / "_yaml" if (package / "_yaml").is_dir() else package.parent


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and path.is_file()
    }


def _short(path: Path) -> Path:
    """Relative when it lies under the current directory: what a message shows is what the user typed."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
