"""How results show themselves in a notebook, and as a table of pandas."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, RenderableType

from autocompress.core.outcome import Failed, Infeasible, Record
from autocompress.core.policy import Setting
from autocompress.core.stored_parts import parts_from_json
from autocompress.report.front import FrontReport
from autocompress.report.html import page
from autocompress.report.policies import explain_policy
from autocompress.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

_HEIGHT: Final = 760
_WIDTH: Final = 110
_TEXT: Final = '<pre style="font-family:monospace;line-height:1.25;overflow-x:auto">{code}</pre>'


def framed(report: FrontReport) -> str:
    """The front's page inside of another: its style stays its own, and it may load and run as little as alone."""
    name = escape(f"Pareto front of {report.study}", quote=True)
    return (
        f'<iframe title="{name}" sandbox srcdoc="{escape(page(report), quote=True)}" '
        f'style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
    )


def printed(renderable: RenderableType) -> str:
    """What a terminal would show, as HTML with the styles in it."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_jupyter=False)  # else it shows itself twice
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format=_TEXT)


def candidates_table(store: Store, name: str) -> DataFrame:
    """A row for each candidate, by its number: digest, state and model; every metric that the search knew of it, and
    every one of its file where it is a finalist (`file.latency_ms`); the point of the space that it was proposed at
    (`at.STEP/KNOB`); why it was infeasible or failed.

    Raises NotFoundError where there is no such study.
    """
    import pandas

    shape = parts_from_json(store.study(name).facts.get("shape"))
    points = first_points(store, name)
    files = {one.candidate.number: one for one in store.finalists(name)}
    rows: list[dict[str, Any]] = []
    for record in store.records(name):
        candidate = record.candidate
        row: dict[str, Any] = {"number": candidate.number, "digest": candidate.digest, **_what_became(record)}
        row["model"] = explain_policy(candidate.policy, shape).summary
        if candidate.number in files:
            finalist = files[candidate.number]
            row["file"] = finalist.state
            row |= {f"file.{one.metric}": one.value for one in finalist.measurements}
        row |= {f"at.{knob}": value for knob, value in points.get(candidate.digest, {}).items()}
        rows.append(row)
    return pandas.DataFrame.from_records(rows, index="number")


def first_points(store: Store, name: str) -> dict[str, Mapping[str, Setting]]:
    """By a candidate's digest, the point of the space that first led to it; later proposals came to the same."""
    return {digest: proposal.parameters for proposal, digest in reversed(store.proposals(name))}


def _what_became(record: Record) -> dict[str, Any]:
    outcome = record.outcome
    row: dict[str, Any] = {"state": "unfinished" if outcome is None else type(outcome).__name__.lower()}
    if isinstance(outcome, Failed):
        return row | {"why": f"{outcome.stage}: {outcome.error}: {outcome.message}"}
    if isinstance(outcome, Infeasible):
        row["why"] = outcome.constraint
    measured = outcome.measurements if outcome else ()
    return row | {one.metric: one.value for one in measured} | {"seconds": record.seconds}
