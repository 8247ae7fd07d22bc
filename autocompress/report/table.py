"""The front as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from autocompress.core.metrics import Direction
from autocompress.report.cascade_picking import PickedCascade
from autocompress.report.cascade_section import ABOUT, as_fitted
from autocompress.report.front import Baseline, FrontReport, Member, Metrics, Relative
from autocompress.report.layout import ROOMY, Cell, Column, Fitted, Row, with_gaps
from autocompress.report.notes import notes
from autocompress.report.own_table import own_table
from autocompress.report.picking import Picked
from autocompress.report.plain_text import one_line
from autocompress.report.wording import (
    change,
    drop,
    drop_within,
    interval,
    label,
    marked,
    points_unit,
    quality_unit,
    times,
    word,
)

ESTIMATES_SHOWN: Final = 8
"""Further ones are counted; all of them are in `--json` and `--csv`."""

_FIXED: Final = ("quality", "test_quality", "latency_ms", "size_mb")
_WORDED: Final = ("energy_mj", "peak_memory_mib")
_STATE_STYLES: Final = {"verified": "green", "rejected": "red", "nominated": "yellow", "estimate": "dim"}


def as_table(report: FrontReport) -> RenderableType:
    """Baseline first, then verified members, then estimates, with notes below. On a narrow terminal the columns that
    can be asked for by `show` are left out rather than cut, those of the study's objectives last."""
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
        yield own_table(report) if report.own else _table(report, options.max_width)
        left = len(estimates) - ESTIMATES_SHOWN
        for line in notes(report):
            yield Text(one_line(line), style="yellow" if line.startswith("Warning") else "dim")
        if left > 0:
            yield Text(f"{left} more estimate{'' if left == 1 else 's'}: --csv and --json list them all.", style="dim")
        if report.cascades:
            yield as_fitted(report.cascades, with_interval=options.max_width >= ROOMY)
            yield Text(one_line(ABOUT), style="dim")


def _table(report: FrontReport, width: int) -> Fitted:
    extra = [metric for metric in report.named if metric not in (*_FIXED, report.speed)]
    expected = bool(report.expectations.found)
    shown = _Shown(report.speed, extra, with_interval=width >= ROOMY, expected=expected)
    rows = [Row(_baseline_cells(report.baseline, shown), ends_section=True)] if report.baseline else []
    rows += [Row(_cells(member, shown), "" if member.on_front else "dim") for member in report.verified]
    if report.verified and report.estimates:
        rows[-1] = replace(rows[-1], ends_section=True)
    rows += [Row(_cells(member, shown), "dim") for member in report.estimates[:ESTIMATES_SHOWN]]
    known: Metrics = report.baseline.metrics if report.baseline else {}
    return Fitted(_columns(known, shown, report.objectives), rows)


def as_picked(picked: Picked | PickedCascade) -> RenderableType:
    """The picked model, or two as one, beside the baseline, and why it was picked."""
    if isinstance(picked, PickedCascade):
        one = picked.cascade
        return _Picked(_heading(one.digest, one.summary), one.in_full, one.relative, picked.baseline, [picked.why])
    member = picked.member
    said = [picked.why, *([picked.beside] if picked.beside else [])]
    return _Picked(_heading(member.digest, member.summary), member.metrics, member.relative, picked.baseline, said)


def _heading(digest: str, summary: str) -> Text:
    title = Text(digest, style="bold")
    title.append(f"  {one_line(summary)}", style="not bold")
    return title


@final
class _Picked:
    """The same, laid out for the width it is printed at: intervals stand below their values where it is narrow."""

    def __init__(
        self, title: Text, metrics: Metrics, relative: Relative, baseline: Baseline, said: Sequence[str]
    ) -> None:
        self._title, self._metrics, self._relative, self._baseline = title, metrics, relative, baseline
        self._said = said

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._title
        yield with_gaps(self._table, options.max_width)
        for line in self._said:
            yield Text(one_line(line))

    def _table(self, gap: str) -> Fitted:
        known, baseline = self._metrics, self._baseline
        one, of = self._relative, quality_unit(known)
        changes = {
            "quality": _points(one.quality_drop, one.quality_drop_interval, gap, of),
            "test_quality": _points(one.test_quality_drop, one.test_quality_drop_interval, gap, of),
            "latency_ms": f"{times(one.speedup)} faster",
            "size_mb": change(one.size_ratio),
        }
        rows = []
        for metric in dict.fromkeys((*_FIXED, *known)):
            if metric in known:
                mine, its = (in_full(metric, metrics, gap) for metrics in (known, baseline.metrics))
                rows.append(Row([label(metric, known), mine, its, changes.get(metric, "")]))
        if one.expected_drop is not None:
            told = _points(one.expected_drop, one.expected_drop_interval, gap, of)
            rows.insert(min(2, len(rows)), Row([f"{label('quality', known)}, unseen", "", "", told]))
        return Fitted([Column(""), *(Column(name, "right") for name in ("picked", "baseline", "change"))], rows)


def _points(drop: float | None, within: tuple[float, float] | None, gap: str, of: str) -> str:
    """`−0.4 [−1.9 to +1.1] pt`; in two lines `−0.4 pt` and the interval."""
    if drop is None:
        return ""
    text, points = drop_within(drop, within, of), points_unit(of)
    if gap == " ":
        return f"{text} {points}".rstrip()
    first, bracket, rest = text.partition(" [")
    return f"{first} {points}".rstrip() + (f"{gap}[{rest}" if bracket else "")


def _title(report: FrontReport) -> Text:
    title = Text(report.study, style="bold")
    title.append(f"  {report.state}", style="not bold")
    if report.description:
        title.append(f"  {one_line(report.description, width=100)}", style="dim not bold")
    return title


@dataclass(frozen=True, slots=True)
class _Shown:
    """The metric of speed, further metrics that the study names, whether intervals of a predicted speed fit, and
    whether losses are those that are `expected` on unseen rows."""

    speed: str
    extra: Sequence[str]
    with_interval: bool
    expected: bool = False


def _columns(known: Metrics, shown: _Shown, objectives: Mapping[str, Direction]) -> list[Column]:
    """In the order of `_cells`. What the study optimises stays longest."""
    return [
        Column(""),
        Column("candidate"),
        Column(label("quality", known), "right"),
        Column(f"{'exp.' if shown.expected else 'Δ'} {points_unit(quality_unit(known))}".rstrip(), "right", rank=4),
        Column(f"{label('test_quality', known)} [95 %]", "right", rank=7),
        Column(label(shown.speed, known), "right"),
        Column("faster", "right", rank=3),
        Column("size", "right", rank=1 if "size_mb" in objectives else 6),
        Column("Δ", "right", rank=8),
        *(Column(label(metric, known), "right", rank=2 if metric in objectives else 5) for metric in shown.extra),
        Column("state"),
        Column("model", rank=9, folds=True, least=30),
    ]


def _baseline_cells(baseline: Baseline, shown: _Shown) -> list[Cell]:
    metrics = baseline.metrics
    return [
        "",
        Text("baseline", style="bold"),
        _value("quality", metrics),
        "",
        _with_interval("test_quality", metrics),
        _speed(shown, metrics) if baseline.measured else _value(shown.speed, metrics),
        "",
        _value("size_mb", metrics),
        "",
        *(_value(metric, metrics) for metric in shown.extra),
        "measured" if baseline.measured else "estimate",
        one_line(baseline.summary),
    ]


def _cells(member: Member, shown: _Shown) -> list[Cell]:
    metrics, relative = member.metrics, member.relative
    return [
        Text("◆" if member.knee else "", style="bold magenta"),
        member.digest[:8],
        _value("quality", metrics),
        _lost(member, shown),
        _with_interval("test_quality", metrics),
        _speed(shown, metrics) if member.verified else _value(shown.speed, metrics),
        times(relative.speedup),
        _value("size_mb", metrics),
        change(relative.size_ratio),
        *(_value(metric, metrics) for metric in shown.extra),
        Text(member.state if member.on_front or not member.verified else "dominated", _STATE_STYLES[member.state]),
        one_line(member.summary),
    ]


def _lost(member: Member, shown: _Shown) -> str:
    """What is expected on unseen rows, with its interval where there is room; of estimates what was seen."""
    relative, of = member.relative, quality_unit(member.metrics)
    if relative.expected_drop is None:
        return drop(relative.quality_drop, of)
    return drop_within(relative.expected_drop, relative.expected_drop_interval if shown.with_interval else None, of)


def _value(metric: str, metrics: Metrics) -> str:
    """A value, with its word where it is an energy or a memory."""
    if metric not in metrics:
        return ""
    said = word(metric, metrics[metric]) if metric in _WORDED else ""
    return f"{marked(metric, metrics[metric])} {said}".rstrip()


def _speed(shown: _Shown, metrics: Metrics) -> Text:
    """A verified model whose speed nobody measured must say so: below the value there is room for it."""
    metric = shown.speed
    text, known = Text(_value(metric, metrics)), metrics.get(metric)
    if known is not None and word(metric, known):
        within = interval(metric, known) if shown.with_interval else ""
        text.append(f"\n{' '.join(part for part in (within, word(metric, known)) if part)}", style="dim")
    return text


def _with_interval(metric: str, metrics: Metrics, gap: str = " ") -> Text:
    text = Text(marked(metric, metrics[metric]) if metric in metrics else "")
    if metric in metrics and metrics[metric].interval:
        text.append(f"{gap}[{interval(metric, metrics[metric])}]", style="dim")
    return text


def in_full(metric: str, metrics: Metrics, gap: str) -> Text:
    """A value with its interval and its word."""
    text = _with_interval(metric, metrics, gap)
    if metric in metrics and word(metric, metrics[metric]):
        text.append(f"{gap}{word(metric, metrics[metric])}", style="dim")
    return text
