"""What candidates that were judged tell of one step: those that differ in it alone, else its main effect."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autocompress.core.outcome import Evaluated, Measurement, Record
from autocompress.core.policy import CompressionPolicy
from autocompress.explain.steps.effects import Effects
from autocompress.explain.steps.groups import Group, Key, key_of
from autocompress.report.comparing.deltas import difference_interval
from autocompress.report.steps import Judged, Neighbour
from autocompress.report.steps.told import settings_told


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with a score."""

    number: int
    digest: str
    policy: CompressionPolicy
    score: Measurement
    steps: frozenset[Key]


def scored(records: Sequence[Record], metric: str) -> list[Scored]:
    """The candidates that were judged by a metric, by their number."""
    found = []
    for record in records:
        if not isinstance(record.outcome, Evaluated):
            continue
        candidate = record.candidate
        known = next((one for one in record.outcome.measurements if one.metric == metric), None)
        if known is not None:
            steps = frozenset(map(key_of, candidate.policy.steps))
            found.append(Scored(candidate.number, candidate.digest, candidate.policy, known, steps))
    return found


def judged(
    policy: CompressionPolicy,
    group: Group,
    gone: Collection[str],
    metric: str,
    known: Sequence[Scored],
    effects: Effects,
) -> Judged:
    """By candidates that differ from this one in the group alone, and in what stands in the place of what it removes
    (`gone`), where there are any; else by its main effect."""
    unit = known[0].score.unit if known else ""
    mine = next((one for one in known if one.policy.digest == policy.digest), None)
    near = list(_neighbours(mine, group, gone, known)) if mine is not None else []
    without = [one for one in near if not one.instead]
    if chosen := without or near:
        return Judged(
            metric,
            unit,
            "pairs",
            "without" if without else "other settings",
            statistics.fmean(one.difference for one in chosen),
            chosen[0].interval if len(chosen) == 1 else None,
            len(chosen),
            tuple(chosen),
        )
    found = effects.of(group, policy)
    if isinstance(found, str):
        return Judged(metric, unit, "not known", why=found)
    return Judged(metric, unit, "main effect", found.beside, found.value, found.interval, len(known))


def _neighbours(mine: Scored, group: Group, gone: Collection[str], known: Sequence[Scored]) -> Iterator[Neighbour]:
    for one in known:
        differing = mine.steps ^ one.steps
        if not differing or not all(_is_about(step, group) or step[1] in gone for step in differing):
            continue
        instead = _instead(one, group)
        if instead is None:
            continue
        apart = mine.score.value - one.score.value
        interval = difference_interval(one.score, mine.score)
        yield Neighbour(one.number, one.digest, instead, apart, interval)


def _is_about(step: Key, group: Group) -> bool:
    return step[0] == group.operator and step[1] in group.scope


def _instead(one: Scored, group: Group) -> str | None:
    """What a neighbour has in the group's place; empty for nothing, None where it has the same."""
    own = {step.target: step.settings for step in one.policy.steps if _is_about(key_of(step), group)}
    here: Mapping[str, object] = dict.fromkeys(group.targets, group.settings)
    if own == here:
        return None
    told = dict.fromkeys(settings_told(settings) for settings in own.values())
    return "; ".join(one or f"{len(own)} of its steps" for one in told)
