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
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from autocompress.report.plain_text import one_line

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "description", "file"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for row in rows:
        problem = row.get("problem")
        about = Text(one_line(problem, width=200), style="red") if problem else Text(one_line(row["description"]))
        table.add_row(Text(row["name"]), about, Text(row.get("file", "")))
    session.data(table)
