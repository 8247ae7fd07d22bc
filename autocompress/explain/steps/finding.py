"""All that a stored study tells of the steps of one candidate. Nothing is evaluated, and torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from autocompress import config
from autocompress.core.outcome import Record, Source
from autocompress.core.own_spec import is_own
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.core.stored_parts import parts_from_json
from autocompress.errors import AutocompressError, CandidateError
from autocompress.explain.steps.algebra import Found, found_of
from autocompress.explain.steps.effects import Effects
from autocompress.explain.steps.groups import Decisions, Group
from autocompress.explain.steps.judged import judged, scored
from autocompress.explain.steps.prices import Prices
from autocompress.operators import OPERATORS, bound
from autocompress.report.front import FrontReport
from autocompress.report.steps import Judged, Steps, StepTold, places_of
from autocompress.store import Store, StudyRow

NO_PARTS: Final = (
    "the parts of this model are not known, and so neither is what a step took: only what judged candidates tell of it"
)
_ALWAYS: Final = ("size_mb", "latency_ms")


def explain_steps(store: Store, name: str, ref: int | str) -> Steps:
    """What each step of a candidate took and gave. Raises NotFoundError for a study or a candidate that is not
    there."""
    policy = store.record(name, ref).candidate.policy
    return _Study.of(store, name).steps(policy)


def with_steps(store: Store, report: FrontReport) -> FrontReport:
    """The report, with what each step of every verified member took and gave. Raises NotFoundError for a study that is
    not there."""
    if not report.verified:
        return report
    study = _Study.of(store, report.study)
    return replace(report, steps={one.digest: study.steps(one.policy) for one in report.verified})


@dataclass(frozen=True, slots=True)
class _Study:
    """What is read once for all of its candidates."""

    row: StudyRow
    records: Sequence[Record]
    spec: StudySpec | None
    shape: ModelParts | None
    prices: Prices | None
    decisions: Decisions

    @staticmethod
    def of(store: Store, name: str) -> _Study:
        row = store.study(name)
        shape, spec = parts_from_json(row.facts.get("shape")), _spec(row)
        prices = Prices.of_study(store, name, spec, shape) if shape is not None else None
        return _Study(row, store.records(name), spec, shape, prices, Decisions(_space(row, spec, shape)))

    def steps(self, policy: CompressionPolicy) -> Steps:
        if policy.is_baseline:
            return Steps((), {}, (), 0)
        groups = self.decisions.groups(policy)
        known = _parts(policy, groups, self.shape, self.prices) if self.shape and self.prices else None
        judgements, count = _judged(self.records, policy, self.row, groups, known, self.decisions)
        found: Sequence[Found | None] = known.found if known else [None] * len(groups)
        sources = known.sources if known else {}
        asked = dict.fromkeys((*_ALWAYS, *self.row.objectives, *(self.spec.constraints if self.spec else ())))
        return Steps(
            tuple(map(_step, groups, found, judgements)),
            sources,
            tuple(metric for metric in asked if metric in sources),
            count,
            () if known else (NO_PARTS,),
        )


def _spec(row: StudyRow) -> StudySpec | None:
    """None of a search over an evaluation of the user's own, and of what this version does not read."""
    if is_own(row.resolved):
        return None
    try:
        return config.study_from_json(row.resolved, operators=OPERATORS).as_served(row.facts)
    except (AutocompressError, KeyError, TypeError, ValueError):
        return None


def _space(row: StudyRow, spec: StudySpec | None, shape: ModelParts | None) -> SearchSpace | None:
    """With its targets; None where they are not known."""
    try:
        if is_own(row.resolved):
            return config.own_spec_of(row.resolved).space
        return bound(spec.policies, shape) if spec is not None and shape is not None else None
    except (AutocompressError, KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What follows from the model's parts: of each group, and where each metric is from."""

    found: Sequence[Found]
    sources: Mapping[str, Source]


def _parts(policy: CompressionPolicy, groups: Sequence[Group], shape: ModelParts, prices: Prices) -> _Parts | None:
    """None where this version cannot apply the policy."""
    if any(step.operator not in OPERATORS for step in policy.steps):
        return None
    try:
        return _Parts(*found_of(policy, groups, shape, prices))
    except (CandidateError, KeyError, ValueError):
        return None


def _judged(
    records: Sequence[Record],
    policy: CompressionPolicy,
    row: StudyRow,
    groups: Sequence[Group],
    parts: _Parts | None,
    decisions: Decisions,
) -> tuple[list[list[Judged]], int]:
    """Of each group by each score, and how many candidates have one: their quality, in a search of the user's own all
    that it is about."""
    told: list[list[Judged]] = [[] for _ in groups]
    count = 0
    for metric in row.objectives if is_own(row.resolved) else ("quality",):
        known = scored(records, metric)
        count = max(count, len(known))
        effects = Effects(known, decisions)
        for place, group in enumerate(groups):
            gone = parts.found[place].gone if parts else frozenset()
            told[place].append(judged(policy, group, gone, metric, known, effects))
    return told, count


def _step(group: Group, found: Found | None, told: Sequence[Judged]) -> StepTold:
    settings, target = dict(group.settings), places_of(group.targets)
    step = StepTold(group.operator, target, settings, group.targets, judged=tuple(told))
    if found is None:
        return step
    return replace(step, taken=found.taken, alone=found.alone, last=found.last, void=found.void, void_by=found.void_by)
