"""The importance of heads and layers as a picture: a heat map a criterion, and bars for layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.report.canvas import POINTS, new_figure, save
from autocompress.report.importance_section import ImportanceSection
from autocompress.report.palette import BASELINE, ESTIMATE, INK, MUTED, RULE, SHADES, VERIFIED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 1000
_COLUMNS: Final = 4
_HEAD, _FOOT = 92, 40
"""Heights in pixels: the heading, and what is said below."""
_LEFT, _RIGHT, _GAP = 78, 22, 26
"""Widths in pixels: the names of layers, the right margin, between two panels."""
_TITLE, _TICKS, _SCALE, _SPACE, _BARS = 44, 20, 26, 18, 96
"""Heights in pixels: a panel's title, its ticks, its colour scale, the space below it; the bars of layers."""
_TEXT: Final = 12.5 * POINTS
_SMALL: Final = 11 * POINTS
_TINY: Final = 10 * POINTS
_MOST_TICKS: Final = 16
_ENDS: Final = (0.03, 0.97)
"""The quantiles that are palest and darkest: one head unlike all others would leave the rest without contrast."""
_LOG_FROM: Final = 30.0
"""A criterion whose darkest score is so many times its palest is shown on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class _Criterion:
    """What a panel is called and says of itself; `sign` turns scores back into what is measured."""

    name: str
    about: str
    sign: float = 1.0


_HEADS: Final = (
    _Criterion("combined", "mean rank over the others"),
    _Criterion("fisher", "squared gradient of the loss"),
    _Criterion("taylor", "absolute gradient of the loss"),
    _Criterion("magnitude", "norm of the weights"),
    _Criterion("confidence", "largest attention weight"),
    _Criterion("entropy", "spread of the attention, nats", -1.0),
    _Criterion("distance", "tokens to what it looks at", -1.0),
    _Criterion("redundancy", "bits from the most similar head"),
)
_LAYERS: Final = (
    _Criterion("combined", "mean rank over the others"),
    _Criterion("residual", "turn of the stream, 1 − cosine"),
    _Criterion("fisher", "sum over heads and channels"),
    _Criterion("taylor", "sum over heads and channels"),
)


def as_importance_png(section: ImportanceSection, path: Path, *, heading: Sequence[str]) -> None:
    """A heat map of layers by heads for each criterion, dark for important, what the candidate kept outlined.

    Raises HostError without matplotlib, or when the file cannot be written.
    """
    panel = len(section.depth) * min(26.0, max(13.0, 150 / len(section.depth)))
    block = _TITLE + panel + _TICKS + _SCALE + _SPACE
    shown = [one for one in _HEADS if one.name in section.importance.heads]
    rows = math.ceil(len(shown) / _COLUMNS)
    height = _HEAD + rows * block + _TITLE + _BARS + _TICKS + _FOOT
    figure = new_figure(_WIDTH, height, instead="--json")
    _head(figure, height, section, heading)
    for place, criterion in enumerate(shown):
        row, column = divmod(place, _COLUMNS)
        top = _HEAD + row * block
        axes = _axes(figure, height, column, top + _TITLE, panel)
        _title(axes, criterion, panel, used=criterion.name in section.used)
        _heat(axes, section, criterion, first=column == 0)
        scale = _axes(figure, height, column, top + _TITLE + panel + _TICKS + 4, 6)
        _scale(scale, _matrix(section, criterion), criterion)
    for column, criterion in enumerate(one for one in _LAYERS if one.name in section.importance.layers):
        axes = _axes(figure, height, column, _HEAD + rows * block + _TITLE, _BARS)
        _title(axes, criterion, _BARS)
        _bars(axes, section, criterion)
        if column == 0:
            _axis(axes, "layer")
    save(figure, path, about=f"Importance of heads and layers, {' '.join(heading)}")


def _axes(figure: Figure, height: float, column: int, top: float, tall: float) -> Axes:
    width = (_WIDTH - _LEFT - _RIGHT - (_COLUMNS - 1) * _GAP) / _COLUMNS
    left = _LEFT + column * (width + _GAP)
    return figure.add_axes((left / _WIDTH, 1 - (top + tall) / height, width / _WIDTH, tall / height))


def _head(figure: Figure, height: float, section: ImportanceSection, heading: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    left = 20 / _WIDTH
    figure.text(left, 1 - 30 / height, heading[0], fontsize=11.5, weight="bold", color=INK)
    figure.text(left, 1 - 50 / height, heading[1], fontsize=_SMALL, color=MUTED)
    said = "Heads of every layer of the uncompressed model; the darker, the more important."
    figure.text(left, 1 - 67 / height, said, fontsize=_SMALL, color=MUTED)
    below = "Measured on training texts.  ●  criteria that the study's space asks for."
    figure.text(left, 16 / height, below, fontsize=_SMALL, color=MUTED)
    if section.kept is None:
        return
    place = (_WIDTH - _RIGHT - 80) / _WIDTH, 1 - 66 / height
    figure.add_artist(Rectangle(place, 11 / _WIDTH, 11 / height, fill=False, edgecolor=BASELINE, linewidth=1.4))
    figure.text(place[0] + 17 / _WIDTH, place[1], "kept heads", fontsize=_SMALL, color=INK)


def _title(axes: Axes, criterion: _Criterion, tall: float, *, used: bool = False) -> None:
    name = f"{criterion.name} ●" if used else criterion.name
    strong = "bold" if criterion.name == "combined" else "normal"
    axes.text(0, 1 + 23 / tall, name, transform=axes.transAxes, fontsize=_TEXT, color=INK, weight=strong)
    axes.text(0, 1 + 8 / tall, criterion.about, transform=axes.transAxes, fontsize=_TINY, color=MUTED)


def _matrix(section: ImportanceSection, criterion: _Criterion) -> NDArray[np.float64]:
    """[layers, heads]; a layer with fewer heads than another ends in NaN."""
    rows = [section.heads(criterion.name, layer) for layer in section.depth]
    whole = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return whole


def _shades(scores: NDArray[np.float64]) -> tuple[Any, Any]:
    """A colour map and how scores fall on it."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    low, high = map(float, np.nanquantile(scores, _ENDS))
    norm = LogNorm(low, high) if low > 0 and high > _LOG_FROM * low else Normalize(low, high)
    return LinearSegmentedColormap.from_list("importance", SHADES), norm


def _heat(axes: Axes, section: ImportanceSection, criterion: _Criterion, *, first: bool) -> None:
    from matplotlib.patches import Rectangle

    scores = _matrix(section, criterion)
    colours, norm = _shades(scores)
    axes.pcolormesh(scores, cmap=colours, norm=norm, edgecolors="white", linewidth=1.0)
    axes.invert_yaxis()
    for layer, heads in (section.kept or {}).items():
        for head in heads:
            box = Rectangle((head + 0.07, layer + 0.07), 0.86, 0.86, fill=False, edgecolor=BASELINE, linewidth=1.1)
            axes.add_patch(box)
    _plain(axes)
    step = math.ceil(scores.shape[1] / _MOST_TICKS)
    shown = range(0, scores.shape[1], step)
    axes.set_xticks([head + 0.5 for head in shown], list(map(str, shown)))
    if first:
        _axis(axes, "head")
    names = [_layer_name(section, layer) for layer in section.depth] if first else [""] * len(section.depth)
    axes.set_yticks(np.arange(len(section.depth)) + 0.5, names)
    for label, layer in zip(axes.get_yticklabels(), section.depth, strict=True):
        label.set_color(ESTIMATE if _is_gone(section, layer) else INK)


def _axis(axes: Axes, name: str) -> None:
    """What the ticks below count, to their left."""
    axes.annotate(
        name, (0, 0), xycoords="axes fraction", xytext=(-3, -4), textcoords="offset points",
        fontsize=_TINY, color=MUTED, ha="right", va="top",
    )  # fmt: skip


def _is_gone(section: ImportanceSection, layer: int) -> bool:
    return section.kept is not None and layer not in section.kept


def _layer_name(section: ImportanceSection, layer: int) -> str:
    return f"removed  {layer}" if _is_gone(section, layer) else f"layer  {layer}"


def _scale(axes: Axes, scores: NDArray[np.float64], criterion: _Criterion) -> None:
    """A strip from the least to the most important, with the values there."""
    colours, norm = _shades(scores)
    axes.imshow(np.linspace(0, 1, 128)[None, :], cmap=colours, aspect="auto", vmin=0, vmax=1)
    axes.set_axis_off()
    middle = "logarithmic" if type(norm).__name__ == "LogNorm" else ""
    less, more = ("≤", "≥") if criterion.sign > 0 else ("≥", "≤")
    low, high = (_short(criterion.sign * end) for end in (norm.vmin, norm.vmax))
    ends = (f"{less} {low}", middle, f"{more} {high}")
    for across, text, side in zip((0, 0.5, 1), ends, ("left", "center", "right"), strict=True):
        axes.text(across, -0.5, text, transform=axes.transAxes, fontsize=_TINY, color=MUTED, ha=side, va="top")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}"


def _bars(axes: Axes, section: ImportanceSection, criterion: _Criterion) -> None:
    scores = [section.importance.layers[criterion.name][layer] for layer in section.depth]
    colours = [ESTIMATE if _is_gone(section, layer) else VERIFIED for layer in section.depth]
    axes.bar(list(section.depth), scores, color=colours, width=0.72)
    axes.set_ylim(0, 1.16 * max([*scores, 1e-12]))
    for layer, score in zip(section.depth, scores, strict=True):
        axes.annotate(
            _short(score), (layer, score), xytext=(0, 2), textcoords="offset points",
            fontsize=_TINY, color=MUTED, ha="center",
        )  # fmt: skip
    axes.set_xticks(list(section.depth))
    axes.set_yticks([])
    _plain(axes)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(RULE)
    for label, layer in zip(axes.get_xticklabels(), section.depth, strict=True):
        label.set_color(ESTIMATE if _is_gone(section, layer) else INK)


def _plain(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=_TINY, colors=MUTED, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
