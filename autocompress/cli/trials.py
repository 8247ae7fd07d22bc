"""`trials` and `show`: the candidates of a study."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autocompress.cli.options import Candidate, Json, Storage, StudyName, reference
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.core.outcome import Measurements, Record
    from autocompress.core.parts import ModelParts
    from autocompress.store import Finalist, Store

SCHEMA: Final = "autocompress.trials/1"
SHOW_SCHEMA: Final = "autocompress.candidate/1"
STATES: Final = ("evaluated", "infeasible", "failed", "unfinished")


def trials(
    context: typer.Context,
    study: StudyName,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only those that are {', '.join(STATES)}. [default: all]")
    ] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            "--parquet", metavar="FILE", help="Also write all of them, with the columns of `study.to_pandas()`."
        ),
    ] = None,
    storage: Storage = None,
) -> None:
    """List the candidates that a search judged."""
    from autocompress.core.own_spec import is_own
    from autocompress.core.stored_parts import parts_from_json
    from autocompress.errors import SpecError, did_you_mean
    from autocompress.report.spreadsheet import csv_text
    from autocompress.store import Store

    session = session_of(context)
    if state is not None and state not in STATES:
        raise SpecError(f"--state: unknown state {state!r}; {did_you_mean(state, STATES)}")
    with Store.open(storage, create=False) as store:
        row = store.study(study)
        if parquet is not None:
            _write_parquet(session, store, study, parquet, state)
            return
        shape = parts_from_json(row.facts.get("shape"))
        records = [one for one in store.records(study) if state in (None, state_of(one))]
    rows = [_as_json(record, shape) for record in records]
    if json:
        session.json({"schema": SCHEMA, "study": study, "trials": rows})
    elif csv:
        session.text(csv_text(*_csv(rows)))
    else:
        _table(session, rows, tuple(row.objectives) if is_own(row.resolved) else _SHOWN)
        _causes(session, rows, study)


def _write_parquet(session: Session, store: Store, study: str, path: Path, state: str | None) -> None:
    from autocompress.assets import PARQUET, check_file, write_file
    from autocompress.report.notebook import candidates_table
    from autocompress.report.spreadsheet import parquet_bytes

    check_file(path, PARQUET, keep=store.places)
    table = candidates_table(store, study)
    write_file(path, parquet_bytes(table if state is None else table[table["state"] == state]), PARQUET)
    session.wrote(path)


def show(
    context: typer.Context,
    study: StudyName,
    candidate: Candidate,
    matrices: Annotated[
        bool, typer.Option("--matrices", help="Also what each step did to which matrix: shape, rank, zeros, bits.")
    ] = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Show one candidate, layer by layer and step by step.

    Its policy, what was measured in the search and of the exported file, how it failed; what each step took, what that
    is worth on the device, alone and as the last one, and what it cost in quality as far as judged candidates tell.
    """
    from autocompress.cli.candidate_view import candidate_view
    from autocompress.core.own_spec import is_own
    from autocompress.core.stored_parts import parts_from_json
    from autocompress.explain.steps import explain_steps
    from autocompress.report import explain_policy
    from autocompress.report.steps import as_steps
    from autocompress.store import Store

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        record = store.record(study, reference(candidate))
        row = store.study(study)
        shape = parts_from_json(row.facts.get("shape"))
        number = record.candidate.number
        finalist = next((one for one in store.finalists(study) if one.candidate.number == number), None)
        steps = explain_steps(store, study, number)
    explained = explain_policy(record.candidate.policy, shape)
    if not json:
        told = as_steps(steps, matrices=matrices)
        session.data(candidate_view(record, explained, finalist, told, own=is_own(row.resolved)))
        return
    session.json(
        {
            "schema": SHOW_SCHEMA,
            "study": study,
            **_as_json(record, shape),
            "policy": record.candidate.policy.to_json(),
            "explained": explained.to_json(),
            "steps": steps.to_json(),
            "provenance": dict(record.provenance),
            "finalist": _finalist_json(finalist) if finalist else None,
        }
    )


def state_of(record: Record) -> str:
    """`unfinished` while there is no outcome."""
    return type(record.outcome).__name__.lower() if record.outcome is not None else "unfinished"


def metrics_json(measurements: Measurements) -> dict[str, Any]:
    return {one.metric: one.to_json() for one in measurements}


def _as_json(record: Record, shape: ModelParts | None) -> dict[str, Any]:
    from autocompress.core.outcome import Failed, Infeasible
    from autocompress.report import explain_policy

    candidate, outcome = record.candidate, record.outcome
    row: dict[str, Any] = {
        "number": candidate.number,
        "digest": candidate.digest,
        "state": state_of(record),
        "attempt": record.attempt,
        "seconds": record.seconds,
        "summary": explain_policy(candidate.policy, shape).summary,
        "metrics": {} if outcome is None or isinstance(outcome, Failed) else metrics_json(outcome.measurements),
    }
    if isinstance(outcome, Infeasible):
        row["constraint"] = outcome.constraint
    if isinstance(outcome, Failed):
        row |= {"stage": outcome.stage, "error": outcome.error, "message": outcome.message}
        row["traceback"] = outcome.traceback
    return row


def _finalist_json(finalist: Finalist) -> dict[str, Any]:
    return {
        "state": "baseline" if finalist.candidate.policy.is_baseline else finalist.state,
        "reason": finalist.reason,
        "metrics": metrics_json(finalist.measurements),
        "provenance": dict(finalist.provenance),
        "artifacts": [{"path": one.path, "sha256": one.sha256, "bytes": one.bytes} for one in finalist.artifacts],
    }


def _detail(row: dict[str, Any]) -> str:
    if row["state"] == "failed":
        return f"{row['stage']}: {row['error']}: {row['message']}"
    return str(row.get("constraint", ""))


def _csv(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["metrics"]))
    about = ["number", "digest", "state", "attempt", "seconds"]
    lines = [
        [row[key] for key in about]
        + [row["metrics"].get(metric, {}).get("value") for metric in metrics]
        + [_detail(row), row["summary"]]
        for row in rows
    ]
    return [*about, *metrics, "detail", "policy"], lines


_SHOWN: Final = ("quality", "latency_ms", "size_mb")
"""Metrics in the table; of a search over an evaluation of the user's own those that it is about."""


def _table(session: Session, rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> None:
    from rich.text import Text

    from autocompress.report.layout import Column, Fitted, Row
    from autocompress.report.plain_text import one_line
    from autocompress.report.wording import label, with_unit

    names = [label(metric, {}) for metric in metrics]
    columns = [Column("#", "right"), *(Column(name, "right") for name in names), Column("digest"), Column("state")]
    columns += [Column("model", cut=True, least=12), Column("detail", rank=1, folds=True, least=30)]
    styles = {"failed": "red", "infeasible": "yellow", "unfinished": "cyan"}
    found = []
    for row in rows:
        known = row["metrics"]
        values = [
            with_unit(metric, known[metric]["value"], known[metric]["unit"]) if metric in known else ""
            for metric in metrics
        ]
        detail = Text(one_line(_detail(row), width=90))
        state = Text(row["state"], style=styles.get(row["state"], ""))
        found.append(Row([str(row["number"]), *values, row["digest"][:8], state, row["summary"], detail]))
    session.data(Fitted(columns, found))


def _causes(session: Session, rows: Sequence[dict[str, Any]], study: str) -> None:
    """One line for every cause of failure, the most frequent first."""
    from autocompress.report.plain_text import one_line

    causes = collections.Counter(_detail(row) for row in rows if row["state"] == "failed")
    for cause, times in causes.most_common(5):
        session.say(f"{times} failed: {one_line(cause, width=160)}")
    if causes:
        session.say(f"see a traceback with `autocompress show {study} NUMBER`", style="dim")
