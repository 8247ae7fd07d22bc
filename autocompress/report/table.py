"""The front as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from autocompress.report.front import Baseline, FrontReport, Member, Metrics
from autocompress.report.notes import notes
from autocompress.report.picking import Picked
from autocompress.report.plain_text import one_line
from autocompress.report.wording import change, drop, drop_within, interval, is_estimated, label, marked, times, word

ESTIMATES_SHOWN: Final = 8
"""Further ones are counted; all of them are in `--json` and `--csv`."""

_NARROW: Final = 80
"""Columns of a terminal that hold the least of a table."""
_WIDE: Final = 120
_WIDEST: Final = 140
"""From here on the model has room, too."""
_EXTRA: Final = 20
"""Columns of another metric."""
_PREDICTED: Final = 12
"""Further columns of a predicted latency with its interval."""
_FIXED: Final = ("quality", "test_quality", "latency_ms", "size_mb")
_WORDED: Final = ("energy_mj", "peak_memory_mib")
_STATE_STYLES: Final = {"verified": "green", "rejected": "red", "nominated": "yellow", "estimate": "dim"}


def as_table(report: FrontReport) -> RenderableType:
    """Baseline first, then verified members, then estimates, with notes below. On a narrow terminal the columns that
    can be asked for by `show` are left out rather than cut; metrics that the study names beside those of every table
    are the last of them."""
    return _Front(report)


@final
class _Front:
    """The table, laid out for the width it is printed at."""

    def __init__(self, report: FrontReport) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report = self._report
        estimates = report.estimates
        yield _title(report)
        yield _table(report, options.max_width)
        left = len(estimates) - ESTIMATES_SHOWN
        for line in notes(report):
            yield Text(one_line(line), style="yellow" if line.startswith("Warning") else "dim")
        if left > 0:
            yield Text(f"{left} more estimate{'' if left == 1 else 's'}: --csv and --json list them all.", style="dim")


def _table(report: FrontReport, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    pace = report.speed
    extra = [metric for metric in report.named if metric not in (*_FIXED, pace)]
    known: Metrics = report.baseline.metrics if report.baseline else {}
    latencies = [member.metrics[pace] for member in report.verified if pace in member.metrics]
    room = width - _EXTRA * len(extra) - _PREDICTED * any(is_estimated(latency) for latency in latencies)
    columns = _columns(known, pace, extra)
    shown = [i for i, column in enumerate(columns) if room >= column.least]
    for i in shown:
        table.add_column(columns[i].heading, justify=columns[i].justify, no_wrap=columns[i].heading != "model")

    def add(cells: Sequence[RenderableType], style: str) -> None:
        table.add_row(*(cells[i] for i in shown), style=style)

    if report.baseline:
        add(_baseline_cells(report.baseline, pace, extra, room=room), "")
        table.add_section()
    for member in report.verified:
        add(_cells(member, pace, extra, room=room), "" if member.on_front else "dim")
    if report.verified and report.estimates:
        table.add_section()
    for member in report.estimates[:ESTIMATES_SHOWN]:
        add(_cells(member, pace, extra, room=room), "dim")
    return table


def as_picked(picked: Picked) -> RenderableType:
    """The picked model beside the baseline, and why it was picked."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    member, baseline = picked.member, picked.baseline
    one = member.relative
    for heading in ("", "picked", "baseline", "change"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    changes = {
        "quality": f"{drop_within(one.quality_drop, one.quality_drop_interval)} pt",
        "test_quality": f"{drop_within(one.test_quality_drop, one.test_quality_drop_interval)} pt",
        "latency_ms": f"{times(one.speedup)} faster",
        "size_mb": change(one.size_ratio),
    }
    for metric in dict.fromkeys((*_FIXED, *member.metrics)):
        if metric in member.metrics:
            mine, its = (_in_full(metric, metrics) for metrics in (member.metrics, baseline.metrics))
            table.add_row(label(metric, member.metrics), mine, its, changes.get(metric, ""))
    title = Text(member.digest, style="bold")
    title.append(f"  {one_line(member.summary)}", style="not bold")
    return Group(title, table, Text(one_line(picked.why)))


def _title(report: FrontReport) -> Text:
    title = Text(report.study, style="bold")
    title.append(f"  {report.state}", style="not bold")
    if report.description:
        title.append(f"  {one_line(report.description, width=100)}", style="dim not bold")
    return title


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    justify: Literal["left", "right"] = "right"
    least: int = 0


def _columns(known: Metrics, pace: str, extra: Sequence[str]) -> list[_Column]:
    """In the order of `_cells`."""
    return [
        _Column("", "left"),
        _Column("candidate", "left"),
        _Column(label("quality", known)),
        _Column("Δ pt"),
        _Column(f"{label('test_quality', known)} [95 %]", least=_WIDE),
        _Column(label(pace, known)),
        _Column("faster"),
        _Column("size"),
        _Column("Δ", least=_WIDE),
        *(_Column(label(metric, known), least=_NARROW) for metric in extra),
        _Column("state", "left"),
        _Column("model", "left", least=_WIDEST),
    ]


def _baseline_cells(baseline: Baseline, pace: str, extra: Sequence[str], *, room: int) -> list[RenderableType]:
    metrics = baseline.metrics
    return [
        "",
        Text("baseline", style="bold"),
        _value("quality", metrics),
        "",
        _with_interval("test_quality", metrics),
        _pace(pace, metrics, room=room) if baseline.measured else _value(pace, metrics),
        "",
        _value("size_mb", metrics),
        "",
        *(_value(metric, metrics) for metric in extra),
        "measured" if baseline.measured else "estimate",
        one_line(baseline.summary),
    ]


def _cells(member: Member, pace: str, extra: Sequence[str], *, room: int) -> list[RenderableType]:
    metrics, relative = member.metrics, member.relative
    return [
        Text("◆" if member.knee else "", style="bold magenta"),
        member.digest[:8],
        _value("quality", metrics),
        drop(relative.quality_drop),
        _with_interval("test_quality", metrics),
        _pace(pace, metrics, room=room) if member.verified else _value(pace, metrics),
        times(relative.speedup),
        _value("size_mb", metrics),
        change(relative.size_ratio),
        *(_value(metric, metrics) for metric in extra),
        Text(member.state if member.on_front or not member.verified else "dominated", _STATE_STYLES[member.state]),
        one_line(member.summary),
    ]


def _value(metric: str, metrics: Metrics) -> str:
    """A value, with its word where it is an energy or a memory."""
    if metric not in metrics:
        return ""
    said = word(metric, metrics[metric]) if metric in _WORDED else ""
    return f"{marked(metric, metrics[metric])} {said}".rstrip()


def _pace(metric: str, metrics: Metrics, *, room: int) -> Text:
    """A verified model whose speed nobody measured must say so: below the value there is room for it."""
    text, known = Text(_value(metric, metrics)), metrics.get(metric)
    if known is not None and word(metric, known):
        within = interval(metric, known) if room >= _NARROW else ""
        text.append(f"\n{' '.join(part for part in (within, word(metric, known)) if part)}", style="dim")
    return text


def _with_interval(metric: str, metrics: Metrics) -> Text:
    text = Text(marked(metric, metrics[metric]) if metric in metrics else "")
    if metric in metrics and metrics[metric].interval:
        text.append(f" [{interval(metric, metrics[metric])}]", style="dim")
    return text


def _in_full(metric: str, metrics: Metrics) -> Text:
    """A value with its interval and its word."""
    text = _with_interval(metric, metrics)
    if metric in metrics and word(metric, metrics[metric]):
        text.append(f" {word(metric, metrics[metric])}", style="dim")
    return text
