"""What the page's script draws and tells."""

from __future__ import annotations

from typing import Any

from autocompress.core.metrics import METRICS
from autocompress.report.front import FrontReport, Metrics
from autocompress.report.own_table import own_metrics
from autocompress.report.plain_text import one_line
from autocompress.report.plot import BASELINE, id_of, way_of
from autocompress.report.wording import label, marked, title_of, word


def told_to_script(report: FrontReport, *, estimates: int) -> dict[str, Any]:
    """Every candidate of the page by its metrics, and the metrics that at least two of them have."""
    whole, unfinished = report.baseline, report.estimates[:estimates]
    candidates = [_candidate(BASELINE, "baseline", "baseline", whole.summary, whole.metrics)] if whole else []
    for kind, members in (("verified", report.verified), ("estimate", unfinished)):
        candidates += [
            _candidate(id_of(one), kind, one.digest[:8], one.summary, one.metrics, knee=one.knee) for one in members
        ]
    candidates += [_candidate(id_of(one), "cascade", "cascade", one.summary, one.metrics) for one in report.cascades]
    known: Metrics = whole.metrics if whole else report.members[0].metrics if report.members else {}
    names = own_metrics(report) if report.own else [*METRICS, "test_quality"]
    metrics = [
        {"name": name, "label": label(name, known), "title": title_of(name, known, way=way_of(report, name))}
        for name in names
        if sum(name in one["values"] for one in candidates) > 1
    ]
    return {"metrics": metrics, "candidates": candidates}


def _candidate(of: str, kind: str, name: str, model: str, metrics: Metrics, *, knee: bool = False) -> dict[str, Any]:
    shown = {metric: f"{marked(metric, one)} {word(metric, one)}" for metric, one in metrics.items()}
    return {
        "id": of,
        "kind": kind,
        "knee": knee,
        "name": one_line(name),
        "model": one_line(model),
        "values": {metric: float(f"{one.value:.6g}") for metric, one in metrics.items()},
        "shown": {metric: one_line(text) for metric, text in shown.items()},
    }
