"""The front as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from autocompress.report.front import FrontReport, Metrics
from autocompress.report.plain_text import spreadsheet_cell

_ABOUT = ("study", "number", "digest", "state", "on_front", "knee")
_RELATIVE = ("speedup", "quality_drop", "test_quality_drop", "size_ratio", "expected_drop")


def as_csv(report: FrontReport) -> str:
    """One line for the baseline and for every member; each metric with its interval's ends and its source."""
    everyone = ([report.baseline.metrics] if report.baseline else []) + [member.metrics for member in report.members]
    metrics = list(dict.fromkeys(metric for known in everyone for metric in known))
    rows: list[list[Any]] = []
    if report.baseline:
        about = [report.study, 0, report.baseline.digest, "baseline", "", ""]
        rows.append(
            [
                *about,
                *_measured(report.baseline.metrics, metrics),
                *[None] * len(_RELATIVE),
                report.baseline.summary,
                "",
            ]
        )
    for member in report.members:
        about = [report.study, member.number, member.digest, member.state, member.on_front, member.knee]
        compared = [getattr(member.relative, name) for name in _RELATIVE]
        rows.append([*about, *_measured(member.metrics, metrics), *compared, member.summary, member.runtime])
    columns = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high", "_source")]
    return csv_text([*_ABOUT, *columns, *_RELATIVE, "policy", "runtime"], rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """CSV whose cells no spreadsheet runs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spreadsheet_cell(name) for name in header])
    writer.writerows([[spreadsheet_cell(value) for value in row] for row in rows])
    return out.getvalue()


def _measured(metrics: Metrics, wanted: Sequence[str]) -> list[Any]:
    cells: list[Any] = []
    for metric in wanted:
        known = metrics.get(metric)
        if known is None:
            cells += [None] * 4
        else:
            low, high = known.interval or (None, None)
            cells += [known.value, low, high, known.source]
    return cells
