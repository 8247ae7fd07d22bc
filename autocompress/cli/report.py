"""`report`: the front of a study as files, any number of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.options import Storage, StudyName
from autocompress.cli.session import session_of

if TYPE_CHECKING:
    from autocompress.report.files import FormName


def report(
    context: typer.Context,
    study: StudyName,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page with everything.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="A plot.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Comma-separated values.")] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="The same rows and columns, with types.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="A Markdown table.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="What `pareto --json` prints.")] = None,
    storage: Storage = None,
) -> None:
    """Write what a study found to files.

    The baseline, the front and its estimates, in as many forms as are named. An earlier report is replaced, anything
    else is not.
    """
    from autocompress import report as reports
    from autocompress.errors import SpecError
    from autocompress.explain.steps import with_steps
    from autocompress.report.files import FORMS, check_files, write_files
    from autocompress.store import Store

    session = session_of(context)
    given: dict[FormName, Path | None] = {
        "html": html,
        "png": png,
        "csv": csv,
        "parquet": parquet,
        "markdown": markdown,
        "json": json,
    }
    files: dict[FormName, Path] = {form: path for form, path in given.items() if path is not None}
    if not files:
        raise SpecError(
            f"report: names no file to write; give one or more of {', '.join(f'--{form} FILE' for form in FORMS)} "
            f"(`autocompress pareto {study}` shows the front here)"
        )
    with Store.open(storage, create=False) as store:
        check_files(files, keep=store.places)
        found = reports.with_cascades(store, reports.front_report(store, study))
        if html is not None:
            found = with_steps(store, found)
    for path in write_files(found, files):
        session.wrote(path)
