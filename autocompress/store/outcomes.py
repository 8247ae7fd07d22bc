"""Outcomes and measurements as rows, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from autocompress.core.outcome import Evaluated, Failed, Infeasible, Measurement, Measurements, Outcome
from autocompress.store.schema import measurements


def outcome_columns(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Evaluated():
            return {"state": "evaluated"}
        case Infeasible(constraint=constraint):
            return {"state": "infeasible", "broken_constraint": storable(constraint)}
        case Failed(stage=stage, error=error, message=message, traceback=traceback):
            return {
                "state": "failed",
                "stage": stage,
                "error": storable(error),
                "message": storable(message),
                "traceback": storable(traceback),
            }


def outcome_of(row: Row[Any], found: Measurements) -> Outcome | None:
    match row.state:
        case "evaluated":
            return Evaluated(found)
        case "infeasible":
            return Infeasible(row.broken_constraint, found)
        case "failed":
            return Failed(row.stage, row.error, row.message, row.traceback)
        case _:
            return None


def judged_by(connection: Connection, row: Row[Any]) -> Measurements:
    """What was measured at the rung that decided the outcome."""
    rows = connection.execute(
        select(measurements)
        .where(measurements.c.candidate_id == row.id, measurements.c.rung == row.rung)
        .order_by(measurements.c.position)
    )
    return tuple(measurement(one) for one in rows)


def measurement(row: Row[Any]) -> Measurement:
    return Measurement(
        metric=row.metric,
        value=row.value,
        unit=row.unit,
        source=row.source,
        interval=None if row.low is None else (row.low, row.high),
        samples=tuple(row.samples),
        device=row.device,
    )


def write_measurements(connection: Connection, candidate_id: int, *, rung: int, found: Measurements) -> None:
    if not found:
        return
    connection.execute(
        insert(measurements),
        [
            {
                "candidate_id": candidate_id,
                "rung": rung,
                "metric": one.metric,
                "position": position,
                "value": one.value,
                "unit": one.unit,
                "source": one.source,
                "low": one.interval[0] if one.interval else None,
                "high": one.interval[1] if one.interval else None,
                "samples": list(one.samples),
                "device": one.device,
            }
            for position, one in enumerate(found)
        ],
    )


def storable(text: str) -> str:
    """Text that every database takes: PostgreSQL has no NUL, and no database half a surrogate pair.

    Errors quote whatever broke them, and a command line passes on any byte.
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
