"""Where the program's words end up: terminals that cannot print every character, and eyes that may not see secrets."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from autocompress.core.secrets import masked

_PLAINER: Final = {
    "≤": "<=", "≥": ">=", "≈": "~", "…": "...", "·": "-", "•": "*", "−": "-", "–": "-", "—": "-", "×": "x", "→": "->",
    "←": "<-", "±": "+/-", "µ": "u", "“": '"', "”": '"', "‘": "'", "’": "'", "✓": "ok", "✗": "x", "°": "deg", "²": "2",
    "⁹": "9", "●": "*", "├": "+", "└": "+", "Δ": "d", "◆": "*", "▲": "^", "▼": "v", "█": "#", "─": "-", "│": "|",
}  # fmt: skip
_HANDLER: Final = "autocompress.plainer"
_LONG: Final = 8
"""Characters of a secret that no data hold by chance."""


@contextlib.contextmanager
def careful_streams(secrets: set[str]) -> Iterator[None]:
    """While it lasts, stdout and stderr replace what they cannot encode, and mask secrets."""
    before = sys.stdout, sys.stderr
    codecs.register_error(_HANDLER, _plainer)
    sys.stdout, sys.stderr = (_encodable(stream) for stream in before)
    if secrets:
        # of data on stdout, only what cannot be there by chance: a password of `12` would turn numbers into asterisks
        sys.stdout = _Masking(sys.stdout, {one for one in secrets if len(one) >= _LONG and not one.isdecimal()})
        sys.stderr = _Masking(sys.stderr, secrets)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: the nearest ASCII, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAINER.get(one, "?") for one in error.object[error.start : error.end]), error.end


def _encodable(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before we began, as in `>&-`
        return open(os.devnull, "w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=_HANDLER)
    return stream


class _Masking:
    """A stream that masks secrets in whatever is written to it."""

    def __init__(self, stream: TextIO, secrets: set[str]) -> None:
        self._stream, self._secrets = stream, secrets

    def write(self, text: str) -> int:
        self._stream.write(masked(text, self._secrets))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
