"""A stored candidate beside what came when it was judged again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from autocompress.core.outcome import Evaluated, Failed, Infeasible, Measurement, Measurements, Outcome
from autocompress.report.layout import Column, Fitted, Row
from autocompress.report.plain_text import one_line
from autocompress.report.wording import interval, label, listed, marked

SCHEMA: Final = "autocompress.reproduction/1"

Verdict = Literal["equal", "within", "differs", "missing"]
Of = Literal["searched", "exported"]

_SAME: Final = 1e-9
"""Relative; the last digits of a product may hang on the order of its factors."""
_SAID: Final[Mapping[Verdict, str]] = {
    "equal": "equal",
    "within": "within its interval",
    "differs": "not reproduced",
    "missing": "not there now",
}
_HEADINGS: Final[Mapping[Of, str]] = {"searched": "in the search", "exported": "exported file"}


@dataclass(frozen=True, slots=True)
class Repeated:
    """A metric as it is stored, and as it came `now`: `of` the candidate in the search, or its exported file."""

    of: Of
    stored: Measurement
    now: Measurement | None

    @property
    def metric(self) -> str:
        return self.stored.metric

    @property
    def difference(self) -> float | None:
        return None if self.now is None else self.now.value - self.stored.value

    @property
    def verdict(self) -> Verdict:
        """What was counted, predicted or modelled follows from the policy alone, and has to be equal. What was measured
        may lie anywhere in its 95 % interval, where it has one."""
        stored, now = self.stored, self.now
        if now is None:
            return "missing"
        if math.isclose(stored.value, now.value, rel_tol=_SAME):
            return "equal"
        if stored.source == "measured" and stored.interval and stored.interval[0] <= now.value <= stored.interval[1]:
            return "within"
        return "differs"

    def to_json(self) -> dict[str, Any]:
        return {
            "stored": self.stored.to_json(),
            "now": self.now.to_json() if self.now else None,
            "difference": self.difference,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """Part of the surroundings that is another one than when the candidate was judged."""

    what: str
    stored: str
    now: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A candidate judged again. `stored` and `now` are what became of it then and now, `repeated` its metrics,
    `changed` what differs around it, `remade` the models that were no longer in the cache and were trained again."""

    study: str
    number: int
    digest: str
    summary: str
    stored: Outcome
    now: Outcome
    repeated: tuple[Repeated, ...]
    changed: tuple[Changed, ...] = ()
    remade: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the same became of it, and every metric lies where it has to."""
        return self.same_outcome and all(one.verdict in ("equal", "within") for one in self.repeated)

    @property
    def same_outcome(self) -> bool:
        return _told(self.stored) == _told(self.now)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            "number": self.number,
            "digest": self.digest,
            "policy": self.summary,
            "reproduced": self.ok,
            "outcome": {"stored": _told(self.stored), "now": _told(self.now)},
            "searched": {one.metric: one.to_json() for one in self.repeated if one.of == "searched"},
            "exported": {one.metric: one.to_json() for one in self.repeated if one.of == "exported"},
            "environment": [{"what": one.what, "stored": one.stored, "now": one.now} for one in self.changed],
            "remade": list(self.remade),
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        from autocompress.report.notebook import printed

        return printed(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = Text(self.digest, style="bold")
        title.append(f"  candidate {self.number} of {self.study}  {one_line(self.summary)}", style="not bold")
        yield title
        for of in _HEADINGS:
            rows = [one for one in self.repeated if one.of == of]
            if rows:
                yield _table(of, rows)
        if not self.same_outcome:
            yield Text(f"then: {one_line(_told(self.stored))}; now: {one_line(_told(self.now))}")
        elif not self.repeated:
            yield Text(f"then and now: {one_line(_told(self.stored))}")
        for changed in self.changed:
            yield Text(one_line(f"{changed.what}: {changed.stored} -> {changed.now}"), style="dim")
        if not self.changed:
            yield Text("Nothing differs in the environment.", style="dim")
        for note in self.notes:
            yield Text(one_line(note), style="dim")
        yield Text(one_line(self.told), style="green" if self.ok else "red")

    @property
    def told(self) -> str:
        """In a sentence."""
        if self.ok:
            near = [_name(one) for one in self.repeated if one.verdict == "within"]
            rest = f"; {listed(near)} within the 95 % interval, not equal" if near else ""
            return f"Reproduced{rest}."
        wrong = [_name(one) for one in self.repeated if one.verdict not in ("equal", "within")]
        return f"Not reproduced: {listed([*wrong, *([] if self.same_outcome else ['what became of it'])])}."


def repeated(of: Of, stored: Iterable[Measurement], now: Measurements) -> Iterator[Repeated]:
    """Each of the stored ones with its like."""
    found = {one.metric: one for one in now}
    for one in stored:
        yield Repeated(of, one, found.get(one.metric))


def _told(outcome: Outcome) -> str:
    """What became of a candidate, without its numbers."""
    match outcome:
        case Evaluated():
            return "evaluated"
        case Infeasible(constraint):
            return f"infeasible: {constraint}"
        case Failed(stage, error):
            return f"failed: {stage}: {error}"


def _table(of: Of, rows: Iterable[Repeated]) -> RenderableType:
    columns = [
        Column(_HEADINGS[of]),
        Column("stored", "right"),
        Column("95 % interval", "right", rank=1),
        Column("now", "right"),
        Column("difference", "right"),
        Column(""),
    ]
    return Fitted(columns, [_row(one) for one in rows])


def _row(one: Repeated) -> Row:
    now = "" if one.now is None else marked(one.metric, one.now)
    apart = "" if one.difference is None else "±0" if one.verdict == "equal" else f"{one.difference:+.4g}"
    within = interval(one.metric, one.stored) if one.stored.source == "measured" else ""
    style = "" if one.verdict in ("equal", "within") else "red"
    return Row([_name(one), marked(one.metric, one.stored), within, now, apart, _SAID[one.verdict]], style)


def _name(one: Repeated) -> str:
    return label(one.metric, {one.metric: one.stored})
