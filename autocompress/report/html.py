"""The front as one page: no script, no request, everything inside the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from autocompress.assets import PAGE, write_file
from autocompress.core.outcome import Measurement
from autocompress.report.cascade_section import as_section
from autocompress.report.front import Baseline, FrontReport, Member, Metrics
from autocompress.report.notes import notes
from autocompress.report.own_table import BASELINE, own_headings, own_rows
from autocompress.report.plain_text import one_line
from autocompress.report.plot import Plot, plots_of
from autocompress.report.style import STYLE
from autocompress.report.svg import as_svg
from autocompress.report.wording import (
    change,
    drop,
    drop_within,
    interval,
    is_estimated,
    label,
    marked,
    number,
    points_unit,
    quality_unit,
    times,
    word,
)

ESTIMATES_SHOWN: Final = 500
"""Some 400 bytes each: the page stays far below a megabyte."""

_FIXED: Final = ("quality", "test_quality", "latency_ms", "size_mb")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def as_html(report: FrontReport, path: Path) -> None:
    """Write the page. Raises HostError when the file cannot be written, SpecError when another's file stands there."""
    write_file(path, page(report), PAGE)


def page(report: FrontReport) -> str:
    """The page's text. Whatever comes from the study is escaped; the browser is told to load and run nothing."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_safe(report.study)} · autocompress</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            "<main>",
            _header(report),
            _tiles(report),
            _figure(report),
            _candidates(report),
            as_section(report.cascades),
            _facts(report),
            "<footer>Written by autocompress. Nothing in this page is loaded from elsewhere.</footer>",
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _header(report: FrontReport) -> str:
    about = f"<p>{_safe(report.description)}</p>" if report.description else ""
    return f'<header><h1>{_safe(report.study)}</h1><span class="badge">{_safe(report.state)}</span>{about}</header>'


def _tiles(report: FrontReport) -> str:
    """What the knee of the front gains and costs."""
    knee = next((member for member in report.members if member.knee), None)
    if knee is None or report.baseline is None or report.own:
        return ""
    known, relative = report.baseline.metrics, knee.relative
    quality, of = label("quality", known), quality_unit(known)
    predicted = "latency_ms" in knee.metrics and is_estimated(knee.metrics["latency_ms"])
    tiles = [
        (times(relative.speedup), f"faster at the knee{', predicted' if predicted else ''}"),
        (change(relative.size_ratio), "size on disk"),
        (_points(relative.quality_drop, of), f"{quality}, validation"),
        (_points(relative.expected_drop, of), f"{quality}, expected on unseen rows"),
        (f"{len(report.verified)}", "verified finalists to pick from"),
    ]
    return f'<section class="tiles">{"".join(_tile(*tile) for tile in tiles if tile[0])}</section>'


def _points(value: float | None, of: str) -> str:
    return f"{drop(value, of)} {points_unit(of)}".strip() if value is not None else ""


def _tile(figure: str, about: str) -> str:
    return f"<div><b>{_safe(figure)}</b><span>{_safe(about)}</span></div>"


def _figure(report: FrontReport) -> str:
    plots = plots_of(report)
    if not plots:
        told = "One metric makes no picture." if report.members else "No candidate was judged yet."
        return f"<section><h2>Pareto front</h2><p>{told}</p></section>"
    drawn = "".join(_drawn(report, plot, told=place == 0) for place, plot in enumerate(plots))
    return f"<section><h2>Pareto front</h2>{drawn}</section>"


def _drawn(report: FrontReport, plot: Plot, *, told: bool) -> str:
    """With what its signs mean, where that is not told already."""
    kinds = {dot.kind for dot in plot.dots}
    keys = [
        ("verified", "measured" if report.own else "verified, with 95 % interval", "verified" in kinds),
        ("baseline", "baseline, uncompressed", "baseline" in kinds),
        ("estimate", "estimate, before training", "estimate" in kinds),
        ("cascade", "cascade of two, modelled", "cascade" in kinds),
        ("knee", "knee", any(dot.knee for dot in plot.dots)),
    ]
    legend = "".join(f'<span class="key {kind}">{_safe(text)}</span>' for kind, text, shown in keys if shown and told)
    if plot.hidden:
        legend += f"<span>{plot.hidden} estimates lie outside this range</span>"
    return f'<figure><div class="scroll">{as_svg(report, plot)}</div><figcaption>{legend}</figcaption></figure>'


def _own_candidates(report: FrontReport) -> str:
    """Of a search over an evaluation of the user's own."""
    head = "".join(f'<th scope="col">{_safe(text)}</th>' for text in own_headings(report))
    rows = [
        _tr("baseline" if cells[0] == BASELINE else "knee" if "◆" in cells[0] else "verified", map(_safe, cells))
        for cells in own_rows(report)
    ]
    said = "".join(f"<li>{_safe(note)}</li>" for note in notes(report))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<section><h2>Candidates</h2><div class="scroll">{table}</div><ul class="notes">{said}</ul></section>'


def _candidates(report: FrontReport) -> str:
    if report.own:
        return _own_candidates(report)
    known: Metrics = report.baseline.metrics if report.baseline else {}
    pace = report.speed
    extra = [metric for metric in report.named if metric not in (*_FIXED, pace)]
    rows = [_baseline_row(report.baseline, pace, extra)] if report.baseline else []
    rows += [_row(member, pace, extra) for member in report.verified]
    said = "".join(f"<li>{_safe(note)}</li>" for note in notes(report))
    estimates = report.estimates[:ESTIMATES_SHOWN]
    more = ""
    if estimates:
        table = _table(known, pace, extra, [_row(member, pace, extra) for member in estimates])
        more = f"<details><summary>{len(report.estimates)} candidates not verified</summary>{table}</details>"
    return (
        f'<section><h2>Candidates</h2>{_table(known, pace, extra, rows)}{more}<ul class="notes">{said}</ul></section>'
    )


def _table(known: Metrics, pace: str, extra: Sequence[str], rows: Sequence[str]) -> str:
    qualities = [
        label("quality", known),
        label("test_quality", known),
        f"expected Δ {points_unit(quality_unit(known))}",
    ]
    heads = ["candidate", *qualities, label(pace, known), "faster", "size", "Δ size"]
    head = "".join(
        f'<th scope="col">{_safe(text)}</th>' for text in [*heads, *(label(metric, known) for metric in extra), "model"]
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _baseline_row(baseline: Baseline, pace: str, extra: Sequence[str]) -> str:
    metrics = baseline.metrics
    cells = [
        "baseline",
        _cell("quality", metrics, interval("quality", metrics["quality"]) if "quality" in metrics else ""),
        _cell("test_quality", metrics, _interval_of("test_quality", metrics)),
        "",
        _cell(pace, metrics, _about_pace(pace, metrics)),
        "",
        _cell("size_mb", metrics),
        "",
        *(_cell(metric, metrics, _word(metric, metrics)) for metric in extra),
        _safe(baseline.summary),
    ]
    return _tr("baseline", cells)


def _row(member: Member, pace: str, extra: Sequence[str]) -> str:
    metrics, relative = member.metrics, member.relative
    of = quality_unit(metrics)
    points = drop_within(relative.quality_drop, relative.quality_drop_interval, of)
    name = f"<code>{_safe(member.digest[:8])}</code>{' ◆' if member.knee else ''}"
    state = "" if member.verified and member.on_front else "dominated" if member.verified else member.state
    cells = [
        f"{name}{f'<small>{_safe(state)}</small>' if state not in ('', 'estimate') else ''}",
        _cell("quality", metrics, f"{points} {points_unit(of)}".rstrip() if points else ""),
        _cell("test_quality", metrics, _interval_of("test_quality", metrics)),
        _expected(member, of),
        _cell(pace, metrics, _about_pace(pace, metrics, member.predicted)),
        _safe(times(relative.speedup)),
        _cell("size_mb", metrics),
        _safe(change(relative.size_ratio)),
        *(_cell(metric, metrics, _word(metric, metrics)) for metric in extra),
        f"{_safe(member.summary)}{f'<small>{_safe(member.reason)}</small>' if member.state == 'rejected' else ''}",
    ]
    return _tr("knee" if member.knee else "verified" if member.verified else "estimate", cells)


def _expected(member: Member, of: str) -> str:
    """What it loses on rows that nobody has seen, with the interval below."""
    if member.expected is None:
        return ""
    low, high = member.expected.interval
    return f"{_safe(drop(member.expected.value, of))}<small>{_safe(f'{drop(high, of)} to {drop(low, of)}')}</small>"


def _interval_of(metric: str, metrics: Metrics) -> str:
    return interval(metric, metrics[metric]) if metric in metrics else ""


def _about_pace(metric: str, metrics: Metrics, predicted: Measurement | None = None) -> str:
    """What stands below a latency or throughput: that it is predicted, or what latency had been predicted."""
    if predicted is not None:
        value = number("latency_ms", predicted.value)
        return f"predicted {value}" if metric == "latency_ms" else f"{_latency_of(metrics)}, predicted {value} ms"
    said = _word(metric, metrics)
    return ", ".join(part for part in (_interval_of(metric, metrics), said) if part) if said else ""


def _latency_of(metrics: Metrics) -> str:
    """`71.3 ms a batch`: what a throughput was found from."""
    return f"{marked('latency_ms', metrics['latency_ms'])} a batch" if "latency_ms" in metrics else ""


def _word(metric: str, metrics: Metrics) -> str:
    return word(metric, metrics[metric]) if metric in metrics else ""


def _cell(metric: str, metrics: Metrics, below: str = "") -> str:
    if metric not in metrics:
        return ""
    small = f"<small>{_safe(below)}</small>" if below else ""
    return f"{_safe(marked(metric, metrics[metric]))}{small}"


def _tr(kind: str, cells: Iterable[str]) -> str:
    return f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _facts(report: FrontReport) -> str:
    counts = report.counts
    goals: dict[str, str] = dict(report.objectives)
    for metric, bound in report.constraints.items():
        goals[f"{metric} bound"] = ", ".join(f"{end} {value:g}" for end, value in bound.items())
    search: dict[str, Any] = {
        "candidates": counts.candidates,
        "evaluated": counts.evaluated,
        "infeasible": counts.infeasible,
        "failed": counts.failed,
        "repeated proposals": counts.repeated,
    }
    if not report.own:
        search["finalists"] = f"{counts.verified} verified, {counts.rejected} rejected"
    if "search_seconds" in report.facts:
        search["search time"] = f"{float(report.facts['search_seconds']):.0f} s"
    blocks: list[tuple[str, Mapping[str, Any]]] = [("Goals", goals), ("Search", search)]
    blocks += [(title, _scalars(report.facts.get(key))) for title, key in (("Task", "task"), ("Device", "device"))]
    seconds = report.facts.get("timings")
    if isinstance(seconds, Mapping):
        blocks.append(("Time spent", {stage: f"{float(took):.1f} s" for stage, took in seconds.items()}))
    shown = "".join(_block(title, facts) for title, facts in blocks if facts)
    return f'<section class="facts">{shown}</section>'


def _block(title: str, facts: Mapping[str, Any]) -> str:
    items = "".join(f"<dt>{_safe(key)}</dt><dd>{_safe(value)}</dd>" for key, value in facts.items())
    return f"<div><h2>{_safe(title)}</h2><dl>{items}</dl></div>"


def _scalars(facts: object) -> dict[str, Any]:
    """A fact's entries, one level of nesting flattened, lists joined; without the lists that hold nothing."""
    found: dict[str, Any] = {}
    for key, value in facts.items() if isinstance(facts, Mapping) else ():
        if isinstance(value, Mapping):
            found |= {
                str(inner): _plain(deep) for inner, deep in value.items() if not isinstance(deep, (Mapping, list))
            }
        elif isinstance(value, (list, tuple)):
            found |= {str(key): ", ".join(map(str, value))} if value else {}
        else:
            found[str(key)] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else value


def _safe(value: object) -> str:
    return escape(one_line(value), quote=True)
