"""Cascades beside the front: a short table, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autocompress.report.cascades import Cascade
from autocompress.report.layout import Column, Fitted, Row
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


def _lost(one: Cascade, *, with_interval: bool) -> str:
    of = quality_unit(one.metrics)
    return drop_within(one.expected.value, one.expected.interval, of) if with_interval else drop(one.expected.value, of)
