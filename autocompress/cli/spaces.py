"""`spaces`: the search spaces that can be named."""

from __future__ import annotations

from typing import Any, Final

import typer

from autocompress.cli.listing import print_named
from autocompress.cli.options import Json
from autocompress.cli.session import session_of

SCHEMA: Final = "autocompress.spaces/1"


def spaces(context: typer.Context, json: Json = False) -> None:
    """List the search spaces that a study can name."""
    from autocompress.config import load_space, named
    from autocompress.errors import AutocompressError
    from autocompress.operators import OPERATORS

    rows: list[dict[str, Any]] = []
    for name, path in named("space").items():
        row: dict[str, Any] = {"name": name, "file": str(path)}
        try:
            space = load_space(path, operators=OPERATORS)
            row |= {"version": space.version, "steps": [step.name for step in space.steps]}
            row["description"] = space.description
        except AutocompressError as error:  # one broken file must not hide the others
            row["problem"] = str(error)
        rows.append(row)
    print_named(session_of(context), rows, json=json, schema=SCHEMA, key="spaces")
