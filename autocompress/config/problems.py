"""Every mistake found in one document, each with file, line and path."""

from __future__ import annotations

import re
from typing import Any

from autocompress.config.document import Document, Place
from autocompress.errors import SpecError

_PLAIN_KEY = re.compile(r"[\w./*-]{1,80}")


class Problems:
    """Collects; the first problem of a place stands, and nothing is said about what lies inside a broken value."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[Place, str] = {}
        self._elsewhere: list[str] = []
        for place, message in document.flaws:
            self.add(place, message)

    def add(self, place: Place, message: str) -> None:
        if not self.knows(place):
            self._found[place] = message

    def include(self, lines: tuple[str, ...] | list[str]) -> None:
        """Problems of another document that this one names."""
        self._elsewhere.extend(lines)

    def knows(self, place: Place) -> bool:
        """Whether the place, or something around it, is already reported."""
        return any(place[:end] in self._found for end in range(1, len(place) + 1)) or (not place and () in self._found)

    def knows_inside(self, place: Place) -> bool:
        """Whether something within the place is already reported."""
        return any(found[: len(place)] == place for found in self._found)

    def __bool__(self) -> bool:
        return bool(self._found or self._elsewhere)

    def lines(self) -> list[str]:
        """One line each, in the order of the file."""
        ordered = sorted(self._found.items(), key=lambda item: self._document.line(item[0]) or 0)
        return [self._line(place, message) for place, message in ordered] + self._elsewhere

    def raise_any(self) -> None:
        """Raises SpecError with every problem, if there is one."""
        if self:
            raise SpecError(*self.lines())

    def _line(self, place: Place, message: str) -> str:
        number = self._document.line(place)
        where = self._document.source if number is None else f"{self._document.source}:{number}"
        return f"{where}: {spelled(place)}: {message}" if place else f"{where}: {message}"


def spelled(place: Place) -> str:
    """`steps[1].knobs.bits`; keys that could confuse a terminal are quoted."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else repr(part[:80]))
    return text


def shown(value: Any) -> str:
    """A value as a message shows it: short, quoted, in YAML's words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:57]}..."
