"""The front of a study as files: one list of forms, which `report`, `pareto` and Python write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from autocompress.assets import DOCUMENT, JSON, PAGE, PARQUET, PICTURE, SHEET, Mark, check_file, write_file
from autocompress.errors import SpecError
from autocompress.report.front import FrontReport
from autocompress.report.html import as_html
from autocompress.report.markdown import as_markdown
from autocompress.report.png import as_png
from autocompress.report.spreadsheet import as_csv, as_parquet

FormName = Literal["html", "png", "csv", "parquet", "markdown", "json"]
FORMS: Final[tuple[FormName, ...]] = get_args(FormName)

TextForm = Literal["csv", "markdown", "json"]
"""Forms that are text, and so may go to stdout."""

_SIGNED: Final = "<!-- autocompress: the front of a study -->\n"
"""By which a Markdown file of ours is known; it is not shown."""


@dataclass(frozen=True, slots=True)
class _Form:
    mark: Mark
    write: Callable[[FrontReport, Path], None]


def text_of(report: FrontReport, form: TextForm) -> str:
    """As `pareto` prints it."""
    match form:
        case "csv":
            return as_csv(report)
        case "markdown":
            return as_markdown(report)
        case "json":
            return f"{json.dumps(report.to_json(), indent=2, allow_nan=False)}\n"


def check_files(files: Mapping[FormName, Path], *, keep: Sequence[Path] = ()) -> None:
    """Raises SpecError where a file may not be written, before any is: what stands there is no earlier one of ours, its
    suffix says that it is something else, or two of them are the same."""
    places: dict[Path, str] = {}
    for form, path in files.items():
        check_file(path, _FORMS[form].mark, keep=keep)
        place = path.resolve()
        if place in places:
            raise SpecError(f"--{places[place]} and --{form}: both are to be written to {path}; name two files")
        places[place] = form


def write_files(report: FrontReport, files: Mapping[FormName, Path]) -> list[Path]:
    """Writes each, whole or not at all, and returns their paths in the order given. Raises SpecError as `check_files`
    does, HostError where one cannot be written or drawn."""
    for form, path in files.items():
        _FORMS[form].write(report, path)
    return list(files.values())


def _text(form: TextForm, mark: Mark, before: str = "") -> _Form:
    return _Form(mark, lambda report, path: write_file(path, f"{before}{text_of(report, form)}", mark))


_FORMS: Final[Mapping[FormName, _Form]] = {
    "html": _Form(PAGE, as_html),
    "png": _Form(PICTURE, as_png),
    "csv": _text("csv", SHEET),
    "parquet": _Form(PARQUET, lambda report, path: write_file(path, as_parquet(report), PARQUET)),
    "markdown": _text("markdown", DOCUMENT, _SIGNED),
    "json": _text("json", JSON),
}
