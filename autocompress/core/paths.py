"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from autocompress.errors import SpecError

STORAGE_VARIABLE: Final = "AUTOCOMPRESS_STORAGE"
DEFAULT_STORAGE: Final = "autocompress.db"
"""Where the study database lies, when neither `--storage` nor that variable says."""


def expanded(text: str | Path) -> Path:
    """With `~` and `~user` as the folders they mean. Raises SpecError where there is no such user, or no home."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        named = str(Path(text).parts[0])
        why = "$HOME is not set and this user has none" if named == "~" else f"there is no user {named[1:]!r} here"
        raise SpecError(f"{str(text)[:200]}: {named} means no folder, as {why}; write the folder itself") from error
