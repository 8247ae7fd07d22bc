"""The front as inline SVG."""

from __future__ import annotations

from markupsafe import Markup

from autocompress.report.front import FrontReport
from autocompress.report.plot import BOTTOM, HEIGHT, LABEL_SIZE, LEFT, RIGHT, TOP, WIDTH, Plot
from autocompress.report.templating import rendered


def as_svg(report: FrontReport, plot: Plot) -> Markup:
    """An image with a title and a description that say what the plot shows, named after the metric that it is over."""
    return rendered(
        "plot.svg",
        plot=plot,
        study=report.study,
        words=in_words(report, plot),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        top=TOP,
        right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM,
        size=LABEL_SIZE,
    )


def in_words(report: FrontReport, plot: Plot) -> str:
    """What the plot shows, for those who cannot see it."""
    said = [f"{plot.y.title} against {plot.x.title}."]
    labelled = [dot for dot in plot.dots if dot.label]
    said += [f"{dot.label}: {plot.x.metric} {dot.x:.4g}, {plot.y.metric} {dot.y:.4g}." for dot in labelled]
    said.append(f"{len(report.estimates)} further candidates are estimates.")
    return " ".join(said)
