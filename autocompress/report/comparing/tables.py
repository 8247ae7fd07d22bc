"""How two candidates, or two studies, stand beside each other on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from autocompress.report.comparing.candidates import ComparedCandidates, Side
from autocompress.report.comparing.deltas import Delta
from autocompress.report.comparing.studies import ComparedStudies, StudySide
from autocompress.report.front import Member
from autocompress.report.layout import Cell, Column, Fitted, Row, with_gaps
from autocompress.report.plain_text import one_line
from autocompress.report.promise import percent
from autocompress.report.settling import Settled
from autocompress.report.table import in_full
from autocompress.report.wording import (
    change,
    drop,
    drop_within,
    label,
    listed,
    marked,
    number,
    points_unit,
)

_LINES: Final = 20
"""Further differences of specs are counted; `--json` has them all."""
_LETTERS: Final = ("A", "B")


def as_comparison(found: ComparedCandidates | ComparedStudies) -> RenderableType:
    """Laid out for the width it is printed at."""
    return _Candidates(found) if isinstance(found, ComparedCandidates) else _Studies(found)


@final
class _Candidates:
    def __init__(self, found: ComparedCandidates) -> None:
        self._found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self._found
        heads = [one.digest[:8] for one in (found.a, found.b)]
        for letter, one in zip(_LETTERS, (found.a, found.b), strict=True):
            yield _heading(letter, one.digest, one.state, one.summary)
        yield from _deltas(found.deltas, heads, options.max_width, [_unseen(found.a, found.b)])
        yield from _policies(found, heads)
        for line in found.notes:
            yield Text(one_line(line), style="dim")


@final
class _Studies:
    def __init__(self, found: ComparedStudies) -> None:
        self._found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found, sides = self._found, (self._found.a, self._found.b)
        for letter, side in zip(_LETTERS, sides, strict=True):
            told = side.report.description if found.a.report.description != found.b.report.description else ""
            yield _heading(letter, side.report.study, side.report.state, told)
        yield _about(found)
        yield from _asked(found)
        yield Text("Fronts", style="bold")
        yield _fronts(found)
        yield Text(_reference(found), style="dim")
        yield Text("")
        yield Text(f"Best of each: {found.rule}.", style="bold")
        for letter, side in zip(_LETTERS, sides, strict=True):
            yield Text(f"{letter}  {one_line(_best(side))}")
        picks = [side.picked.digest[:8] if side.picked else "" for side in sides]
        yield from _deltas(found.deltas, picks, options.max_width, [])
        for line in found.warnings:
            yield Text(one_line(f"Warning: {line}."), style="yellow")


def _heading(letter: str, name: str, *rest: str) -> Text:
    title = Text(f"{letter}  {name}", style="bold")
    for told in rest:
        title.append(f"  {one_line(told)}", style="not bold")
    return title


# Metrics


def _deltas(
    found: Sequence[Delta], heads: Sequence[str], width: int, more: Sequence[Row | None]
) -> Iterator[RenderableType]:
    """A row for each metric, intervals below their values where there is little room, and what is not told apart."""
    if not found:
        return
    scores = sum(one.is_score for one in found)
    columns = [
        Column(""),
        *(Column(f"{letter} {head}", "right") for letter, head in zip(_LETTERS, heads, strict=True)),
        Column("B beside A", "right"),
    ]

    def made(gap: str) -> Fitted:
        rows = []
        for one in found:
            cells = [in_full(one.metric, {one.metric: side} if side else {}, gap) for side in (one.a, one.b)]
            rows.append(Row([label(one.metric, one.known), *cells, _apart(one, gap)]))
        rows[scores:scores] = [row for row in more if row is not None]
        return Fitted(columns, rows)

    yield with_gaps(made, width)
    yield from (Text(line, style="dim") for line in _sureness(found))


def _apart(one: Delta, gap: str) -> str:
    """`−0.4 pt [−1.9 to +1.1]`, `−12 % [−14 to −10]`."""
    if one.difference is None:
        return ""
    of = next((side.unit for side in (one.a, one.b) if side), "")
    if one.is_score:
        text, unit = drop(-one.difference, of), points_unit(of)
        within = drop_within(-one.difference, (-one.interval[1], -one.interval[0]), of) if one.interval else ""
        bracket = within.partition(" [")[2]
        return f"{text} {unit}".rstrip() + (f"{gap}[{bracket}" if bracket else "")
    if one.ratio is None:
        return number(one.metric, one.difference)
    if one.interval is None:
        return change(one.ratio)
    low, high = (change(end).removesuffix(" %") for end in one.interval)
    return f"{change(one.ratio)}{gap}[{low} to {high}]"


def _unseen(a: Side, b: Side) -> Row | None:
    """What each is expected to lose on rows that nobody has seen."""
    if a.expected is None and b.expected is None:
        return None
    metrics = a.exported or b.exported
    of = metrics["quality"].unit if "quality" in metrics else ""
    cells = [
        f"{drop(one.expected.value, of)} {points_unit(of)}".rstrip()
        if one.expected
        else ("±0" if one.is_baseline else "")
        for one in (a, b)
    ]
    return Row([f"{label('quality', metrics)}, unseen", *cells, ""])


def _sureness(found: Sequence[Delta]) -> Iterator[str]:
    """Which intervals are paired, and in which metrics the two are not told apart."""
    names = {one.metric: label(one.metric, one.known) for one in found}
    paired = [names[one.metric] for one in found if one.how == "paired"]
    apart = [names[one.metric] for one in found if one.how == "two intervals"]
    equal = [names[one.metric] for one in found if one.told_apart is False]
    if paired:
        yield f"95 % intervals of {listed(paired)} are paired: of the same rows, or of the same rounds."
    if apart:
        yield f"Those of {listed(apart)} follow from the two values' own, and are wider."
    if equal:
        yield f"Nothing measured tells the two apart in {listed(equal)}."


# Policies


def _policies(found: ComparedCandidates, heads: Sequence[str]) -> Iterator[RenderableType]:
    """The parts that differ, and steps that no part shows."""
    differing = found.policies.differing
    if differing:
        columns = [Column("part"), *(Column(f"{a} {b}", folds=True) for a, b in zip(_LETTERS, heads, strict=True))]
        yield Fitted(columns, [Row([row.part, row.a, row.b]) for row in differing])
    same = sum(not row.differs for row in found.policies.parts)
    if same:
        yield Text(f"{same} more part{' is' if same == 1 else 's are'} the same in both.", style="dim")
    for line in found.policies.unseen:
        yield Text(one_line(f"step {line}"))


# Studies


def _about(found: ComparedStudies) -> Fitted:
    sides = (found.a, found.b)
    rows = [
        ("machine", [side.ran.machine for side in sides]),
        ("runtimes", [_runtimes(side) for side in sides]),
        ("took", [f"{side.ran.minutes:.1f} min" if side.ran.minutes is not None else "" for side in sides]),
        ("candidates", [_counted(side) for side in sides]),
        ("hypervolume", _volumes(found)),
        ("beaten", [f"{len(side.beaten)} of {len(side.front)} by the other" for side in sides]),
    ]
    columns = [Column(""), *(Column(letter, folds=True, least=28) for letter in _LETTERS)]
    return Fitted(columns, [Row([name, *map(one_line, cells)]) for name, cells in rows if any(cells)])


def _runtimes(side: StudySide) -> str:
    return ", ".join(f"{name} {version}" for name, version in side.ran.runtimes.items())


def _counted(side: StudySide) -> str:
    counts = side.report.counts
    verified = "" if side.report.own else f", {counts.verified} verified"
    return f"{counts.candidates} judged{verified}, {len(side.front)} on the front"


def _volumes(found: ComparedStudies) -> list[str]:
    a, b = found.a.volume, found.b.volume
    return [f"{a:.4g}", f"{b:.4g}" + (f" ({b / a:.3g}× that of A)" if a > 0 else "")]


def _reference(found: ComparedStudies) -> str:
    of = next((one.metrics["quality"].unit for one in found.a.front if "quality" in one.metrics), "")
    at = ", ".join(f"{metric} {number(metric, value, of)}" for metric, value in found.reference.items())
    return (
        f"Hypervolumes of both are taken inside the same reference point: {at}. Beaten: by a model of the other study."
    )


def _asked(found: ComparedStudies) -> Iterator[RenderableType]:
    """What was asked otherwise, of which files."""
    for title, lines in (("asked otherwise", found.specs), ("other files", found.inputs)):
        if lines:
            yield Text(
                f"What was {title}, A -> B" if title.startswith("asked") else "Other files, A -> B", style="bold"
            )
            yield from (Text(f"  {one_line(line, width=300)}") for line in lines[:_LINES])
            if len(lines) > _LINES:
                yield Text(f"  and {len(lines) - _LINES} more: --json lists them all", style="dim")
            yield Text("")
    if not found.specs:
        yield Text("Both were asked the same.", style="dim")


def _fronts(found: ComparedStudies) -> Fitted:
    """Members of both, by the first cost."""
    pairs = [
        (letter, side, one) for letter, side in zip(_LETTERS, (found.a, found.b), strict=True) for one in side.front
    ]
    metrics = list(found.objectives)
    cost = next((metric for metric, way in found.objectives.items() if way == "minimize"), metrics[0])
    known = pairs[0][2].metrics
    columns = [
        Column(""),
        Column("candidate"),
        *(Column(label(metric, known), "right") for metric in metrics),
        Column("beaten"),
        Column("model", rank=1, folds=True, least=24),
    ]
    ordered = sorted(pairs, key=lambda pair: pair[2].metrics[cost].value)
    return Fitted(columns, [Row(_member(letter, side, one, metrics)) for letter, side, one in ordered])


def _member(letter: str, side: StudySide, one: Member, metrics: Sequence[str]) -> list[Cell]:
    values: list[Cell] = [marked(metric, one.metrics[metric]) for metric in metrics]
    beaten = Text("beaten" if one.number in side.beaten else "", style="dim")
    return [letter, f"{one.digest[:8]}{' ◆' if one.knee else ''}", *values, beaten, one_line(one.summary)]


def _best(side: StudySide) -> str:
    if side.picked is None:
        return f"none: {side.why_none}"
    return f"{side.picked.digest[:8]}: {side.picked.member.summary}.{_promise(side)}"


def _promise(side: StudySide) -> str:
    """How sure it is to keep the bound."""
    best, report = side.best, side.report
    if not isinstance(best, Settled):
        return ""
    known, drop_allowed = best.picked.member.expected, side.allowed
    if known is None or drop_allowed is None:
        return f" It keeps the bound as it was seen: {report.expectations.why}."
    return f" It keeps the bound with {percent(known.kept(drop_allowed))}."
