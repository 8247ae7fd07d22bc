"""`studies` (or `list`): what is in the study database."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from autocompress.cli.options import Json, Storage
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.store import StudySummary

SCHEMA: Final = "autocompress.studies/1"


def studies(context: typer.Context, json: Json = False, storage: Storage = None) -> None:
    """List the stored studies and how far they are."""
    from autocompress.store import Store

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        found, where = store.studies(), store.url
    if json:
        session.json({"schema": SCHEMA, "studies": [_as_json(study) for study in found]})
    elif found:
        _table(session, found)
    else:
        session.say(f"no studies in {where}; start one with `autocompress run quickstart`")


def ago(moment: datetime) -> str:
    """`3 min ago`."""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name} ago"
    return "just now"


def _table(session: Session, found: list[StudySummary]) -> None:
    from autocompress.report.layout import Column, Fitted, Row

    columns = [Column("study", folds=True), Column("state"), Column("candidates", "right")]
    columns += [Column(name, "right", rank=1) for name in ("evaluated", "infeasible")]
    columns += [Column(name, "right") for name in ("failed", "verified")] + [Column("last activity", rank=2)]
    rows = []
    for study in found:
        counts = study.counts
        numbers = (counts.candidates, counts.evaluated, counts.infeasible, counts.failed, counts.verified)
        rows.append(Row([study.name, study.state, *map(str, numbers), ago(study.last_activity)]))
    session.data(Fitted(columns, rows))


def _as_json(study: StudySummary) -> dict[str, object]:
    return {
        "name": study.name,
        "state": study.state,
        "counts": asdict(study.counts),
        "created": study.created.isoformat(),
        "last_activity": study.last_activity.isoformat(),
    }
