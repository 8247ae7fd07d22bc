"""The front as a Markdown table, for a README or an issue."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autocompress.report.front import FrontReport, Metrics
from autocompress.report.notes import notes
from autocompress.report.own_table import own_headings, own_markdown, own_rows
from autocompress.report.plain_text import one_line
from autocompress.report.wording import (
    change,
    drop_within,
    interval,
    label,
    marked,
    points_unit,
    quality_unit,
    times,
    told,
    word,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def as_markdown(report: FrontReport) -> str:
    """A heading, the baseline and the verified members, and the notes. Estimates are left out: they are no result."""
    known: Metrics = report.baseline.metrics if report.baseline else {}
    quality, test = label("quality", known), label("test_quality", known)
    lines = [f"## {_escaped(report.study)}", ""]
    if report.description:
        lines += [_escaped(report.description), ""]
    if report.own:
        cells = [[_escaped(cell) for cell in row] for row in (own_headings(report), *own_rows(report))]
        lines += [*own_markdown(report, cells), "", *(f"- {_escaped(note)}" for note in notes(report))]
        return "\n".join(lines).rstrip() + "\n"
    pace = report.speed
    extra = [metric for metric in report.named if metric not in ("quality", "test_quality", pace, "size_mb")]
    paces = [label(pace, known), "faster"]
    lost = "Δ points" if points_unit(quality_unit(known)) else f"Δ {_escaped(quality)}"
    heads = [
        "candidate",
        _escaped(quality),
        lost,
        *([f"expected {lost}"] if report.expectations.found else []),
        f"{_escaped(test)} (95 %)",
        *paces,
        "size",
        "Δ",
    ]
    heads += [_escaped(label(metric, known)) for metric in extra]
    lines += [f"| {' | '.join(heads)} | model |", f"|---|{'---:|' * (len(heads) - 1)}---|"]
    if report.baseline:
        none = ["", "", "", *([""] if report.expectations.found else [])]
        lines.append(_row("baseline", report.baseline.metrics, none, (pace, *extra), report.baseline.summary))
    for member in report.verified:
        relative = member.relative
        of = quality_unit(known)
        points = [drop_within(relative.quality_drop, relative.quality_drop_interval, of)]
        if report.expectations.found:
            points.append(drop_within(relative.expected_drop, relative.expected_drop_interval, of))
        compared = [*points, times(relative.speedup), change(relative.size_ratio)]
        name = f"{member.digest[:8]}{' ◆' if member.knee else ''}"
        lines.append(_row(name, member.metrics, compared, (pace, *extra), member.summary))
    said = [note for note in notes(report) if not note.startswith("Estimates")]
    return "\n".join([*lines, "", *(f"- {_escaped(note)}" for note in said)]).rstrip() + "\n"


def _row(name: str, metrics: Metrics, compared: Sequence[str], shown: Sequence[str], summary: str) -> str:
    """`shown` are the metric of speed and what else stands behind the size."""

    def value(metric: str) -> str:
        if metric not in metrics:
            return ""
        return _escaped((told if word(metric, metrics[metric]) else marked)(metric, metrics[metric]))

    test = value("test_quality")
    if "test_quality" in metrics and metrics["test_quality"].interval:
        test += f" ({interval('test_quality', metrics['test_quality'])})"
    *points, faster, smaller = compared
    pace, *extra = shown
    cells = [name, value("quality"), *points, test, value(pace), faster, value("size_mb"), smaller]
    cells += [value(metric) for metric in extra]
    return f"| {' | '.join(cells)} | {_escaped(summary)} |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(text))
