"""Who of the judged candidates becomes a finalist."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Evaluated, Record, values
from autocompress.core.pareto import costs, front, oriented

_PAIRED: Final = 1 / 3
"""All candidates are scored on the same texts, so a difference is known about three times better than either score."""

HEALED: Final = 0.14
"""As a share of what the teacher has above chance, more than training adds to the quality of a slice of the elastic
model: 1 to 6 points of accuracy in most quickstarts (a report says it of its own finalists), up to 11 of the very
smallest, where the teacher has 72 above chance. A slice of the teacher as it is may gain anything."""

_TOLD_APART: Final = 0.03
"""Predicted costs that differ by less are taken for equal: the predictor's own error is about that."""

_FREE: Final = 1e-9
"""A cost of nothing has no logarithm."""

_BEYOND: Final = 3.0
"""How many times the first cost of the best a finalist may have. Some larger ones are trained though they score no
better: the best of hundreds of scores is partly luck, and training ends higher with more layers (on the quickstart at
0.944 with four and at 0.934 with three, whose best slices scored alike)."""

_ROOM: Final = 1.2
"""The reference of costs lies a fifth above the uncompressed model, as that of the hypervolume does."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A candidate: its quality, the least that the data cannot tell from it, what it costs; what it is `worth`
    among others of the same first cost, and the `volume` that it fills."""

    record: Record
    quality: float
    at_least: float
    costs: tuple[float, ...]
    worth: float = 0.0
    volume: float = 0.0


def choose(
    records: Sequence[Record],
    objectives: Mapping[str, Direction],
    count: int,
    *,
    healed: float = math.inf,
    already: Collection[int] = (),
) -> list[Record]:
    """Candidates that promise most, spread over what they cost.

    Before training quality hardly rises with cost any more from some size on, so that the front ends early. Finalists
    are therefore spread evenly over what judged candidates cost: the range of the first cost, up to three times that
    of the best of the front, is cut into `count` parts of equal ratio, and each gives its best, one of the front
    where there is one. The best of a part is the one that fills most of the hypervolume by its quality and its other
    costs: a tenth of a point more is not worth three times the size. Candidates further below the best than training
    can heal stand back, and so does a member of the front that the data cannot tell from a cheaper one; places that
    stay free go to the best of the front that are left. Nobody is chosen who costs more than a candidate from which
    nothing was cut off and that answers as the uncompressed model does.

    Candidates chosen `already`, by number, get parts beside the `count` and keep those that they lie in, so that the
    new ones come from where none of them is; of more such parts than `count`, the best give. Places that stay free then
    go to those of the front that are near the best, to all others near it, and after them to the rest of the front.
    """
    everybody = _judged(records, objectives, healed)
    taken = [member for member in everybody if member.record.candidate.number in already]
    on_front = _front(everybody, objectives)
    enough = max((member.quality for member in everybody), default=0.0) - healed
    near = [member for member in everybody if member.quality >= enough]
    apart = [member for member in _told_apart(on_front) if member.quality >= enough]
    spread = _spread(apart, near, count, taken) if apart and apart[0].costs else []
    pool = on_front if not taken else [*on_front, *(member for member in near if member not in on_front)]
    best_first = sorted(pool, key=lambda m: (m in near, m in on_front, m.volume), reverse=True)
    left = [member for member in best_first if member not in (*taken, *spread)]
    chosen = spread + left[: count - len(spread)]
    return [member.record for member in sorted(chosen, key=lambda m: m.costs)]


def _spread(apart: Sequence[_Member], near: Sequence[_Member], count: int, taken: Sequence[_Member]) -> list[_Member]:
    """The best of each part of equal ratio of the first cost in which nobody is `taken`, at most `count`: of those
    `apart`, the front, else of all that are near it."""
    parts, low, high = count + len(taken), min(map(_log_cost, near)), max(map(_log_cost, near))
    best = max(apart, key=lambda member: member.quality)
    high = max(low, min(high, _log_cost(best) + math.log(_BEYOND)))
    width = (high - low) / parts or 1.0
    found: dict[int, _Member] = {}
    for member in (*taken, *_best_first(apart), *_best_first(near)):
        if member not in taken and _log_cost(member) > high + _FREE:
            continue
        part = int((_log_cost(member) - low) / width)
        found.setdefault(min(max(part, 0), parts - 1), member)
    return _best_first(member for member in found.values() if member not in taken)[:count]


def _log_cost(member: _Member) -> float:
    return math.log(max(member.costs[0], _FREE))


def _best_first(members: Iterable[_Member]) -> list[_Member]:
    return sorted(members, key=lambda member: member.worth, reverse=True)


def _judged(records: Sequence[Record], objectives: Mapping[str, Direction], healed: float) -> list[_Member]:
    """Every candidate that has a score and a chance, with what it is worth beside others of its first cost: its quality
    above what training can heal, times the logarithms of how many times each other cost fits into the uncompressed
    model's, or into the largest there is."""
    scored = _scored(records, objectives)
    whole = [member for member in scored if member.record.candidate.policy.is_baseline]
    members = [member for member in scored if member not in whole]
    if not members:
        return []
    most = [_ROOM * max(together) for together in zip(*(member.costs for member in scored), strict=True)]
    qualities = [member.quality for member in members]
    floor = max(qualities) - healed if math.isfinite(healed) else min(qualities)

    def weighed(member: _Member) -> _Member:
        above = member.quality - floor
        logs = [math.log(top / max(cost, _FREE)) if top else 1.0 for top, cost in zip(most, member.costs, strict=True)]
        return replace(member, worth=above * math.prod(logs[1:]), volume=above * math.prod(logs))

    return [weighed(member) for member in _unsurpassed(members, whole)]


def _unsurpassed(members: Sequence[_Member], whole: Sequence[_Member]) -> list[_Member]:
    """Without the members that cost more than one that computes all that the uncompressed model does, and answers as
    well as far as the data can tell: training has nothing to give them."""
    uncut = [
        member
        for member in members
        if any(_work(member) >= _work(model) and member.quality >= model.at_least for model in whole)
    ]
    return [member for member in members if not any(_cheaper(other.costs, member.costs) for other in uncut)]


def _work(member: _Member) -> float:
    """Multiply-accumulates, not a number where they are not known."""
    outcome = member.record.outcome
    return values(outcome.measurements).get("macs", math.nan) if isinstance(outcome, Evaluated) else math.nan


def _scored(records: Sequence[Record], objectives: Mapping[str, Direction]) -> list[_Member]:
    members = []
    for record in records:
        if not isinstance(record.outcome, Evaluated):
            continue
        found = {measurement.metric: measurement for measurement in record.outcome.measurements}
        if not all(metric in found for metric in objectives):
            continue
        known = values(record.outcome.measurements)
        interval = found["quality"].interval if "quality" in found else None
        quality = known.get("quality", METRICS["quality"].worst)
        at_least = quality - _PAIRED * (quality - interval[0]) if interval else quality
        members.append(_Member(record, quality, at_least, tuple(known[metric] for metric in costs(objectives))))
    return members


def _front(members: Sequence[_Member], objectives: Mapping[str, Direction]) -> list[_Member]:
    outcomes = [member.record.outcome for member in members]
    points = [oriented(values(one.measurements), objectives) for one in outcomes if isinstance(one, Evaluated)]
    return [members[i] for i in front(points)]


def _told_apart(members: Sequence[_Member]) -> list[_Member]:
    """Without the members that the data cannot tell from one that costs no more in any way, as far as predicted costs
    can tell, and clearly less in one."""
    kept: list[_Member] = []
    for member in sorted(members, key=lambda m: math.prod(m.costs)):
        if not any(other.quality >= member.at_least and _cheaper(other.costs, member.costs) for other in kept):
            kept.append(member)
    return kept


def _cheaper(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x <= y * (1 + _TOLD_APART) for x, y in pairs) and any(x < y * (1 - _TOLD_APART) for x, y in pairs)
