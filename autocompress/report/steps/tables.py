"""How the steps of a policy stand on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from autocompress.report.plain_text import one_line
from autocompress.report.steps.told import Held, Judged, MatrixChange, Steps, StepTold, Worth, places_of, settings_told
from autocompress.report.wording import drop, label, number, points_unit, unit

_MINUS: Final = "\N{MINUS SIGN}"
_SCORES: Final = ("quality", "test_quality")
_ESTIMATES: Final = ("predicted", "modelled")
_TARGET: Final = 18
"""Columns of the terminal for a step's target; longer ones are told in two lines."""


def as_steps(found: Steps, *, matrices: bool = False) -> RenderableType:
    """Laid out for 80 columns and more; with `matrices`, what became of each of them under every step."""
    return _Steps(found, matrices=matrices)


@final
class _Steps:
    def __init__(self, found: Steps, *, matrices: bool) -> None:
        self._found, self._matrices = found, matrices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self._found
        if not found.steps:
            return
        has_parts = any(step.taken for step in found.steps)
        scores = list(dict.fromkeys(one.metric for step in found.steps for one in step.judged))
        units = {one.metric: one.unit for step in found.steps for one in step.judged}
        table = _table()
        table.add_column("step", overflow="fold", min_width=_TARGET)
        if has_parts:
            table.add_column("took", no_wrap=True, justify="right")
            table.add_column("alone", no_wrap=True, justify="right")
            table.add_column("last", no_wrap=True, justify="right")
        for metric in scores:
            table.add_column(_called(metric, units[metric]), overflow="fold", justify="right", max_width=13)
        for place, step in enumerate(found.steps, start=1):
            cells = [_named(place, step)]
            if has_parts:
                cells += [_took(step), _worth(step.alone, found), _worth(step.last, found)]
            cells += [_judged(one) for one in step.judged]
            table.add_row(*cells)
        yield table
        if self._matrices and has_parts:
            yield _matrix_table(found.steps)
        for line in (*_legend(found, has_parts=has_parts, scores=bool(scores)), *found.notes):
            yield Text(one_line(line, width=400), style="dim")


def _table() -> Table:
    """Two columns of the terminal between two of the table."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _named(place: int, step: StepTold) -> str:
    stack, dot, part = step.target.rpartition(".")
    target = [f"{stack}{dot}", part] if len(step.target) > _TARGET else [step.target]
    lines = [f"{place} {step.operator}", *(target if step.target != "*" else ()), settings_told(step.settings)]
    if step.void:
        by = ", ".join(map(str, step.void_by))
        lines.append(f"does nothing beside step {by}" if by else "does nothing here")
    return "\n".join(one_line(line, width=200) for line in lines if line)


def _took(step: StepTold) -> str:
    taken = step.taken
    if taken is None:
        return ""
    lines = [
        _signed("size_mb", taken.bytes / 1e6),
        f"{_signed('parameters', taken.parameters)} params" if taken.parameters else "",
        f"{_signed('macs', taken.macs)} MACs" if taken.macs else "",
    ]
    return "\n".join(line for line in lines if line)


def _worth(worth: Worth | None, found: Steps) -> str:
    if worth is None:
        return ""
    shown = [metric for metric in found.shown if metric in worth.costs]
    lines = [
        f"{'~' if found.sources.get(metric) in _ESTIMATES else ''}{_signed(metric, worth.costs[metric])}"
        for metric in shown
    ]
    return "\n".join(lines) or "not known"


def _judged(one: Judged) -> str:
    """A line for the value, its interval or the range of its neighbours, and what was compared."""
    if one.value is None:
        return "not known"
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
    return "\n".join(lines)


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


def _signed(metric: str, value: float) -> str:
    """`−1.18 M`, `+0.20 ms`; `±0` for nothing, or for what is less than the last digit of a sum."""
    if abs(value) < 1e-9:
        return f"±0 {unit(metric)}".rstrip()
    sign = "+" if value > 0 else _MINUS
    return f"{sign}{number(metric, abs(value))} {unit(metric)}".rstrip()


# Matrices


def _matrix_table(steps: Sequence[StepTold]) -> Table:
    table = _table()
    table.add_column("step", justify="right")
    table.add_column("matrices", overflow="fold")
    table.add_column("before", overflow="fold", min_width=12)
    table.add_column("after", overflow="fold", min_width=12)
    table.add_column("in the file", justify="right", no_wrap=True)
    for place, step in enumerate(steps, start=1):
        for names, before, after, size in _alike(step.taken.matrices if step.taken else ()):
            cells = one_line(names, width=200), _held(before), _held(after)
            table.add_row(str(place), *cells, _signed("size_mb", size / 1e6))
    return table


def _held(held: Held | None) -> str:
    return "–" if held is None else str(held)


def _alike(changes: Sequence[MatrixChange]) -> Iterator[tuple[str, Held | None, Held | None, int]]:
    """Matrices that were alike and are alike now, named together, with what the file holds more of all of them."""
    in_part: dict[tuple[str, Held | None, Held | None], list[MatrixChange]] = {}
    for one in changes:
        in_part.setdefault((one.part, one.before, one.after), []).append(one)
    together: dict[tuple[str, str, Held | None, Held | None], list[MatrixChange]] = {}
    for (part, before, after), found in in_part.items():
        matrices = ", ".join(one.matrix for one in found)
        kind = part.rpartition(".")[2]
        together.setdefault((kind, matrices, before, after), []).extend(found)
    for (_, matrices, before, after), found in together.items():
        parts = places_of(one.part for one in found)
        yield f"{parts} {matrices}", before, after, sum(one.bytes for one in found)


# Words


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
