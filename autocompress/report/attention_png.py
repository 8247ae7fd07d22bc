"""Attention maps as a picture: a row a layer of the student, its teacher's on the left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autocompress.report.attention_section import AttentionSection, LayerMaps, Maps
from autocompress.report.canvas import POINTS, new_figure, save
from autocompress.report.palette import BASELINE, INK, MUTED, RULE, SHADES
from autocompress.report.plain_text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH: Final = 1000
_HEAD, _FOOT = 128, 52
"""Heights in pixels: the heading, and what is said below."""
_LEFT, _RIGHT, _GAP, _BETWEEN = 96, 20, 12, 40
"""Widths in pixels: the tokens that ask, the right margin, between teacher and student, between the two pairs."""
_NAME, _SPACE = 26, 26
"""Heights in pixels: a row's name, and the space below a row."""
_LONGEST_WORD: Final = 12
_TEXT: Final = 12.5 * POINTS
_SMALL: Final = 11 * POINTS
_SIZES: Final = (10.5, 8.0)
"""Of a token beside few and beside many others, in pixels; a letter is about 0.6 of it wide."""
_MANY: Final = 18
_PALE: Final = 0.5
"""Weights are shown to this power: a weight of a quarter is still half as dark as a whole one."""


def as_attention_png(section: AttentionSection, path: Path, *, heading: Sequence[str]) -> None:
    """Maps of the teacher and the student side by side: the mean over heads, and the most important head that is left.

    Raises HostError without matplotlib, or when the file cannot be written.
    """
    side = (_WIDTH - _LEFT - _RIGHT - 2 * _GAP - _BETWEEN) / 4
    below = 0.6 * _size(section.words) * max(len(_shown(word)) for word in section.words)
    row = _NAME + side + below + _SPACE
    height = _HEAD + row * len(section.layers) + _FOOT
    figure = new_figure(_WIDTH, height, instead="--json")
    _head(figure, height, side, section, heading)
    last = section.layers[-1].layer
    for place, layer in enumerate(section.layers):
        top = _HEAD + place * row + _NAME
        for column, weights in enumerate((layer.teacher, layer.student, layer.teacher_head, layer.student_head)):
            box = (_across(column, side) / _WIDTH, 1 - (top + side) / height, side / _WIDTH, side / height)
            axes = figure.add_axes(box)
            _map(axes, weights, section.words, first=column == 0)
            if layer.layer == last:
                _mark_first(axes, len(section.words))
        _name(figure, layer, 1 - (top - 7) / height, side)
    save(figure, path, about=f"Attention of teacher and student, {' '.join(heading)}")


def _across(column: int, side: float) -> float:
    return _LEFT + column * (side + _GAP) + (_BETWEEN - _GAP if column > 1 else 0)


def _head(figure: Figure, height: float, side: float, section: AttentionSection, heading: Sequence[str]) -> None:
    left = 20 / _WIDTH
    figure.text(left, 1 - 30 / height, heading[0], fontsize=11.5, weight="bold", color=INK)
    figure.text(left, 1 - 50 / height, heading[1], fontsize=_SMALL, color=MUTED)
    sentence = f"“{one_line(section.text, width=110)}”"
    figure.text(left, 1 - 72 / height, sentence, fontsize=_TEXT, color=INK)
    figure.text(left, 1 - 89 / height, section.answered(), fontsize=_SMALL, color=MUTED)
    for column, name in enumerate(("teacher", "student", "teacher", "student")):
        middle = (_across(column, side) + side / 2) / _WIDTH
        figure.text(middle, 1 - (_HEAD - 4) / height, name, fontsize=_TEXT, color=INK, ha="center", weight="bold")
    lines = (
        "A row is a token that asks, a column a token that it looks at; rows add up to 1. Means over all heads that a "
        "model has in the layer.",
        "Outlined: of the last layer the deployed model computes the first token's row alone, as it classifies by it.",
    )
    for place, line in enumerate(lines):
        figure.text(left, (30 - 16 * place) / height, line, fontsize=_SMALL, color=MUTED)


def _name(figure: Figure, layer: LayerMaps, up: float, side: float) -> None:
    heads = f"mean of {layer.heads_before} heads, and of the {len(layer.kept)} kept"
    figure.text(20 / _WIDTH, up, f"layer {layer.layer}", fontsize=_TEXT, color=INK, weight="bold")
    figure.text(_across(0, side) / _WIDTH, up, f"{heads} · {layer.apart:.2f} bits apart", fontsize=_SMALL, color=MUTED)
    said = f"head {layer.head}, the most important one kept"
    figure.text(_across(2, side) / _WIDTH, up, said, fontsize=_SMALL, color=MUTED)


def _map(axes: Axes, weights: Maps, words: Sequence[str], *, first: bool) -> None:
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    colours = LinearSegmentedColormap.from_list("attention", SHADES)
    axes.pcolormesh(weights, cmap=colours, norm=PowerNorm(_PALE, 0, 1), edgecolors="white", linewidth=0.4)
    axes.invert_yaxis()
    places = [place + 0.5 for place in range(len(words))]
    shown = [_shown(word).replace("$", r"\$") for word in words]
    axes.set_xticks(places, shown, rotation=90)
    axes.set_yticks(places, shown if first else [""] * len(words))
    axes.tick_params(length=0, labelsize=_size(words) * POINTS, colors=MUTED, pad=3)
    for spine in axes.spines.values():
        spine.set_color(RULE)
        spine.set_linewidth(0.8)


def _size(words: Sequence[str]) -> float:
    return _SIZES[len(words) > _MANY]


def _shown(word: str) -> str:
    return one_line(word, width=_LONGEST_WORD)


def _mark_first(axes: Axes, length: int) -> None:
    from matplotlib.patches import Rectangle

    row = Rectangle((0, 0), length, 1, fill=False, edgecolor=BASELINE, linewidth=1.4, clip_on=False, zorder=5)
    axes.add_patch(row)
