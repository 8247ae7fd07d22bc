"""Cascades beside the front: a short table for the terminal, and a section of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from autocompress.report.cascades import Cascade
from autocompress.report.layout import Column, Fitted, Row
from autocompress.report.plain_text import one_line
from autocompress.report.wording import drop, drop_within, label, marked, points_unit, quality_unit, times, with_unit

ABOUT: Final = (
    "Cascades: a small model answers, and hands texts on which it is unsure to a large one. Latency is the mean over "
    "texts as they come, modelled from both; `autocompress pick STUDY --cascade --max-quality-drop SHARE` takes one."
)


def as_rows(cascades: Sequence[Cascade], *, with_interval: bool = True) -> list[list[str]]:
    """In the order of `heads`."""
    return [
        [
            f"{one.small.digest[:8]} → {one.large.digest[:8]}",
            f"{100 * one.found.share:.0f} %",
            marked("quality", one.metrics["quality"]) if "quality" in one.metrics else "",
            _lost(one, with_interval=with_interval),
            marked("latency_ms", one.metrics["latency_ms"]),
            times(one.relative.speedup),
            with_unit("latency_ms", one.found.price.worst_ms),
            marked("size_mb", one.metrics["size_mb"]),
        ]
        for one in cascades
    ]


def heads(cascades: Sequence[Cascade]) -> list[str]:
    metrics = cascades[0].metrics
    lost = f"exp. {points_unit(quality_unit(metrics))}".rstrip()
    return ["cascade", "handed on", label("quality", metrics), lost, "latency", "faster", "at worst", "size"]


def as_fitted(cascades: Sequence[Cascade], *, with_interval: bool) -> Fitted:
    """For the terminal: the worst case and size give way where it is narrow."""
    ranks = {"at worst": 1, "size": 2, label("quality", cascades[0].metrics): 3}
    columns = [Column(head, "right" if place else "left", rank=ranks.get(head, 0)) for place, head in
               enumerate(heads(cascades))]  # fmt: skip
    return Fitted(columns, [Row(cells) for cells in as_rows(cascades, with_interval=with_interval)])


def as_section(cascades: Sequence[Cascade]) -> str:
    """Of the page; nothing where there is none."""
    if not cascades:
        return ""
    head = "".join(f'<th scope="col">{_safe(text)}</th>' for text in [*heads(cascades), "small", "large"])
    rows = "".join(
        f'<tr class="cascade">{"".join(f"<td>{_safe(cell)}</td>" for cell in [*cells, *_models(one)])}</tr>'
        for one, cells in zip(cascades, as_rows(cascades), strict=True)
    )
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f'<section><h2>Cascades</h2>{table}<ul class="notes"><li>{_safe(ABOUT)}</li></ul></section>'


def _models(one: Cascade) -> tuple[str, str]:
    return one_line(one.small.summary), one_line(one.large.summary)


def _lost(one: Cascade, *, with_interval: bool) -> str:
    of = quality_unit(one.metrics)
    return drop_within(one.expected.value, one.expected.interval, of) if with_interval else drop(one.expected.value, of)


def _safe(text: str) -> str:
    return escape(text)
