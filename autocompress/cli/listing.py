"""Named YAML files as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autocompress.cli.session import Session


def print_named(session: Session, rows: Sequence[dict[str, Any]], *, json: bool, schema: str, key: str) -> None:
    """Name, what it is, its file; a file that cannot be read says why."""
    if json:
        session.json({"schema": schema, key: list(rows)})
        return
    from rich.text import Text

    from autocompress.report.layout import Column, Fitted, Row
    from autocompress.report.plain_text import one_line

    columns = [Column("name"), Column("description", folds=True, least=40), Column("file", rank=1)]
    lines = []
    for row in rows:
        problem = row.get("problem")
        about = Text(one_line(problem, width=200), style="red") if problem else Text(one_line(row["description"]))
        lines.append(Row([row["name"], about, row.get("file", "")]))
    session.data(Fitted(columns, lines))
