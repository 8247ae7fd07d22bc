"""The front as a picture for slides and papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autocompress.errors import NotFoundError
from autocompress.report.canvas import POINTS, new_figure, save
from autocompress.report.front import FrontReport
from autocompress.report.palette import BASELINE, CASCADE, ESTIMATE, INK, KNEE, MUTED, RULE, VERIFIED
from autocompress.report.plain_text import one_line
from autocompress.report.plot import BOTTOM, HEIGHT, LABEL_SIZE, LEFT, RIGHT, TOP, WIDTH, Dot, Plot, plots_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD: Final = 30
"""Pixels above all, for the study's name."""
_TEXT: Final = LABEL_SIZE * POINTS
_COLOURS: Final = {"baseline": BASELINE, "verified": VERIFIED, "estimate": ESTIMATE, "cascade": CASCADE}


def as_png(report: FrontReport, path: Path) -> None:
    """Quality against each cost, one picture below the other. Raises HostError without matplotlib, NotFoundError with
    nothing to draw."""
    plots = plots_of(report)
    whole = HEIGHT * max(1, len(plots)) + _HEAD
    figure = new_figure(WIDTH, whole, instead="--html")
    if not plots:
        raise NotFoundError(
            f"study {report.study!r} has nothing to draw yet; go on with `autocompress resume {report.study}`"
        )
    for place, plot in enumerate(plots):
        bottom = HEIGHT * (len(plots) - 1 - place) + BOTTOM
        size = (WIDTH - LEFT - RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / whole
        axes = figure.add_axes((LEFT / WIDTH, bottom / whole, *size))
        _scale(axes, plot)
        for dot in plot.dots:
            _draw(axes, dot)
        if len(plot.front) > 1:
            axes.plot(*zip(*plot.front, strict=True), color=VERIFIED, alpha=0.35, linewidth=1.4, zorder=2)
        _label(axes, plot)
        if place == 0:
            _legend(axes, plot)
    figure.text(LEFT / WIDTH, 1 - 26 / whole, one_line(report.study, width=60), fontsize=12, weight="bold", color=INK)
    save(figure, path, about=f"Pareto front of the study {report.study}")


def _scale(axes: Axes, plot: Plot) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    if plot.x.log:
        axes.set_xscale("log")
    axes.set_xlim(plot.x.low, plot.x.high)
    axes.set_ylim(plot.y.low, plot.y.high)
    for axis, side in ((axes.xaxis, plot.x), (axes.yaxis, plot.y)):
        axis.set_major_locator(FixedLocator([value for value, _ in side.ticks]))
        axis.set_major_formatter(FixedFormatter([text for _, text in side.ticks]))
        axis.set_minor_locator(NullLocator())
        axis.set_tick_params(length=0, labelsize=_TEXT, colors=MUTED, pad=6)
    axes.set_xlabel(plot.x.title, fontsize=_TEXT, color=MUTED, labelpad=10)
    axes.set_ylabel(plot.y.title, fontsize=_TEXT, color=MUTED)
    axes.yaxis.set_label_coords((20 - LEFT) / (WIDTH - LEFT - RIGHT), 0.5)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(MUTED)


def _draw(axes: Axes, dot: Dot) -> None:
    colour = _COLOURS[dot.kind]
    if dot.kind == "estimate":
        axes.plot(dot.x, dot.y, "o", color=colour, alpha=0.5, markersize=4.5, markeredgewidth=0, zorder=1)
        return
    if dot.kind == "cascade":
        axes.plot(dot.x, dot.y, "^", color=colour, markersize=8, markeredgecolor="white", zorder=3)
        return
    if dot.kind == "baseline":
        axes.axhline(dot.y, color=colour, linewidth=1, linestyle=(0, (4, 4)), alpha=0.6, zorder=1)
    for span, horizontal in ((dot.spans[0], True), (dot.spans[1], False)):
        if span:
            ends: tuple[Any, Any] = (span, (dot.y, dot.y)) if horizontal else ((dot.x, dot.x), span)
            axes.plot(*ends, color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="round", zorder=3)
    if dot.knee:
        axes.plot(dot.x, dot.y, "o", markersize=16.5, markerfacecolor="none", markeredgecolor=KNEE, zorder=3)
    marker = "s" if dot.kind == "baseline" else "o"
    axes.plot(dot.x, dot.y, marker, color=colour, markersize=9, markeredgecolor="white", zorder=4)


_LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4}


def _label(axes: Axes, plot: Plot) -> None:
    for dot, box in plot.labels():
        x, y = plot.at(dot.x, dot.y)
        axes.annotate(
            dot.label,
            xy=(dot.x, dot.y),
            xytext=((box.x + 2 - x) * POINTS, (y - box.y - box.height / 2) * POINTS),
            textcoords="offset points",
            fontsize=_TEXT,
            color=INK,
            verticalalignment="center",
            weight="bold" if dot.knee else "normal",
            zorder=5,
            arrowprops=_LEADER if box.leader(x, y) else None,
        )


def _legend(axes: Axes, plot: Plot) -> None:
    from matplotlib.lines import Line2D

    kinds = {dot.kind for dot in plot.dots}
    entries = [
        (VERIFIED, "o", "verified, with 95 % interval", "verified" in kinds),
        (BASELINE, "s", "baseline, uncompressed", "baseline" in kinds),
        (ESTIMATE, "o", "estimate, before training", "estimate" in kinds),
        (CASCADE, "^", "cascade of two, modelled", "cascade" in kinds),
    ]
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=text) for c, m, text, shown in entries if shown]
    if any(dot.knee for dot in plot.dots):
        ring = Line2D([], [], color=KNEE, marker="o", markersize=9, markerfacecolor="none", linestyle="", label="knee")
        handles.append(ring)
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=4, frameon=False, fontsize=8.5,
        labelcolor=MUTED, handletextpad=0.2, columnspacing=1.2, borderaxespad=0.3,
    )  # fmt: skip
