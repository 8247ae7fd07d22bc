"""The front as a table: CSV, and parquet for what reads types."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from autocompress.report.front import FrontReport, Metrics
from autocompress.report.plain_text import plain, spreadsheet_cell

if TYPE_CHECKING:
    from pandas import DataFrame

_ABOUT = ("study", "number", "digest", "state", "on_front", "knee")
_RELATIVE = ("speedup", "quality_drop", "test_quality_drop", "size_ratio", "expected_drop")
_SIGNED: Final = {"made_by": "autocompress"}
"""Among the metadata of a parquet file, by which it is known as one of ours."""


def as_csv(report: FrontReport) -> str:
    """One line for the baseline and for every member; each metric with its interval's ends and its source."""
    return csv_text(*front_rows(report))


def as_parquet(report: FrontReport) -> bytes:
    """The same rows and columns, with their types; what is not known is null."""
    import pandas

    header, rows = front_rows(report)
    return parquet_bytes(pandas.DataFrame(rows, columns=list(header)))


def parquet_bytes(table: DataFrame) -> bytes:
    """A parquet file of ours. Text is without control characters."""
    shown = table.map(lambda value: plain(value) if isinstance(value, str) else value)
    shown.attrs = dict(_SIGNED)
    file = io.BytesIO()
    shown.to_parquet(file)
    return file.getvalue()


def front_rows(report: FrontReport) -> tuple[list[str], list[list[Any]]]:
    """The columns, and a row for the baseline and for every member."""
    everyone = ([report.baseline.metrics] if report.baseline else []) + [member.metrics for member in report.members]
    metrics = list(dict.fromkeys(metric for known in everyone for metric in known))
    rows: list[list[Any]] = []
    if report.baseline:
        about = [report.study, 0, report.baseline.digest, "baseline", None, None]
        rows.append(
            [
                *about,
                *_measured(report.baseline.metrics, metrics),
                *[None] * len(_RELATIVE),
                report.baseline.summary,
                None,
            ]
        )
    for member in report.members:
        about = [report.study, member.number, member.digest, member.state, member.on_front, member.knee]
        compared = [getattr(member.relative, name) for name in _RELATIVE]
        rows.append([*about, *_measured(member.metrics, metrics), *compared, member.summary, member.runtime])
    columns = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high", "_source")]
    return [*_ABOUT, *columns, *_RELATIVE, "policy", "runtime"], rows


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
