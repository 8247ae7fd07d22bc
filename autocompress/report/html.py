"""The front as one page: no request, everything inside the file. What its script offers is more; it reads without."""

from __future__ import annotations

import base64
import datetime
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from autocompress.assets import PAGE, write_file
from autocompress.core.outcome import Measurement
from autocompress.core.versions import versions
from autocompress.report.cascade_section import ABOUT, as_rows, heads
from autocompress.report.front import Baseline, FrontReport, Member, Metrics
from autocompress.report.notes import notes
from autocompress.report.own_table import own_headings, own_metrics
from autocompress.report.page_data import told_to_script
from autocompress.report.plot import BASELINE, Plot, id_of, plots_of
from autocompress.report.steps import StepCells, cells_of
from autocompress.report.style import STYLE
from autocompress.report.svg import as_svg
from autocompress.report.templating import TEMPLATES, rendered
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

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
ESTIMATES_SHOWN: Final = 500
"""Some 400 bytes each: the page stays far below a megabyte."""

_FIXED: Final = ("quality", "test_quality", "latency_ms", "size_mb")


@dataclass(frozen=True, slots=True)
class _Cell:
    """`below` stands small under the text, and `value` is what rows are sorted by."""

    text: str = ""
    below: str = ""
    value: float | None = None
    digest: str = ""
    knee: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    cells: Sequence[_Cell]
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    heads: Sequence[str] = ()
    rows: Sequence[_Row] = field(default=())


def as_html(report: FrontReport, path: Path) -> None:
    """Write the page. Raises HostError when the file cannot be written, SpecError when another's file stands there."""
    now = datetime.datetime.now(datetime.UTC)
    write_file(path, page(report, made=f"{now:%Y-%m-%d %H:%M} UTC"), PAGE)


def page(report: FrontReport, *, made: str = "") -> str:
    """The page's text. Whatever comes from the study is escaped; the browser is told to load nothing, and to run no
    script but the page's own."""
    finished, estimates = (_own_table(report), _Table()) if report.own else _tables(report)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    text = rendered(
        "page.html",
        report=report,
        policy=_policy(script),
        style=Markup(STYLE),
        script=Markup(script),
        tiles=_tiles(report),
        plots=[_drawn(report, plot, told=place == 0) for place, plot in enumerate(plots_of(report))],
        finished=finished,
        estimates=estimates,
        cascades=_cascades(report),
        about_cascades=ABOUT,
        steps=_steps(report),
        notes=notes(report),
        blocks=_blocks(report),
        data=told_to_script(report, estimates=ESTIMATES_SHOWN),
        version=versions()["autocompress"],
        command=f"autocompress report {shlex.quote(report.study)} --html FILE",
        made=made,
    )
    return str(text)


def _policy(script: str) -> Markup:
    """What a browser is told to load and to run: nothing but this script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup("{}; script-src 'sha256-{}'").format(Markup(_POLICY), digest)


def _tiles(report: FrontReport) -> list[tuple[str, str]]:
    """What the knee of the front gains and costs: a figure, and what it is."""
    knee = next((member for member in report.members if member.knee), None)
    if knee is None or report.baseline is None or report.own:
        return []
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
    return [tile for tile in tiles if tile[0]]


def _points(value: float | None, of: str) -> str:
    return f"{drop(value, of)} {points_unit(of)}".strip() if value is not None else ""


def _drawn(report: FrontReport, plot: Plot, *, told: bool) -> dict[str, Any]:
    """With what its signs mean, where that is not told already."""
    kinds = {dot.kind for dot in plot.dots}
    keys = [
        ("verified", "measured" if report.own else "verified, with 95 % interval", "verified" in kinds),
        ("baseline", "baseline, uncompressed", "baseline" in kinds),
        ("estimate", "estimate, before training", "estimate" in kinds),
        ("cascade", "cascade of two, modelled", "cascade" in kinds),
        ("knee", "knee", any(dot.knee for dot in plot.dots)),
    ]
    return {
        "x": plot.x.metric,
        "y": plot.y.metric,
        "svg": as_svg(report, plot),
        "signs": [(kind, text) for kind, text, shown in keys if shown and told],
        "hidden": plot.hidden,
    }


def _tables(report: FrontReport) -> tuple[_Table, _Table]:
    """The baseline and what was verified; estimates."""
    known: Metrics = report.baseline.metrics if report.baseline else {}
    extra = [metric for metric in report.named if metric not in (*_FIXED, report.speed)]
    columns = _heads(known, report.speed, extra)
    rows = [_baseline_row(report.baseline, report.speed, extra)] if report.baseline else []
    rows += [_row(member, report.speed, extra) for member in report.verified]
    estimates = [_row(member, report.speed, extra) for member in report.estimates[:ESTIMATES_SHOWN]]
    return _Table(columns, rows), _Table(columns, estimates)


def _own_table(report: FrontReport) -> _Table:
    """Of a search over an evaluation of the user's own."""
    whole, metrics = report.baseline, own_metrics(report)

    def row(kind: str, of: str, name: _Cell, known: Metrics, policy: str) -> _Row:
        return _Row(kind, [name, *(_cell(metric, known) for metric in metrics), _Cell(policy)], of)

    rows = [row("baseline", BASELINE, _Cell("baseline"), whole.metrics, whole.summary)] if whole else []
    for one in report.members:
        name = _Cell(one.digest[:8], digest=one.digest, knee=one.knee)
        rows.append(row("knee" if one.knee else "verified", id_of(one), name, one.metrics, one.summary))
    return _Table(own_headings(report), rows)


def _heads(known: Metrics, pace: str, extra: Sequence[str]) -> list[str]:
    qualities = [
        label("quality", known),
        label("test_quality", known),
        f"expected Δ {points_unit(quality_unit(known))}",
    ]
    fixed = ["candidate", *qualities, label(pace, known), "faster", "size", "Δ size"]
    return [*fixed, *(label(metric, known) for metric in extra), "model"]


def _baseline_row(baseline: Baseline, pace: str, extra: Sequence[str]) -> _Row:
    metrics = baseline.metrics
    cells = [
        _Cell("baseline"),
        _cell("quality", metrics, _interval_of("quality", metrics)),
        _cell("test_quality", metrics, _interval_of("test_quality", metrics)),
        _Cell(),
        _cell(pace, metrics, _about_pace(pace, metrics)),
        _Cell(),
        _cell("size_mb", metrics),
        _Cell(),
        *(_cell(metric, metrics, _word(metric, metrics)) for metric in extra),
        _Cell(baseline.summary),
    ]
    return _Row("baseline", cells, BASELINE)


def _row(member: Member, pace: str, extra: Sequence[str]) -> _Row:
    metrics, relative = member.metrics, member.relative
    of = quality_unit(metrics)
    points = drop_within(relative.quality_drop, relative.quality_drop_interval, of)
    state = "" if member.verified and member.on_front else "dominated" if member.verified else member.state
    cells = [
        _Cell(member.digest[:8], "" if state == "estimate" else state, digest=member.digest, knee=member.knee),
        _cell("quality", metrics, f"{points} {points_unit(of)}".rstrip() if points else ""),
        _cell("test_quality", metrics, _interval_of("test_quality", metrics)),
        _expected(member, of),
        _cell(pace, metrics, _about_pace(pace, metrics, member.predicted)),
        _Cell(times(relative.speedup), value=relative.speedup),
        _cell("size_mb", metrics),
        _Cell(change(relative.size_ratio), value=relative.size_ratio),
        *(_cell(metric, metrics, _word(metric, metrics)) for metric in extra),
        _Cell(member.summary, member.reason if member.state == "rejected" else ""),
    ]
    return _Row("knee" if member.knee else "verified" if member.verified else "estimate", cells, id_of(member))


def _expected(member: Member, of: str) -> _Cell:
    """What it loses on rows that nobody has seen, with the interval below."""
    if member.expected is None:
        return _Cell()
    low, high = member.expected.interval
    return _Cell(drop(member.expected.value, of), f"{drop(high, of)} to {drop(low, of)}", member.expected.value)


def _cascades(report: FrontReport) -> _Table:
    if not report.cascades:
        return _Table()
    rows = [
        _Row("cascade", [_Cell(text) for text in (*cells, one.small.summary, one.large.summary)], id_of(one))
        for one, cells in zip(report.cascades, as_rows(report.cascades), strict=True)
    ]
    return _Table([*heads(report.cascades), "small", "large"], rows)


def _steps(report: FrontReport) -> list[tuple[Member, StepCells]]:
    """What the steps of each member did, where that is known of some."""
    told = [(one, cells_of(report.steps[one.digest])) for one in report.members if one.digest in report.steps]
    return [(one, cells) for one, cells in told if cells.rows]


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


def _cell(metric: str, metrics: Metrics, below: str = "") -> _Cell:
    if metric not in metrics:
        return _Cell()
    return _Cell(marked(metric, metrics[metric]), below, metrics[metric].value)


def _blocks(report: FrontReport) -> list[tuple[str, Mapping[str, Any]]]:
    """The facts of a study, by what they are about."""
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
    return [(title, facts) for title, facts in blocks if facts]


def _scalars(facts: object) -> dict[str, Any]:
    """A fact's entries, one level of nesting flattened, lists joined; without the lists that hold nothing."""
    found: dict[str, Any] = {}
    for key, value in facts.items() if isinstance(facts, Mapping) else ():
        if isinstance(value, Mapping):
            found |= {
                _words(inner): _plain(deep) for inner, deep in value.items() if not isinstance(deep, (Mapping, list))
            }
        elif isinstance(value, (list, tuple)):
            found |= {_words(key): ", ".join(map(str, value))} if value else {}
        else:
            found[_words(key)] = _plain(value)
    return found


def _words(key: object) -> str:
    """`memory, GiB` for `memory_gib`."""
    return str(key).replace("_gib", ", GiB").replace("_", " ")


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else value
