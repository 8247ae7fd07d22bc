"""What is told of steps as cells of a table and the words below it, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from autocompress.report.plain_text import one_line
from autocompress.report.steps.told import Judged, Steps, StepTold, Worth, settings_told
from autocompress.report.wording import drop, label, number, points_unit, unit

_MINUS: Final = "\N{MINUS SIGN}"
_SCORES: Final = ("quality", "test_quality")
_ESTIMATES: Final = ("predicted", "modelled")
TARGET: Final = 18
"""Columns of a terminal for a step's target; longer ones are told in two lines."""


@dataclass(frozen=True, slots=True)
class StepCells:
    """`heads`: the step, then what it took, is worth alone and last where the model's parts are known, then `scores`.
    Each row has a cell a head, and each cell its lines; `legend` says what the words mean."""

    heads: tuple[str, ...]
    scores: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], ...], ...]
    legend: tuple[str, ...]


def cells_of(found: Steps) -> StepCells:
    has_parts = any(step.taken for step in found.steps)
    units = {one.metric: one.unit for step in found.steps for one in step.judged}
    scores = tuple(_called(metric, of) for metric, of in units.items())
    rows = []
    for place, step in enumerate(found.steps, start=1):
        cells = [_named(place, step)]
        if has_parts:
            cells += [_took(step), _worth(step.alone, found), _worth(step.last, found)]
        rows.append((*cells, *(_judged(one) for one in step.judged)))
    legend = (*_legend(found, has_parts=has_parts, scores=bool(scores)), *found.notes)
    return StepCells(("step", *(("took", "alone", "last") if has_parts else ()), *scores), scores, tuple(rows), legend)


def _named(place: int, step: StepTold) -> tuple[str, ...]:
    stack, dot, part = step.target.rpartition(".")
    target = [f"{stack}{dot}", part] if len(step.target) > TARGET else [step.target]
    lines = [f"{place} {step.operator}", *(target if step.target != "*" else ()), settings_told(step.settings)]
    if step.void:
        by = ", ".join(map(str, step.void_by))
        lines.append(f"does nothing beside step {by}" if by else "does nothing here")
    return tuple(one_line(line, width=200) for line in lines if line)


def _took(step: StepTold) -> tuple[str, ...]:
    taken = step.taken
    if taken is None:
        return ()
    lines = [
        signed("size_mb", taken.bytes / 1e6),
        f"{signed('parameters', taken.parameters)} params" if taken.parameters else "",
        f"{signed('macs', taken.macs)} MACs" if taken.macs else "",
    ]
    return tuple(line for line in lines if line)


def _worth(worth: Worth | None, found: Steps) -> tuple[str, ...]:
    if worth is None:
        return ()
    shown = [metric for metric in found.shown if metric in worth.costs]
    lines = [
        f"{'~' if found.sources.get(metric) in _ESTIMATES else ''}{signed(metric, worth.costs[metric])}"
        for metric in shown
    ]
    return tuple(lines) or ("not known",)


def _judged(one: Judged) -> tuple[str, ...]:
    """A line for the value, its interval or the range of its neighbours, and what was compared."""
    if one.value is None:
        return ("not known",)
    ends = one.interval
    if ends is None and len(one.neighbours) > 1:
        every = [neighbour.difference for neighbour in one.neighbours]
        ends = min(every), max(every)
    lines = [_score(one.metric, one.value, one.unit)]
    lines += [f"{_bare(one.metric, ends[0], one.unit)} to {_bare(one.metric, ends[1], one.unit)}"] if ends else []
    if one.how == "main effect":
        lines += ["main effect"] if one.beside == "without" else ["main effect", "of its settings"]
    elif one.beside == "without":
        lines.append(f"{one.count} without it")
    else:
        lines += _instead(one)
    return tuple(lines)


def _instead(one: Judged) -> list[str]:
    if one.count > 1:
        return [f"{one.count} set otherwise"]
    return ["beside one with", one_line(one.neighbours[0].instead, width=60)]


def _called(metric: str, of: str) -> str:
    return one_line((of if metric in _SCORES and of not in ("", "share") else label(metric, {})) or metric, width=30)


def _score(metric: str, value: float, of: str) -> str:
    return f"{_bare(metric, value, of)} {points_unit(of) if metric in _SCORES else ''}".rstrip()


def _bare(metric: str, value: float, of: str) -> str:
    if metric in _SCORES:
        return drop(-value, of)
    return f"{value:+.3g}".replace("-", _MINUS) if value else "±0"


def signed(metric: str, value: float) -> str:
    """`−1.18 M`, `+0.20 ms`; `±0` for nothing, or for what is less than the last digit of a sum."""
    if abs(value) < 1e-9:
        return f"±0 {unit(metric)}".rstrip()
    sign = "+" if value > 0 else _MINUS
    return f"{sign}{number(metric, abs(value))} {unit(metric)}".rstrip()


def _legend(found: Steps, *, has_parts: bool, scores: bool) -> Iterator[str]:
    if has_parts:
        yield (
            "took: from what the steps before it have left, which adds up. alone: the uncut model with this step and "
            "no other. last: this model with and without it. alone and last do not add up: steps share what they take."
        )
        if any(change.after is None for step in found.steps if step.taken for change in step.taken.matrices):
            yield "last, of what is removed: put back as steps that are decided for all layers at once would leave it."
        if any(source in _ESTIMATES for source in found.sources.values()):
            yield "~ predicted from the device's table, not measured."
    if scores:
        every = [one for step in found.steps for one in step.judged]
        if any(one.how == "pairs" for one in every):
            yield (
                "without it, set otherwise: judged candidates that differ from this one in that step alone, before "
                "training."
            )
        if any(one.how == "main effect" for one in every):
            yield (
                f"main effect: a mean over all {found.judged} judged candidates by least squares, with its 95 % "
                "interval; it was not measured of this model."
            )
        if any(one.beside == "the mean" for one in every):
            yield "main effect of its settings: beside the mean of the candidates that have the step with any settings."
        whys = dict.fromkeys(one.why for one in every if one.how == "not known" and one.why)
        yield from (f"not known: {why}." for why in whys)
    lacks = dict.fromkeys(
        worth.why_not for step in found.steps for worth in (step.alone, step.last) if worth and worth.why_not
    )
    yield from (f"not known: {why}." for why in lacks)
