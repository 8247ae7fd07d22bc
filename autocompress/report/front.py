"""The Pareto front of a study as one value: what every table, plot and page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from autocompress.core.metrics import Direction
from autocompress.core.outcome import (
    RUNG_FINALIST,
    RUNG_SLICED,
    Evaluated,
    Measurement,
    Measurements,
    Record,
    values,
)
from autocompress.core.own_spec import is_own
from autocompress.core.pareto import Point, hypervolume, knee, oriented
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.stored_parts import parts_from_json
from autocompress.core.trust import TRUST_FACT, Trust, trust
from autocompress.errors import NotFoundError, SpecError
from autocompress.operators import only_rounded
from autocompress.operators.choose_runtime import runtime_of
from autocompress.report.expectation import Expectations, Expected, expectations
from autocompress.report.policies import explain_policy
from autocompress.report.prediction import PACE, Pace, Prediction, common_pace, compare
from autocompress.report.steps.told import Steps
from autocompress.report.ties import Tie, ties
from autocompress.store import Counts, Finalist, Store, StudyRow

if TYPE_CHECKING:
    from autocompress.report.cascades import Cascade

SCHEMA: Final = "autocompress.front/1"

State = Literal["verified", "rejected", "nominated", "estimate", "measured"]
"""`measured` by an evaluation of the user's own, which is all that a search over one knows."""
Metrics = Mapping[str, Measurement]


@dataclass(frozen=True, slots=True)
class Relative:
    """A candidate beside the one baseline of its study; None where either is not known.

    `speedup` is baseline latency / latency, the drops are baseline - candidate (negative: the candidate is better),
    and `size_ratio` is size / baseline size. The intervals of drops are 95 % and paired, from the answers to the same
    texts; None where only the two scores are known. `expected_drop` is what is lost on texts that nobody has seen
    (`certainty.belief`): seen drops of a few finalists flatter the best of them.

    Verified finalists and estimates are divided by the same number, so that one column has one scale: that of the
    stock export, measured beside the finalists. An estimate's latency is its prediction at the pace that the machine
    had then (see `report.prediction`). Before anything is measured, and on a device out of reach, the baseline is
    predicted as well: as our own graph would run it, which is faster than the stock export.
    """

    speedup: float | None = None
    quality_drop: float | None = None
    test_quality_drop: float | None = None
    size_ratio: float | None = None
    quality_drop_interval: tuple[float, float] | None = None
    test_quality_drop_interval: tuple[float, float] | None = None
    expected_drop: float | None = None
    expected_drop_interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The uncompressed model. `metrics` are those of its exported file once there is one (`measured`), and what the
    search knows of it until then."""

    digest: str
    summary: str
    measured: bool
    metrics: Metrics

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "policy": self.summary, "measured": self.measured, **_metrics(self.metrics)}


@dataclass(frozen=True, slots=True)
class Member:
    """A candidate worth looking at. Only a verified one was finished, exported and measured; what is known of any other
    is an estimate: quality before training, latency predicted. `predicted` is the latency that the search counted on,
    where it was measured since, at the pace that the machine had then, and `untrained` the quality that it saw, where
    the model was trained since."""

    number: int
    digest: str
    policy: CompressionPolicy
    summary: str
    state: State
    metrics: Metrics
    relative: Relative
    on_front: bool = True
    knee: bool = False
    reason: str = ""
    predicted: Measurement | None = None
    untrained: Measurement | None = None
    expected: Expected | None = None

    @property
    def verified(self) -> bool:
        """Whether there is nothing left to find out about it."""
        return self.state in ("verified", "measured")

    @property
    def runtime(self) -> str:
        """The runtime that its policy deploys it in."""
        return runtime_of(self.policy)

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "digest": self.digest,
            "policy": self.summary,
            "runtime": self.runtime,
            "state": self.state,
            "verified": self.state == "verified",
            "on_front": self.on_front,
            "knee": self.knee,
            **({"reason": self.reason} if self.reason else {}),
            **_metrics(self.metrics),
            **({"predicted": {"latency_ms": self.predicted.to_json()}} if self.predicted else {}),
            **({"untrained": {"quality": self.untrained.to_json()}} if self.untrained else {}),
            "relative": self.relative.to_json(),
            **self.certified,
        }

    @property
    def certified(self) -> dict[str, Any]:
        """As JSON: on how many folds of the training rows it was judged too; empty where on none."""
        done, of = self.expected.folds if self.expected else (0, 0)
        return {"certified": {"folds": done, "of": of}} if done else {}


@dataclass(frozen=True, slots=True)
class Hypervolume:
    """What the fronts dominate inside the study's reference point; None before there is one."""

    verified: float | None
    searched: float | None
    reference: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class FrontReport:
    """`members` are the verified front first, then other verified ones, then the front of the search, each by the
    first cost the study minimises. `cascades` are there where somebody asked for them (`report.cascades`)."""

    study: str
    state: str
    description: str
    baseline: Baseline | None
    members: tuple[Member, ...]
    hypervolume: Hypervolume
    counts: Counts
    objectives: Mapping[str, Direction]
    constraints: Mapping[str, Mapping[str, float]]
    ties: tuple[Tie, ...]
    facts: Mapping[str, Any]
    prediction: Prediction | None = None
    trust: Trust | None = None
    pace: Pace | None = None
    expectations: Expectations = field(default_factory=Expectations)
    cascades: tuple[Cascade, ...] = ()
    steps: Mapping[str, Steps] = field(default_factory=dict)
    """By digest, what each step of a verified member took and gave, where somebody asked for it
    (`explain.steps.with_steps`)."""
    own: bool = False
    """Whether this is a search over an evaluation of the user's own."""

    @property
    def verified(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.verified)

    @property
    def estimates(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if not member.verified)

    @property
    def named(self) -> tuple[str, ...]:
        """The metrics that the study names: its objectives, then what else it bounds."""
        return tuple(dict.fromkeys((*self.objectives, *self.constraints)))

    @property
    def speed(self) -> str:
        """The metric of speed that tables show: throughput where the study names it, and latency elsewhere."""
        return speed_of(self.named)

    @property
    def promotion(self) -> Mapping[str, Any] | None:
        """How search scores ranked the first finalists when these were trained (see `Trust`), and the numbers of those
        `promoted` on top for it; None before that."""
        found: Mapping[str, Any] | None = self.facts.get(TRUST_FACT)
        return found

    @property
    def cost(self) -> str | None:
        """The first metric the study minimises."""
        return next((metric for metric, way in self.objectives.items() if way == "minimize"), None)

    def _repr_html_(self) -> str:
        from autocompress.report.notebook import framed  # which draws it

        return framed(self)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            "state": self.state,
            "objectives": dict(self.objectives),
            "constraints": {metric: dict(bound) for metric, bound in self.constraints.items()},
            "baseline": self.baseline.to_json() if self.baseline else None,
            "members": [member.to_json() for member in self.members],
            "cascades": [one.to_json() for one in self.cascades],
            "prediction": self.prediction.to_json() if self.prediction else None,
            "pace": self.pace.to_json() if self.pace else None,
            "trust": self.trust.to_json() if self.trust else None,
            "promotion": self.promotion,
            "ties": [dataclasses.asdict(tie) for tie in self.ties],
            "hypervolume": dataclasses.asdict(self.hypervolume),
            "counts": dataclasses.asdict(self.counts),
        }


def speed_of(named: Iterable[str]) -> str:
    named = set(named)
    return "throughput" if "throughput" in named and "latency_ms" not in named else "latency_ms"


def front_report(store: Store, name: str) -> FrontReport:
    """Reads a study's fronts. Raises NotFoundError for an unknown study."""
    row = store.study(name)
    shape = parts_from_json(row.facts.get("shape"))
    finalists = store.finalists(name)
    searched = [store.record(name, number) for number in store.front(name, rung=RUNG_SLICED)]
    baseline = _baseline(store, name, finalists, shape)
    numbers = store.front(name, rung=RUNG_FINALIST)
    concluded = [one for one in finalists if not one.candidate.policy.is_baseline]
    timed = [_Timed.of(one, store.record(name, one.candidate.number)) for one in concluded if one.state == "verified"]
    common = common_pace([one.pair for one in timed if one.pair and one.pace is None])
    pace = next((_pace(one) for one in finalists if one.candidate.policy.is_baseline), None) or common
    expected = expectations(store, finalists, row.facts)
    verified = with_knee(
        [_expecting(_finalist(one, one.pace or common, baseline, shape, numbers), expected.found) for one in timed],
        row.objectives,
    )
    ordered = _sorted(verified, row.objectives)
    others = _estimates(store, name, concluded, searched, baseline, shape, pace)
    if own := is_own(row.resolved):
        others = with_knee([dataclasses.replace(one, state="measured") for one in others], row.objectives)
    return FrontReport(
        study=name,
        state=row.state,
        description=str(row.resolved.get("description") or ""),
        baseline=baseline,
        members=(*ordered, *_sorted(others, row.objectives)),
        hypervolume=_hypervolume(row, finalists, numbers, searched),
        counts=store.counts(name),
        objectives=row.objectives,
        constraints=_constraints(row),
        ties=ties(ordered, row.facts),
        facts=row.facts,
        prediction=compare([(one.predicted, one.metrics["latency_ms"]) for one in verified if one.predicted]),
        pace=pace,
        expectations=expected,
        own=own,
        trust=trust([(one.untrained.value, one.metrics["quality"].value) for one in verified if one.untrained]),
    )


def refuse_own(report: FrontReport) -> None:
    """Raises SpecError for a study without files: nothing can be picked from it."""
    if report.own:
        raise SpecError(
            f"study {report.study!r} is a search over an evaluation of your own, which left no files to pick: its "
            f"front is `autocompress pareto {report.study}`, and `autocompress show {report.study} DIGEST --json` "
            "tells a policy, to build that model by"
        )


def with_knee(members: Sequence[Member], objectives: Mapping[str, Direction]) -> list[Member]:
    """The same members, the one at the knee of their front marked."""
    on_front = [member for member in members if member.on_front and objectives.keys() <= member.metrics.keys()]
    if not on_front:
        return list(members)
    chosen = on_front[knee([point(member, objectives) for member in on_front])]
    return [dataclasses.replace(member, knee=member is chosen) for member in members]


def point(member: Member, objectives: Mapping[str, Direction]) -> Point:
    """Where a member lies; smaller is better everywhere."""
    return oriented({metric: member.metrics[metric].value for metric in objectives}, objectives)


def relative(metrics: Metrics, baseline: Metrics) -> Relative:
    """How a candidate compares with the baseline."""

    def pair(metric: str) -> tuple[float, float] | None:
        both = metric in metrics and metric in baseline
        return (metrics[metric].value, baseline[metric].value) if both else None

    def within(metric: str) -> tuple[float, float] | None:
        return metrics[metric].interval if metric in metrics else None

    latency, size = pair("latency_ms"), pair("size_mb")
    quality, test = pair("quality"), pair("test_quality")
    return Relative(
        speedup=latency[1] / latency[0] if latency and latency[0] > 0 else None,
        quality_drop=quality[1] - quality[0] if quality else None,
        test_quality_drop=test[1] - test[0] if test else None,
        size_ratio=size[0] / size[1] if size and size[1] > 0 else None,
        quality_drop_interval=within("quality_drop"),
        test_quality_drop_interval=within("test_quality_drop"),
    )


def _baseline(store: Store, name: str, finalists: Sequence[Finalist], shape: ModelParts | None) -> Baseline | None:
    try:
        record = store.record(name, 0)
    except NotFoundError:  # the study was created, and nothing more
        return None
    candidate, searched = record.candidate, _measured(record)
    concluded = next((one for one in finalists if one.candidate.policy.is_baseline and one.measurements), None)
    return Baseline(
        digest=candidate.digest,
        summary=explain_policy(candidate.policy, shape).summary,
        measured=concluded is not None,
        metrics=_by_name(concluded.measurements) if concluded else searched,
    )


@dataclass(frozen=True, slots=True)
class _Timed:
    """A verified finalist, what the search knew of it, its `pair` of a predicted and a measured latency, if it has
    both, and the pace that the machine had when it was measured, if that was looked at."""

    finalist: Finalist
    searched: Metrics
    pair: tuple[Measurement, Measurement] | None
    pace: Pace | None

    @staticmethod
    def of(finalist: Finalist, record: Record) -> _Timed:
        searched = _measured(record)
        measured = _by_name(finalist.measurements).get("latency_ms")
        predicted = searched.get("latency_ms")
        pair = None
        if measured and measured.source == "measured" and predicted and predicted.source == "predicted":
            pair = predicted, measured
        return _Timed(finalist, searched, pair, _pace(finalist))


def _pace(one: Finalist) -> Pace | None:
    """What the reference model beside a finalist told."""
    known = one.provenance.get(PACE)
    return Pace(float(known), "reference") if known else None


def _finalist(
    known: _Timed, pace: Pace | None, baseline: Baseline | None, shape: ModelParts | None, front: Sequence[int]
) -> Member:
    one, searched = known.finalist, known.searched
    metrics = _by_name(one.measurements)
    trained = not only_rounded(one.candidate.policy)
    predicted = known.pair[0] if known.pair else None
    return Member(
        number=one.candidate.number,
        digest=one.candidate.digest,
        policy=one.candidate.policy,
        summary=explain_policy(one.candidate.policy, shape).summary,
        state=one.state,
        metrics={name: known for name, known in metrics.items() if not name.endswith("_drop")},
        relative=relative(metrics, baseline.metrics) if baseline and baseline.measured else Relative(),
        on_front=one.candidate.number in front,
        reason=one.reason,
        predicted=pace.of(predicted) if pace and predicted else predicted,
        untrained=searched.get("quality") if trained and "quality" in metrics else None,
    )


def _expecting(member: Member, found: Mapping[int, Expected]) -> Member:
    known = found.get(member.number)
    if known is None:
        return member
    beside = dataclasses.replace(member.relative, expected_drop=known.value, expected_drop_interval=known.interval)
    return dataclasses.replace(member, relative=beside, expected=known)


def _estimates(
    store: Store,
    name: str,
    concluded: Sequence[Finalist],
    searched: Sequence[Record],
    baseline: Baseline | None,
    shape: ModelParts | None,
    pace: Pace | None,
) -> list[Member]:
    """The front of the search and every finalist that is not verified, as the search knows them, at the pace that the
    machine had when the baseline was measured."""
    states = {one.candidate.number: one for one in concluded}
    records = {record.candidate.number: record for record in searched}
    for number in states.keys() - records.keys():
        records[number] = store.record(name, number)
    members = []
    for number, record in records.items():
        finalist = states.get(number)
        if record.candidate.policy.is_baseline or (finalist and finalist.state == "verified"):
            continue
        metrics = {metric: pace.of(value) if pace else value for metric, value in _measured(record).items()}
        members.append(
            Member(
                number=number,
                digest=record.candidate.digest,
                policy=record.candidate.policy,
                summary=explain_policy(record.candidate.policy, shape).summary,
                state=finalist.state if finalist else "estimate",
                metrics=metrics,
                relative=relative(metrics, baseline.metrics) if baseline else Relative(),
                on_front=any(number == one.candidate.number for one in searched),
                reason=finalist.reason if finalist else "",
            )
        )
    return members


def _sorted(members: Sequence[Member], objectives: Mapping[str, Direction]) -> list[Member]:
    cost = next((metric for metric in objectives if metric != "quality"), "")
    sign = -1 if objectives.get(cost) == "maximize" else 1

    def order(member: Member) -> tuple[bool, float, int]:
        known = member.metrics.get(cost)
        return (member.verified and not member.on_front, sign * known.value if known else float("inf"), member.number)

    return sorted(members, key=order)


def _hypervolume(
    row: StudyRow, finalists: Sequence[Finalist], numbers: Sequence[int], searched: Sequence[Record]
) -> Hypervolume:
    reference: Mapping[str, float] | None = row.facts.get("reference_point")
    if not reference or not row.objectives.keys() <= reference.keys():
        return Hypervolume(None, None, None)

    def volume(found: Sequence[Measurements]) -> float:
        by_name = [values(measurements) for measurements in found]
        points = [oriented(known, row.objectives) for known in by_name if row.objectives.keys() <= known.keys()]
        return hypervolume(points, oriented(reference, row.objectives))

    return Hypervolume(
        verified=volume([one.measurements for one in finalists if one.candidate.number in numbers]),
        searched=volume([record.outcome.measurements for record in searched if isinstance(record.outcome, Evaluated)]),
        reference={metric: reference[metric] for metric in row.objectives},
    )


def _constraints(row: StudyRow) -> dict[str, dict[str, float]]:
    given: Mapping[str, Mapping[str, float | None]] = row.resolved.get("constraints") or {}
    return {
        metric: {end: value for end, value in bound.items() if value is not None} for metric, bound in given.items()
    }


def _measured(record: Record) -> dict[str, Measurement]:
    return _by_name(record.outcome.measurements) if isinstance(record.outcome, Evaluated) else {}


def _by_name(measurements: Measurements) -> dict[str, Measurement]:
    return {measurement.metric: measurement for measurement in measurements}


def _metrics(metrics: Metrics) -> dict[str, Any]:
    return {"metrics": {name: measurement.to_json() for name, measurement in metrics.items()}}
