"""How the texts of a study are written down, and rows that were read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from autocompress.core.data_spec import DataSpec, TextFormat, TextSpec
from autocompress.core.task_kinds import NOUNS, Modality, Targets
from autocompress.errors import SpecError, did_you_mean

ABSENT: Final = object()
"""The cell of a row that lacks the column."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """How files are laid out. `wanted` are the names of the columns that are read, by the settings that say them; `key`
    is where a study holds these settings. `tagged` where rows are words with a tag each."""

    key: str
    wanted: Mapping[str, str]
    format: TextFormat | None = None
    columns: tuple[str, ...] = ()
    pattern: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quoted: bool | None = None
    ignore: tuple[str, ...] = ()
    tagged: bool = False

    @property
    def modality(self) -> Modality:
        """What the rows are, by the column that holds them."""
        return "image" if "image" in self.wanted else "audio" if "audio" in self.wanted else "text"

    @staticmethod
    def of_labelled(spec: DataSpec, targets: Targets = "class", modality: Modality = "text") -> Layout:
        if modality != "text":
            column = spec.image if modality == "image" else spec.audio
            if column == spec.label:
                raise SpecError(
                    f"task.data.label: {column!r} is the column of {NOUNS[modality]} already; name that of labels"
                )
            return _layout("task.data", {modality: column, "label": spec.label}, spec, spec.pattern, spec.ignore)
        wanted = {"text": spec.text}
        if spec.text_pair is not None:
            wanted["text_pair"] = spec.text_pair
        if spec.text == spec.text_pair:
            raise SpecError(f"task.data.text_pair: {spec.text!r} is the column of first texts; name that of the second")
        if spec.label in wanted.values():
            raise SpecError(f"task.data.label: {spec.label!r} is the column of texts already; name the one of labels")
        wanted["label"] = spec.label
        layout = _layout("task.data", wanted, spec, spec.pattern, spec.ignore)
        return replace(layout, tagged=targets == "tags")

    @staticmethod
    def of_texts(spec: TextSpec) -> Layout:
        return _layout("finalists.transfer.texts", {"text": spec.text}, spec, spec.pattern or "(?P<text>.*)", ())


def _layout(
    key: str, wanted: Mapping[str, str], spec: DataSpec | TextSpec, pattern: str | None, ignore: tuple[str, ...]
) -> Layout:
    form = "lines" if spec.pattern is not None else spec.format
    return Layout(key, wanted, form, spec.columns, pattern, spec.encoding, spec.delimiter, spec.quoted, ignore)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as they were read: `cells` by column, those that are wanted and those that show what else there is.

    `numbers` gives every row's number in the file, in units of `unit`, or its own name where each is a file. It is
    asked for only where something is to be said of a row, as to know it may mean to read the file again.
    """

    where: str
    columns: tuple[str, ...]
    cells: Mapping[str, Sequence[Any]]
    numbers: Callable[[], Sequence[int | str]]
    unit: Literal["line", "row", "file"] = "line"
    notes: tuple[str, ...] = field(default=())

    def told(self, rows: Sequence[int]) -> str:
        """The first of these rows, as a message names them: `lines 3, 4, 5, 6, 7, ...`."""
        numbers = self.numbers()
        shown = ", ".join(str(numbers[row]) for row in rows[:_SHOWN])
        return f"{self.unit}{'s' if len(rows) > 1 else ''} {shown}{', ...' if len(rows) > _SHOWN else ''}"

    def at(self, row: int) -> str:
        """Where one row stands: `texts.csv:3`, or `texts.json: row 3`."""
        number = self.numbers()[row]
        return f"{self.where}:{number}" if self.unit == "line" else f"{self.where}: row {number}"


def check_columns(layout: Layout, where: str, columns: Iterable[str], *, hint: str = "") -> None:
    """Raises SpecError with every column that is wanted and not there, or that two columns may be."""
    names = [str(name) for name in columns]
    problems = [
        f"{where}: no {what} column {name!r}; {did_you_mean(name, filter(None, names))}; "
        f"set `{layout.key}.{what}`{hint}"
        for what, name in layout.wanted.items()
        if name not in names
    ]
    problems += [
        f"{where}: {names.count(name)} columns are called {name!r}; give them different names, or all names with "
        f"`{layout.key}.columns`"
        for name in layout.wanted.values()
        if names.count(name) > 1
    ]
    if problems:
        raise SpecError(*problems)
