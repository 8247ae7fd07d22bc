"""The front of a search over a user's own evaluation: his metrics, and what each policy does."""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.report.front import FrontReport, Metrics
from autocompress.report.layout import Column, Fitted, Row
from autocompress.report.plain_text import one_line
from autocompress.report.wording import label, marked

BASELINE = "baseline"


def own_metrics(report: FrontReport) -> list[str]:
    """Those that the study names, then what else the evaluation told."""
    known = [report.baseline.metrics] if report.baseline else []
    known += [member.metrics for member in report.members]
    return list(dict.fromkeys((*report.named, *(metric for one in known for metric in one))))


def own_headings(report: FrontReport) -> list[str]:
    known: Metrics = report.baseline.metrics if report.baseline else {}
    return ["candidate", *(label(metric, known) for metric in own_metrics(report)), "policy"]


def own_rows(report: FrontReport) -> list[list[str]]:
    """The baseline first, then the front; the knee is marked."""
    metrics = own_metrics(report)

    def told(found: Metrics) -> list[str]:
        return [marked(metric, found[metric]) if metric in found else "" for metric in metrics]

    rows = [[BASELINE, *told(report.baseline.metrics), report.baseline.summary]] if report.baseline else []
    return rows + [
        [f"{member.digest[:8]}{' ◆' if member.knee else ''}", *told(member.metrics), one_line(member.summary)]
        for member in report.members
    ]


def own_table(report: FrontReport) -> Fitted:
    """Metrics that the study does not name go first where there is little room."""
    heads, metrics = own_headings(report), own_metrics(report)
    columns = [Column(heads[0])]
    columns += [
        Column(head, "right", rank=0 if metric in report.named else 2)
        for head, metric in zip(heads[1:-1], metrics, strict=True)
    ]
    columns.append(Column(heads[-1], rank=3, folds=True, least=30))
    rows = own_rows(report)
    return Fitted(columns, [Row(cells, ends_section=cells[0] == BASELINE) for cells in rows])


def own_markdown(report: FrontReport, escaped: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, of cells that are escaped already: the headings first."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in escaped)
    return [head, f"|---|{'---:|' * len(own_metrics(report))}---|", *rows]
