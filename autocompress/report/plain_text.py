"""Text from studies, error messages and files, made safe to show.

A study's description and a worker's error message are input: either may hold escape codes that move a terminal's
cursor, a formula that a spreadsheet runs, or a tag that a browser does.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07|$)"  # operating system commands: titles, links, the clipboard
    r"|\x1b[@-Z\\-_]?",
    re.DOTALL,
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u202a-\u202e\u2066-\u2069\u200e\u200f]"  # these reorder what stands beside them
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(text: object) -> str:
    """The text without terminal escape codes and control characters; line breaks and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", str(text)))


def one_line(text: object, *, width: int = 0) -> str:
    """`plain`, on one line, cut to a width if one is given."""
    line = " ".join(plain(text).split())
    return line if not width or len(line) <= width else f"{line[: width - 1]}…"


def spreadsheet_cell(value: object) -> str:
    """A CSV cell that no spreadsheet takes for a formula (OWASP, "CSV injection"). Numbers stay as they are."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else f"{value:.10g}"
    text = plain(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
