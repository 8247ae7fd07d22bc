"""The time of a model's parts as a picture: a pair of bars each, what was measured and what the machine allows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autocompress.report.canvas import POINTS, new_figure, save
from autocompress.report.palette import BASELINE, INK, MUTED, RULE, VERIFIED
from autocompress.report.parts_section import PartsSection, PartTime, milliseconds, multiple, title
from autocompress.report.plain_text import one_line
from autocompress.report.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 1000
_HEAD, _TICKS, _LINE = 118, 44, 16
"""Heights in pixels: the heading, the axis below the bars, a line of what is said at the bottom."""
_ROW: Final = 40
_LEFT, _RIGHT = 240, 206
"""Widths in pixels: the names of parts, and what stands beside their bars."""
_TEXT: Final = 12.5 * POINTS
_SMALL: Final = 11 * POINTS
_BAR: Final = 0.3
"""Height of a bar, as a share of its row."""


def as_parts_png(section: PartsSection, path: Path, *, heading: Sequence[str]) -> None:
    """Horizontal bars of all parts in the order in which they run, on one scale.

    Raises HostError without matplotlib, or when the file cannot be written.
    """
    foot = [line for said in (section.about(), *section.remarks()) for line in textwrap.wrap(one_line(said), 150)]
    panel, below = _ROW * len(section.parts), _LINE * len(foot) + 18
    height = _HEAD + panel + _TICKS + below
    figure = new_figure(_WIDTH, height, instead="--json")
    _head(figure, height, section, heading)
    box = (_LEFT / _WIDTH, (_TICKS + below) / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, panel / height)
    _bars(figure.add_axes(box), section)
    for place, line in enumerate(foot):
        up = (below - 4 - _LINE * (place + 1)) / height
        figure.text(20 / _WIDTH, up, line, fontsize=_SMALL, color=MUTED)
    save(figure, path, about=f"Time of parts beside the machine's ceiling, {' '.join(heading)}")


def _head(figure: Figure, height: float, section: PartsSection, heading: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    left = 20 / _WIDTH
    figure.text(left, 1 - 30 / height, heading[0], fontsize=11.5, weight="bold", color=INK)
    figure.text(left, 1 - 50 / height, heading[1], fontsize=_SMALL, color=MUTED)
    said = section.verdict()
    figure.text(left, 1 - 72 / height, f"{said[0].upper()}{said[1:]}.", fontsize=_TEXT, color=INK)
    for across, colour, name in ((_LEFT, VERIFIED, "measured"), (_LEFT + 100, BASELINE, "ceiling")):
        place = across / _WIDTH, 1 - 104 / height
        figure.add_artist(Rectangle(place, 11 / _WIDTH, 11 / height, facecolor=colour, edgecolor="none"))
        figure.text(place[0] + 17 / _WIDTH, place[1], name, fontsize=_SMALL, color=INK)


def _bars(axes: Axes, section: PartsSection) -> None:
    rows = range(len(section.parts))
    for shift, colour, values in (
        (-_BAR / 2, VERIFIED, [part.milliseconds for part in section.parts]),
        (_BAR / 2, BASELINE, [part.ceiling_ms for part in section.parts]),
    ):
        axes.barh([row + shift for row in rows], values, height=_BAR, color=colour, zorder=3)
    longest = max(max(part.milliseconds, part.ceiling_ms) for part in section.parts)
    axes.set_xlim(0, 1.02 * max(longest, 1e-6))
    axes.set_ylim(len(section.parts) - 0.5, -0.5)
    axes.set_yticks([])
    for row, part in zip(rows, section.parts, strict=True):
        _label(axes, row, part, section.whole_ms)
    axes.set_xlabel("milliseconds of one inference", fontsize=_SMALL, color=MUTED, labelpad=4)
    axes.tick_params(length=0, labelsize=_SMALL, colors=MUTED, pad=5)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(axes: Axes, row: int, part: PartTime, whole_ms: float) -> None:
    """A part's name and work to the left of its bars; its time, share and distance from the ceiling to the right."""
    about = [one for one in (part.precision, f"{number('macs', part.macs)} MACs" if part.macs else "") if one]
    share = f"{100 * part.milliseconds / whole_ms:.0f} % of the whole"
    far = f"{multiple(part)} the ceiling" if part.times is not None else "no ceiling"
    for across, shift, side, lines in (
        (0, -10, "right", (title(part), " · ".join(about))),
        (1, 10, "left", (f"{milliseconds(part.milliseconds)} · {far}", share)),
    ):
        for text, size, colour, up in zip(lines, (_TEXT, _SMALL), (INK, MUTED), (6, -7), strict=True):
            axes.annotate(
                text, (across, row), xycoords=("axes fraction", "data"),
                xytext=(shift * POINTS, (up if lines[1] else 0) * POINTS), textcoords="offset points",
                fontsize=size, color=colour, ha=side, va="center", annotation_clip=False,
            )  # fmt: skip
