"""`check` and `schema`: the YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from autocompress.cli.session import session_of

if TYPE_CHECKING:
    from autocompress.config import Kind


def check(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Studies, search spaces, device profiles.")],
) -> None:
    """Report every mistake in YAML files.

    Exit code 2 when there is one, 3 when a file is missing.
    """
    from autocompress.config import check_file
    from autocompress.errors import AutocompressError
    from autocompress.operators import OPERATORS

    session = session_of(context)
    worst = 0
    for file in files:
        try:
            problems = check_file(file, operators=OPERATORS)
            problems = problems or _of_inputs(file)
            code = 2 if problems else 0
        except AutocompressError as error:  # a missing file must not keep the others from being checked
            problems, code = [str(error)], error.exit_code
        worst = max(worst, code)
        if problems:
            session.text("\n".join(problems))
        else:
            session.say(f"{file}: in order")
    raise typer.Exit(worst)


def _of_inputs(file: Path) -> list[str]:
    """What is wrong with the model and the texts that a sound study names, as far as they lie here."""
    from autocompress.config import is_study, load_study
    from autocompress.operators import OPERATORS

    if not is_study(file):
        return []
    from autocompress.study.preflight import problems_of

    return [f"{file}: {problem}" for problem in problems_of(load_study(file, operators=OPERATORS))]


def schema(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="study, space or device; or the name of what a command prints, as front or pick."
        ),
    ],
) -> None:
    """Print the JSON Schema of a kind of file.

    Of the files that you write, or of the documents that commands print with --json (docs/json.md).
    """
    from autocompress.config import json_schema
    from autocompress.core import names
    from autocompress.errors import SpecError, did_you_mean

    kinds: tuple[Kind, ...] = get_args(names.Kind)
    for known in kinds:
        if kind == known:
            session_of(context).json(json_schema(known))
            return
    from autocompress.report.json_forms import DOCUMENTS

    if kind in DOCUMENTS:
        session_of(context).json(DOCUMENTS[kind])
        return
    raise SpecError(f"no kind of file is called {kind!r}; {did_you_mean(kind, (*kinds, *DOCUMENTS))}")
