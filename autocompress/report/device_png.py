"""A device profile as a picture: the latency of blocks beside what the arithmetic allows, or a roofline."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autocompress.core.device import Block, CostModel, DeviceProfile, KernelTable
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.prediction import RooflinePredictor
from autocompress.core.storage import Bits, Storage
from autocompress.core.workload import Workload
from autocompress.report.canvas import POINTS, new_figure, save
from autocompress.report.ceilings import least_ms, part_macs, rate
from autocompress.report.devices import BLOCKS, NO_INT8
from autocompress.report.palette import BASELINE, INK, MUTED, RULE, VERIFIED
from autocompress.report.plain_text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 1000
_HEAD, _FOOT, _ROW, _PANEL = 84, 60, 270, 184
"""Heights in pixels: title above, explanation below, one workload, and the axes in it."""
_LEFT, _GAP, _LABELS = 60, 44, 154
"""Widths in pixels: the axis of the left panel, that of the right one, and the labels beside a panel's lines."""
_TEXT: Final = 12 * POINTS
_SMALL: Final = 11 * POINTS
_PRECISIONS: Final[Sequence[tuple[Bits, str, str]]] = ((32, "fp32", VERIFIED), (8, "int8", BASELINE))
_DASHES: Final = (0, (4, 3))
_LENGTHS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Tokens an inference that are marked on a roofline."""


def as_device_png(profile: DeviceProfile, path: Path) -> None:
    """The kernel curves of every workload, or the roofline of a device that nobody measured block by block.

    Raises HostError without matplotlib, or when the file cannot be written.
    """
    figure = _kernel_figure(profile) if profile.tables else _roofline_figure(profile)
    save(figure, path, about=f"Profile of the device {one_line(profile.name)}")


def _titled(height: float, profile: DeviceProfile, foot: str) -> Figure:
    figure = new_figure(_WIDTH, height)
    left = 20 / _WIDTH
    figure.text(left, 1 - 30 / height, one_line(profile.name, width=60), fontsize=11.5, weight="bold", color=INK)
    about = f"{profile.source} {profile.measured_on}, {profile.runtime.name} {profile.runtime.version}"
    for place, text in enumerate((profile.description, about)):
        down = 1 - (48 + 17 * place) / height
        figure.text(left, down, one_line(text, width=140), fontsize=_SMALL, color=MUTED)
    lines = textwrap.wrap(foot, 150)
    for place, line in enumerate(lines):
        up = (14 + 16 * (len(lines) - 1 - place)) / height
        figure.text(left, up, line, fontsize=_SMALL, color=MUTED)
    return figure


# Measured devices


def _kernel_figure(profile: DeviceProfile) -> Figure:
    height = _HEAD + _ROW * len(profile.tables) + _FOOT
    figure = _titled(height, profile, _about_curves(profile))
    width = (_WIDTH - _LEFT - _GAP - 2 * _LABELS) / 2
    blocks: tuple[Block, ...] = ("attention", "feed_forward")
    for place, table in enumerate(profile.tables):
        bottom = _HEAD + place * _ROW + 36 + _PANEL
        for column, block in enumerate(blocks):
            left = _LEFT + column * (width + _LABELS + _GAP)
            box = (left / _WIDTH, 1 - bottom / height, width / _WIDTH, _PANEL / height)
            _curves(figure.add_axes(box), profile, table, block)
    return figure


def _about_curves(profile: DeviceProfile) -> str:
    said = "Milliseconds that one block of a layer before the last adds; bands hold half of the readings."
    if profile.ceilings is not None:
        fp32, int8 = (rate(profile.ceilings, bits, Workload()) / 1e6 for bits, _, _ in _PRECISIONS)
        said += (
            f" Dashed: the least that its arithmetic takes at the ceiling of a core, {_rate(fp32)} GMAC/s in fp32 and "
            f"{_rate(int8)} GMAC/s in int8; the shares say how much of the ceiling the largest block reaches."
        )
    return said


@dataclass(frozen=True, slots=True)
class _Label:
    """Text beside the end of a line, at a height in the units of the axis."""

    y: float
    text: str
    colour: str
    strong: bool = False


def _curves(axes: Axes, profile: DeviceProfile, table: KernelTable, block: Block) -> None:
    labels: list[_Label] = []
    for bits, name, colour in _PRECISIONS:
        rows = sorted((r for r in table.rows if (r.block, r.bits) == (block, bits)), key=lambda row: row.size)
        if not rows:
            continue
        sizes, milliseconds = [row.size for row in rows], [row.milliseconds for row in rows]
        low, high = [row.low for row in rows], [row.high for row in rows]
        axes.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
        axes.plot(sizes, milliseconds, color=colour, linewidth=1.6, zorder=4)
        axes.plot(sizes, milliseconds, "o", color=colour, markersize=5, markeredgecolor="white", zorder=5)
        share = ""
        if profile.ceilings is not None:
            least = [least_ms(table, profile.ceilings, block, bits, size) for size in sizes]
            axes.plot(sizes, least, color=colour, linewidth=1.1, linestyle=_DASHES, alpha=0.9, zorder=3)
            labels.append(_Label(least[-1], f"{name} ceiling", colour))
            share = f", {100 * least[-1] / milliseconds[-1]:.0f} %" if milliseconds[-1] else ""
        labels.append(_Label(milliseconds[-1], f"{name} {milliseconds[-1]:.3g} ms{share}", colour, strong=True))
    axes.set_ylim(0, 1.06 * max(axes.dataLim.y1, 1e-6))
    axes.set_xlim(left=0)
    axes.set_title(f"{BLOCKS[block]}, ms · {table.workload}", loc="left", fontsize=_TEXT, color=INK, pad=10)
    axes.set_xlabel("heads" if block == "attention" else "width", fontsize=_SMALL, color=MUTED, labelpad=4)
    axes.set_xticks(_apart(sorted({row.size for row in table.rows if row.block == block})))
    _plain(axes)
    _beside(axes, labels, panel=_PANEL)


def _apart(sizes: Sequence[int]) -> list[int]:
    """The largest size and those that leave room for its number and for each other's."""
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or kept[-1] - size >= sizes[-1] / 8:
            kept.append(size)
    return kept[::-1]


def _beside(axes: Axes, labels: Sequence[_Label], *, panel: float) -> None:
    """Labels at the right edge of axes that are `panel` pixels high, moved apart where lines end close together."""
    into = axes.transData + axes.transAxes.inverted()
    ordered = sorted(labels, key=lambda label: label.y)
    wanted = [float(into.transform((axes.get_xlim()[1], label.y))[1]) for label in ordered]
    for label, height in zip(ordered, _spread(wanted, gap=15 / panel), strict=True):
        axes.annotate(
            label.text, xy=(1, height), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            fontsize=_SMALL, color=label.colour, verticalalignment="center", annotation_clip=False,
            weight="bold" if label.strong else "normal",
        )  # fmt: skip


def _spread(wanted: Sequence[float], *, gap: float) -> list[float]:
    """Heights near the `wanted` ones, which ascend, at least a gap apart: those that crowd share what is too much."""
    groups: list[list[float]] = []
    for height in wanted:
        groups.append([height])
        while len(groups) > 1 and _bottom(groups[-1], gap) - _bottom(groups[-2], gap) < gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + gap * place for group in groups for place in range(len(group))]


def _bottom(group: Sequence[float], gap: float) -> float:
    """Where the lowest of a group stands whose members are a gap apart around their common middle."""
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _plain(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=_SMALL, colors=MUTED, pad=5)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(MUTED)


# Devices with a cost model


_HIDDEN, _HEADS, _HEAD_SIZE, _INNER = 384, 12, 32, 1536
"""The layer a roofline is drawn for: that of MiniLM."""


def _roofline_figure(profile: DeviceProfile) -> Figure:
    assert profile.cost is not None, "a profile has tables or a cost model"
    panel = 330
    height = _HEAD + 30 + panel + 52 + _FOOT
    figure = _titled(height, profile, _about_roofline(profile.cost))
    box = (_LEFT / _WIDTH, 1 - (_HEAD + 30 + panel) / height, (_WIDTH - _LEFT - _LABELS - 20) / _WIDTH, panel / height)
    _roofline(figure.add_axes(box), profile.cost, panel=panel)
    return figure


def _about_roofline(cost: CostModel) -> str:
    threads = f"{cost.threads} thread{'' if cost.threads == 1 else 's'}"
    int8 = f", {_rate(cost.gmacs_int8)} in int8" if cost.gmacs_int8 else ""
    said = (
        f"One encoder layer (hidden {_HIDDEN}, {_HEADS} heads, width {_INNER}) as the model counts it with {threads}: "
        f"weights are read at {_rate(cost.gbytes_per_second)} GB/s and products computed at {_rate(cost.gmacs_fp32)} "
        f"GMAC/s in fp32{int8}, whichever takes longer."
    )
    if cost.ms_per_layer:
        said += f" Dashed: without the fixed {cost.ms_per_layer:.3g} ms of a layer."
    return said if cost.gmacs_int8 else f"{said} {NO_INT8[0].upper()}{NO_INT8[1:]}."


def _roofline(axes: Axes, cost: CostModel, *, panel: float) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    labels: list[_Label] = []
    roof = replace(cost, ms_per_layer=0.0)
    for (bits, name, colour), dot in zip(_PRECISIONS, (5, 8.5), strict=True):
        ideal, speeds = ([_speed(model, bits, length) for length in _LENGTHS] for model in (roof, cost))
        above = 6 - dot / 10  # the two may be one line: the smaller dots stay visible on the larger ones
        axes.plot(_LENGTHS, ideal, color=colour, linewidth=1.1, linestyle=_DASHES, alpha=0.9, zorder=2)
        axes.plot(_LENGTHS, speeds, color=colour, linewidth=1.6, zorder=above)
        axes.plot(_LENGTHS, speeds, "o", color=colour, markersize=dot, markeredgecolor="white", zorder=above)
        labels.append(_Label(speeds[-1], f"{name} {_rate(speeds[-1])} GMAC/s", colour, strong=True))
    axes.margins(x=0.02, y=0.08)
    axes.set_title("10⁹ multiply-accumulates a second", loc="left", fontsize=_TEXT, color=INK, pad=10)
    axes.set_xlabel("tokens an inference", fontsize=_SMALL, color=MUTED, labelpad=6)
    axes.set_xticks(_LENGTHS)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda *_: "")
    _plain(axes)
    axes.tick_params(which="minor", length=0)
    _beside(axes, labels, panel=panel)


def _rate(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _speed(cost: CostModel, bits: Bits, length: int) -> float:
    """10^9 multiply-accumulates a second in a layer that is not the last, which computes less."""
    first, second = (
        encoder_layer(index, _HIDDEN, heads=_HEADS, head_size=_HEAD_SIZE, channels=_INNER, held=Storage(bits))
        for index in range(2)
    )
    load = Workload(length=length, threads=cost.threads)
    predict = RooflinePredictor(cost, load)
    milliseconds = predict(encoder(_HIDDEN, (first, second))).value - predict(encoder(_HIDDEN, (first,))).value
    return sum(sum(part_macs(part, load).values()) for part in first) / 1e6 / milliseconds
