"""The front as inline SVG; colours come from the page, so that it follows dark mode."""

from __future__ import annotations

from html import escape

from autocompress.report.front import FrontReport
from autocompress.report.plain_text import one_line
from autocompress.report.plot import BOTTOM, HEIGHT, LABEL_SIZE, LEFT, RIGHT, TOP, WIDTH, Dot, Plot


def as_svg(report: FrontReport, plot: Plot) -> str:
    """An image with a title and a description that say what the plot shows, named after the metric that it is over."""
    title, text = f"plot-title-{plot.x.metric}", f"plot-text-{plot.x.metric}"
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{title} {text}">',
        f'<title id="{title}">Pareto front of {_safe(report.study)}</title>',
        f'<desc id="{text}">{_safe(in_words(report, plot))}</desc>',
        *_grid(plot),
        *_front(plot),
        *(_dot(plot, dot) for dot in plot.dots),
        *_labels(plot),
        "</svg>",
    ]
    return "\n".join(parts)


def in_words(report: FrontReport, plot: Plot) -> str:
    """What the plot shows, for those who cannot see it."""
    said = [f"{plot.y.title} against {plot.x.title}."]
    labelled = [dot for dot in plot.dots if dot.label]
    said += [f"{dot.label}: {plot.x.metric} {dot.x:.4g}, {plot.y.metric} {dot.y:.4g}." for dot in labelled]
    said.append(f"{len(report.estimates)} further candidates are estimates.")
    return " ".join(said)


def _grid(plot: Plot) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value, text in plot.y.ticks:
        y = plot.at(plot.x.low, value)[1]
        parts.append(f'<line class="rule" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{_safe(text)}</text>')
    for value, text in plot.x.ticks:
        x = plot.at(value, plot.y.low)[0]
        parts.append(f'<line class="rule" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_safe(text)}</text>')
    middle_x, middle_y = (LEFT + right) / 2, (TOP + bottom) / 2
    parts += [
        f'<line class="base" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>',
        f'<text class="axis" x="{middle_x}" y="{HEIGHT - 12}" text-anchor="middle">{_safe(plot.x.title)}</text>',
        f'<text class="axis" transform="translate(16 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{_safe(plot.y.title)}</text>",
    ]
    return parts


def _front(plot: Plot) -> list[str]:
    if len(plot.front) < 2:
        return []
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (plot.at(*place) for place in plot.front))
    return [f'<polyline class="front" points="{points}"/>']


def _dot(plot: Plot, dot: Dot) -> str:
    x, y = plot.at(dot.x, dot.y)
    if dot.kind == "estimate":
        return f'<circle class="estimate" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if dot.kind == "cascade":
        corners = f"{x:.1f},{y - 7:.1f} {x + 6:.1f},{y + 5:.1f} {x - 6:.1f},{y + 5:.1f}"
        return f'<polygon class="cascade" points="{corners}"><title>{_safe(dot.told)}</title></polygon>'
    parts = [f'<g class="{dot.kind}">']
    if dot.kind == "baseline":
        parts.append(f'<line class="level" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
    if dot.spans[0]:
        low, high = (plot.at(end, dot.y)[0] for end in dot.spans[0])
        parts.append(f'<line class="span" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>')
    if dot.spans[1]:
        low, high = (plot.at(dot.x, end)[1] for end in dot.spans[1])
        parts.append(f'<line class="span" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>')
    if dot.knee:
        parts.append(f'<circle class="knee" cx="{x:.1f}" cy="{y:.1f}" r="11"/>')
    if dot.kind == "baseline":
        parts.append(f'<rect x="{x - 5.5:.1f}" y="{y - 5.5:.1f}" width="11" height="11" rx="2"/>')
    else:
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
    return "".join([*parts, "</g>"])


def _labels(plot: Plot) -> list[str]:
    parts = []
    for dot, box in plot.labels():
        x, y = plot.at(dot.x, dot.y)
        end = box.leader(x, y)
        if end:
            parts.append(f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>')
        weight = " strong" if dot.knee else ""
        parts.append(
            f'<text class="label{weight}" x="{box.x + 2:.1f}" y="{box.y + LABEL_SIZE:.1f}">{_safe(dot.label)}</text>'
        )
    return parts


def _safe(text: str) -> str:
    return escape(one_line(text), quote=True)
