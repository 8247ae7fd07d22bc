"""A study that is begun from another one: what was judged there is taken over as far as it holds here.

A quality holds where it follows from the same digests: teacher, data, seed, and for what is cut the elastic model.
Costs are counted anew in any case. What of the other study's front was judged otherwise is proposed before anything
else. All is decided once, before the search, and stored in one step; from then on the other study is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from autocompress.core.outcome import RUNG_SLICED, Evaluated, Proposal, Record
from autocompress.core.own_spec import is_own
from autocompress.core.ports import Observer
from autocompress.core.space import SearchSpace
from autocompress.errors import NotFoundError, SpecError
from autocompress.planning.stages import PLAN_FACT, reopened
from autocompress.pricing import Point, Pricing, point_of
from autocompress.report.wording import listed
from autocompress.store import Lease, Store
from autocompress.study.judged import JUDGED_WITH, is_judged_alike

FORK_FACT: Final = "fork"
"""Which study this one was begun from, and once that was decided how much of it was taken over, and the points that
were proposed `first`."""


def check_origin(store: Store, origin: str) -> None:
    """Raises NotFoundError for an unknown study, SpecError for one that has nothing to take over."""
    row = store.study(origin)
    if is_own(row.resolved):
        raise SpecError(f"fork: study {origin!r} is a search over an evaluation of yours, and judges no model of ours")
    if store.counts(origin).evaluated == 0:
        raise SpecError(f"fork: study {origin!r} has judged nothing yet, so there is nothing to take over")


def forked(store: Store, origin: str, *, fingerprint: Mapping[str, Any], minutes: float | None) -> dict[str, Any]:
    """The facts that a study begins with which takes over from another one. Where both are planned, of the same model
    and data, its teacher is trained as long as the other's: another one would judge otherwise."""
    row = store.study(origin)
    known = row.facts.get(PLAN_FACT)
    planned = known is not None and minutes is not None and dict(row.fingerprint) == dict(fingerprint)
    return {FORK_FACT: {"from": origin}, **({PLAN_FACT: reopened(known, another=True)} if planned and known else {})}


@dataclass
class _Sorted:
    """The candidates of the other study: with their points where they are `kept`, or proposed `first`, and how many are
    left there, by reason."""

    baseline: Record | None = None
    kept: list[tuple[Point, Record]] = field(default_factory=list)
    first: list[Point] = field(default_factory=list)
    outside: int = 0
    broken: int = 0
    otherwise: int = 0


def take_over_from(
    store: Store,
    lease: Lease,
    space: SearchSpace,
    pricing: Pricing,
    judged: Mapping[str, Any],
    observer: Observer,
    *,
    trials: int,
) -> Sequence[Point]:
    """The points that are proposed first: none of a study that was not forked. What is taken over is stored with that,
    unless it was. `judged` are the digests that this study's qualities follow from (`judged_with`)."""
    fork = store.study(lease.study).facts.get(FORK_FACT)
    if fork is None:
        return ()
    if "first" in fork:
        return list(fork["first"])
    origin = fork["from"]
    try:
        found = _sorted(store, origin, space, pricing, judged)
    except NotFoundError:
        observer.note(f"study {origin!r}, which this one was to take over from, is gone: it begins without it")
        found = _Sorted()
    told = {"outside": found.outside, "broken": found.broken, "otherwise": found.otherwise}
    fact = {"from": origin, "taken": len(found.kept), **told, "first": [dict(point) for point in found.first]}
    proposals = [
        (Proposal(number, point, {"adopted": one.candidate.number, "generation": 0}), _as_taken(one, origin))
        for number, (point, one) in enumerate(found.kept)
    ]
    baseline = None if found.baseline is None else _as_taken(found.baseline, origin)
    store.inherit(lease, baseline, proposals, facts={FORK_FACT: fact})
    for line in _in_words(origin, found, trials):
        observer.note(line)
    return found.first


def _as_taken(record: Record, origin: str) -> Record:
    return replace(record, provenance={**record.provenance, "forked": {"from": origin, "as": record.candidate.number}})


def _sorted(store: Store, origin: str, space: SearchSpace, pricing: Pricing, judged: Mapping[str, Any]) -> _Sorted:
    found, front = _Sorted(), set(store.front(origin, rung=RUNG_SLICED))
    hints: dict[str, Point] = {}
    for proposal, digest in store.proposals(origin):
        hints.setdefault(digest, proposal.parameters)
    for record in store.records(origin):
        policy, outcome = record.candidate.policy, record.outcome
        if not isinstance(outcome, Evaluated):
            continue  # what was rejected cost nothing, and what failed is tried again where it is proposed
        alike = is_judged_alike(policy, record.provenance.get(JUDGED_WITH), judged)
        if policy.is_baseline:
            found.baseline = _repriced(record, outcome, pricing) if alike else None
            continue
        point = point_of(space, pricing.shape, policy, hints.get(policy.digest, {}))
        if point is None:
            found.outside += 1
        elif pricing(policy).broken is not None:
            found.broken += 1
        elif alike:
            found.kept.append((point, _repriced(record, outcome, pricing)))
        elif record.candidate.number in front:
            found.first.append(point)
        else:
            found.otherwise += 1
    return found


def _repriced(record: Record, outcome: Evaluated, pricing: Pricing) -> Record:
    """With its quality as it was, and its costs as they are here."""
    quality = tuple(one for one in outcome.measurements if one.metric == "quality")
    return replace(record, outcome=Evaluated((*pricing(record.candidate.policy).measurements, *quality)))


def _in_words(origin: str, found: _Sorted, trials: int) -> list[str]:
    taken, first = len(found.kept), len(found.first)
    left = [
        (found.outside, "no points of this space"),
        (found.broken, "beyond its bounds"),
        (found.otherwise, "judged otherwise (another teacher, other data, another elastic model) and not on its front"),
    ]
    told = listed([f"{count} {why}" for count, why in left if count])
    lines = [
        f"from study {origin!r}: {taken} candidates are taken over as they were judged, {first} of its front are "
        f"proposed first{f'; left there: {told}' if told else ''}"
    ]
    more = max(0, trials - taken - (found.baseline is not None))
    if taken:
        lines.append(f"budget.trials: {trials} candidates in all, so {more} are left to judge")
    return lines
