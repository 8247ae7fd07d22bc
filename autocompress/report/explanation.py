"""Why a model looks the way it does, told in sections: each has numbers, a table and a picture of its own.

To add a section: one class with these four, and one line in `autocompress.explain.explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from autocompress.assets import PICTURE, check_file
from autocompress.errors import HostError
from autocompress.report.plain_text import one_line
from autocompress.report.steps import Steps, as_steps

SCHEMA: Final = "autocompress.explanation/1"


NAMES: Final = ("importance", "attention", "parts")
"""Of the sections that there can be."""


class Section(Protocol):
    """One part of an explanation."""

    @property
    def name(self) -> str:
        """The key of its numbers, and the name of its picture's file."""

    def to_json(self) -> Mapping[str, Any]: ...

    def table(self) -> RenderableType:
        """What a terminal shows of it."""

    def draw(self, path: Path, *, heading: Sequence[str]) -> None:
        """Writes the picture. `heading` says of what: a title, and a line in smaller type. Raises HostError."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`member` is the digest of the verified model that is explained, empty while a study has none; `summary` says what
    is left of it, `steps` what each of its steps did. These need no picture."""

    study: str
    member: str
    summary: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    steps: Steps | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            "candidate": self.member or None,
            "summary": self.summary,
            "notes": list(self.notes),
            **({"steps": self.steps.to_json()} if self.steps else {}),
            **{section.name: section.to_json() for section in self.sections},
        }

    def table(self) -> RenderableType:
        """Every section, as a terminal shows it."""
        title = Text.assemble((one_line(self.study), "bold"), f"  {one_line(self._about())}")
        steps = [as_steps(self.steps, matrices=True)] if self.steps else []
        return Group(title, *steps, *(section.table() for section in self.sections))

    def write(self, folder: str | Path) -> list[Path]:
        """A picture a section, NAME.png each. Raises HostError when it cannot be drawn or written."""
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(f"{place}: cannot be made: {error.strerror or error}") from error
        check_pictures(place, [section.name for section in self.sections])
        heading = (one_line(self.study, width=60), one_line(self._about(), width=140))
        paths = [place / f"{section.name}.png" for section in self.sections]
        for section, path in zip(self.sections, paths, strict=True):
            section.draw(path, heading=heading)
        return paths

    def _about(self) -> str:
        return f"{self.member[:8]}: {self.summary}" if self.member else self.summary


def check_pictures(folder: Path, names: Sequence[str] = NAMES) -> None:
    """Raises SpecError when one of the pictures would take the place of another's file."""
    for name in names:
        check_file(folder / f"{name}.png", PICTURE)
