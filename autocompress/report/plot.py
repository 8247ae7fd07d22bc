"""What a plot of the front shows and where: the same for PNG and SVG, drawn by neither."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from autocompress.core.metrics import METRICS, Direction
from autocompress.core.pareto import front, oriented
from autocompress.report.front import FrontReport, Member, Metrics
from autocompress.report.labels import Box, place_labels
from autocompress.report.wording import change, listed, number, times, title_of, word

if TYPE_CHECKING:
    from autocompress.report.cascades import Cascade

WIDTH: Final = 860
HEIGHT: Final = 480
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 24, 58
"""The frame around the axes, in pixels."""
LABEL_SIZE: Final = 12
"""Font size of a label in pixels; a character of a sans-serif font is about 0.56 of it wide."""

Kind = Literal["baseline", "verified", "estimate", "cascade"]
BASELINE: Final = "candidate-0"
_ORDER: Final = ("estimate", "baseline", "cascade", "verified")


@dataclass(frozen=True, slots=True)
class Dot:
    """A candidate in data units; `spans` are its 95 % intervals along x and y, `told` is what a page without a script
    says of it where it is pointed at, and `id` is by what its other parts are found."""

    x: float
    y: float
    kind: Kind
    label: str = ""
    knee: bool = False
    spans: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
    told: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    metric: str
    title: str
    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Plot:
    """`front` joins those verified members that no other beats in these two metrics; `hidden` estimates lie below the
    range shown."""

    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    front: tuple[tuple[float, float], ...]
    hidden: int

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the upper left corner."""
        across = LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT)
        return across, TOP + (1 - self.y.share(y)) * (HEIGHT - TOP - BOTTOM)

    def labels(self) -> list[tuple[Dot, Box]]:
        """Every labelled dot with the box of its label; no label covers another, a dot or an interval."""
        labelled = [dot for dot in self.dots if dot.label]
        anchors = [self.at(dot.x, dot.y) for dot in labelled]
        sizes = [(0.56 * LABEL_SIZE * len(dot.label) + 4, LABEL_SIZE + 3.0) for dot in labelled]
        boxes = place_labels(anchors, sizes, obstacles=self._obstacles(), within=self._inside())
        return list(zip(labelled, boxes, strict=True))

    def _obstacles(self) -> list[Box]:
        found = []
        for dot in self.dots:
            x, y = self.at(dot.x, dot.y)
            reach = 4 if dot.kind == "estimate" else 8
            found.append(Box(x - reach, y - reach, 2 * reach, 2 * reach))
            if dot.spans[0]:
                left, right = (self.at(end, dot.y)[0] for end in dot.spans[0])
                found.append(Box(left - 1, y - 4, right - left + 2, 8))
            if dot.spans[1]:
                top, bottom = (self.at(dot.x, end)[1] for end in reversed(dot.spans[1]))
                found.append(Box(x - 4, top - 1, 8, bottom - top + 2))
            if dot.kind == "baseline":
                found.append(Box(LEFT, y - 1, WIDTH - LEFT - RIGHT, 2))
        for (x1, y1), (x2, y2) in itertools.pairwise(self.at(*place) for place in self.front):
            steps = [i / 40 for i in range(41)]
            found += [Box(x1 + (x2 - x1) * t - 2, y1 + (y2 - y1) * t - 2, 4, 4) for t in steps]
        return found

    @staticmethod
    def _inside() -> Box:
        return Box(LEFT + 4, TOP, WIDTH - LEFT - RIGHT - 4, HEIGHT - TOP - BOTTOM - 4)


def id_of(one: Member | Cascade) -> str:
    """By which a page knows a candidate, or two as one."""
    return f"candidate-{one.number}" if isinstance(one, Member) else f"cascade-{one.digest}"


def plots_of(report: FrontReport) -> list[Plot]:
    """One for every objective that is paid for, the first of them first; none while there is nothing to draw."""
    y, costs = _axes(report)
    return [plot for x in costs if (plot := _plot(report, x, y))]


def _plot(report: FrontReport, x: str, y: str) -> Plot | None:
    everyone = _dots(report, x, y)
    if not everyone:
        return None
    shown = [dot for dot in everyone if dot.kind == "verified" or dot.kind == "baseline"] or everyone
    low, high = _y_range(shown)
    dots = [dot for dot in everyone if dot in shown or low <= dot.y <= high]
    dots += [dot for dot in _cascades(report, x, y) if low <= dot.y <= high]
    members = [member.metrics for member in report.verified if {x, y} <= member.metrics.keys()]
    return Plot(
        x=_cost_axis(x, _title(x, report), dots),
        y=Axis(y, _title(y, report), low, high, False, _linear_ticks(y, low, high)),
        dots=tuple(sorted(dots, key=lambda dot: _ORDER.index(dot.kind))),
        front=_front(report, x, y, [(metrics[x].value, metrics[y].value) for metrics in members]),
        hidden=sum(dot not in dots for dot in everyone),
    )


def _axes(report: FrontReport) -> tuple[str, list[str]]:
    """What is gained, and what it costs: all other objectives, or latency where there is none."""
    best = [metric for metric, way in report.objectives.items() if way == "maximize"]
    none = next(iter(report.objectives)) if report.own else "quality"
    y = "quality" if "quality" in best else best[0] if best else none
    others = [metric for metric in report.objectives if metric != y]
    if report.own:
        return y, others
    return y, others or [next(metric for metric in ("latency_ms", "size_mb") if metric != y)]


def way_of(report: FrontReport, metric: str) -> Direction:
    """Which way is better, of a metric of the user's own too."""
    score = "quality" if metric == "test_quality" else metric
    return METRICS[score].direction if score in METRICS else report.objectives.get(metric, "minimize")


def _front(
    report: FrontReport, x: str, y: str, points: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """A model may be on the front for a third objective, and lie behind another in these two."""
    ways = {metric: way_of(report, metric) for metric in (x, y)}
    return tuple(sorted(points[place] for place in front([oriented({x: a, y: b}, ways) for a, b in points])))


def _dots(report: FrontReport, x: str, y: str) -> list[Dot]:
    dots = []
    if report.baseline and {x, y} <= report.baseline.metrics.keys():
        kind: Kind = "baseline" if report.baseline.measured or report.own else "estimate"
        dots.append(_dot(report.baseline.metrics, x, y, kind, "baseline", knee=False, of=BASELINE))
    for member in report.members:
        if {x, y} <= member.metrics.keys():
            text = f"{_gain(member, x)} {member.digest[:8]}".strip() if member.verified else ""
            kind = "verified" if member.verified else "estimate"
            dots.append(_dot(member.metrics, x, y, kind, text, knee=member.knee, of=id_of(member)))
    return dots


def _gain(member: Member, metric: str) -> str:
    """How much better than the uncompressed model it is in what is drawn: in size or speed, as other costs are not
    compared."""
    if metric == "size_mb":
        return change(member.relative.size_ratio)
    return times(member.relative.speedup) if metric in ("latency_ms", "throughput") else ""


def _cascades(report: FrontReport, x: str, y: str) -> list[Dot]:
    """Two models as one, without labels: the front is of single ones."""
    return [
        Dot(
            one.metrics[x].value,
            one.metrics[y].value,
            "cascade",
            told=f"{one.summary}: {times(one.relative.speedup)}",
            id=id_of(one),
        )
        for one in report.cascades
        if {x, y} <= one.metrics.keys()
    ]


def _dot(metrics: Metrics, x: str, y: str, kind: Kind, text: str, *, knee: bool, of: str) -> Dot:
    spans = (metrics[x].interval, metrics[y].interval) if kind != "estimate" else (None, None)
    return Dot(metrics[x].value, metrics[y].value, kind, text, knee, spans, id=of)


def _title(metric: str, report: FrontReport) -> str:
    """Its name, unit, and the word that its values must not go without: that of the verified models if there are any,
    as what is only estimated is drawn as such."""
    everyone = [report.baseline.metrics] if report.baseline else []
    everyone += [member.metrics for member in report.verified or report.members]
    values = [metrics[metric] for metrics in everyone if metric in metrics]
    words = listed(sorted({word(metric, value) for value in values} - {""}))
    return title_of(metric, everyone[0] if everyone else {}, words, way=way_of(report, metric))


def _y_range(dots: Sequence[Dot]) -> tuple[float, float]:
    """What is measured fills the plot: scores before training reach far down and would flatten it."""
    ends = [end for dot in dots for end in (dot.spans[1] or (dot.y, dot.y))]
    low, high = min(ends), max(ends)
    span = (high - low) or 0.1 * abs(high) or 1.0
    return low - 0.25 * span, high + 0.08 * span


def _cost_axis(metric: str, title: str, dots: Sequence[Dot]) -> Axis:
    ends = [end for dot in dots for end in (dot.spans[0] or (dot.x, dot.x))]
    low, high = min(ends), max(ends)
    if low <= 0:
        pad = 0.1 * ((high - low) or 1.0)
        return Axis(metric, title, low - pad, high + pad, False, _linear_ticks(metric, low - pad, high + pad))
    pad = max((high / low) ** 0.08, 1.08)
    low, high = low / pad, high * pad
    return Axis(metric, title, low, high, True, _log_ticks(metric, low, high))


def _log_ticks(metric: str, low: float, high: float) -> tuple[tuple[float, str], ...]:
    """The coarsest of three sets of round numbers that gives at least four ticks."""
    ticks: list[float] = []
    for steps in ((1, 10), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = sorted({step * 10.0**decade for decade in decades for step in steps})
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            return tuple((tick, _tick(metric, tick)) for tick in ticks)
    return _linear_ticks(metric, low, high)


def _linear_ticks(metric: str, low: float, high: float) -> tuple[tuple[float, str], ...]:
    rough = (high - low) / 5
    unit_step = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit_step for m in (1, 2, 2.5, 5, 10) if m * unit_step >= rough)
    ticks = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return tuple((tick, _tick(metric, tick)) for tick in ticks)


def _tick(metric: str, value: float) -> str:
    """Round numbers: `5`, where a measured value reads `5.00`."""
    return f"{value:.5g}" if metric.endswith(("_ms", "_mb", "_mj", "_mib")) else number(metric, value)
