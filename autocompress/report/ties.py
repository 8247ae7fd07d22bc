"""Which verified finalists nothing measured tells apart, from intervals of their differences.

Two scores on the same texts, and two latencies of the same rounds, share what makes a text hard and a round slow:
intervals of the two numbers overlap long after that of their difference has left zero (Bonett and Price 2012 for
accuracy). Studies of before differences were kept, and finalists that were measured on different days, are compared by
their own intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from autocompress.core.outcome import Measurement

PAIRS_FACT: Final = "pairs"
"""The fact of a study that holds, by metric and by `a-b`, numbers of two finalists measured together, how far a lies
above b with the ends of its 95 % interval: a difference of qualities, a relative one of latencies."""

COMPARED: Final = ("quality", "latency_ms")


class Measured(Protocol):
    """What is known of a finalist."""

    @property
    def number(self) -> int: ...

    @property
    def metrics(self) -> Mapping[str, Measurement]: ...


@dataclass(frozen=True, slots=True)
class Tie:
    """`numbers` are the finalists that a metric does not tell from its `best`, that one among them, in the order of the
    table; `paired` says that all were compared by intervals of their differences."""

    metric: str
    best: int
    numbers: tuple[int, ...]
    paired: bool

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(number for number in self.numbers if number != self.best)


def ties(members: Sequence[Measured], facts: Mapping[str, Any]) -> tuple[Tie, ...]:
    """Of verified finalists in the order of the table; nothing for a metric whose best one stands alone."""
    found = []
    for metric in COMPARED:
        known = [one for one in members if metric in one.metrics]
        if not known:
            continue
        sign = -1 if metric == "quality" else 1
        best = min(known, key=lambda one: (sign * one.metrics[metric].value, one.number))
        tied = [one for one in known if one is best or is_tied(one, best, metric, facts)]
        if len(tied) > 1:
            paired = all(_difference(one, best, metric, facts) for one in tied if one is not best)
            found.append(Tie(metric, best.number, tuple(one.number for one in tied), paired))
    return tuple(found)


def is_tied(one: Measured, other: Measured, metric: str, facts: Mapping[str, Any]) -> bool:
    """Whether the interval of the difference holds zero; where there is none, whether the two intervals meet."""
    ends = _difference(one, other, metric, facts)
    if ends is not None:
        return ends[0] <= 0 <= ends[1]
    return _overlap(one.metrics.get(metric), other.metrics.get(metric))


def _difference(one: Measured, other: Measured, metric: str, facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of its interval, of `one` above or below `other`: zero lies between them either way round."""
    known = (facts.get(PAIRS_FACT) or {}).get(metric, {})
    found = known.get(f"{one.number}-{other.number}") or known.get(f"{other.number}-{one.number}")
    return (float(found[1]), float(found[2])) if found else None


def _overlap(a: Measurement | None, b: Measurement | None) -> bool:
    if a is None or b is None or a.interval is None or b.interval is None:
        return False
    return a.interval[0] <= b.interval[1] and b.interval[0] <= a.interval[1]
