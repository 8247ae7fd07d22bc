"""Two studies: what each was asked, where it ran, its front inside the same reference point, and what to take of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.config import diff_specs
from autocompress.core.metrics import Direction
from autocompress.core.own_spec import is_own
from autocompress.core.pareto import Point, dominates, hypervolume, oriented
from autocompress.core.scores import score_named
from autocompress.core.stored_parts import parts_from_json
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.report.bounds import PickBounds
from autocompress.report.comparing.candidates import SCHEMA, side_of
from autocompress.report.comparing.deltas import Delta, Rated, deltas
from autocompress.report.front import FrontReport, Member, front_report
from autocompress.report.picking import Picked, pick
from autocompress.report.settling import Settled, settle
from autocompress.report.wording import listed, quality_unit
from autocompress.store import Store, StudyRow

ALLOWED_DROP: Final = "1pt"
"""Below the uncompressed model, where nothing else is asked for."""
_ONE: Final = 2


@dataclass(frozen=True, slots=True)
class Ran:
    """Where and with what a study ran. `minutes` are those of its stages together; None where nobody noted them."""

    device: str
    processor: str
    cores: str
    isa: str
    runtimes: Mapping[str, str]
    minutes: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "processor": self.processor,
            "cores": self.cores,
            "isa": self.isa,
            "runtimes": dict(self.runtimes),
            "minutes": self.minutes,
        }

    @property
    def machine(self) -> str:
        """`Intel Xeon 8488C, 2 cores (avx512_vnni)`, or that nobody knows."""
        if not self.processor:
            return "unknown"
        cores = f", {self.cores} core{'' if self.cores == '1' else 's'}" if self.cores else ""
        return f"{self.processor}{cores}{f' ({self.isa})' if self.isa else ''}"


@dataclass(frozen=True, slots=True)
class StudySide:
    """One of the two. `volume` is what its verified front dominates inside the common reference point, `beaten` are
    the numbers of members that a model of the other study is better than in every objective. `best` is what an honest
    rule takes; where it takes nothing, `why_none` says why."""

    report: FrontReport
    ran: Ran
    volume: float
    beaten: tuple[int, ...]
    best: Settled | Picked | None
    why_none: str = ""
    allowed: float | None = None
    """The drop that `best` is to keep; None where there is no bound."""

    @property
    def front(self) -> tuple[Member, ...]:
        return front_of(self.report)

    @property
    def picked(self) -> Picked | None:
        return self.best.picked if isinstance(self.best, Settled) else self.best

    def to_json(self) -> dict[str, Any]:
        front = [{**one.to_json(), "beaten": one.number in self.beaten} for one in self.front]
        return {
            "study": self.report.study,
            "state": self.report.state,
            "ran": self.ran.to_json(),
            "candidates": self.report.counts.candidates,
            "verified": self.report.counts.verified,
            "hypervolume": self.volume,
            "front": front,
            "best": self.best.to_json() if self.best else None,
            **({"why_none": self.why_none} if self.why_none else {}),
        }


@dataclass(frozen=True, slots=True)
class ComparedStudies:
    """`specs` and `inputs` are lines about what differs in what was asked, and in the files of it; `deltas` are of the
    two best picks; `warnings` say which numbers must not be held against each other."""

    a: StudySide
    b: StudySide
    objectives: Mapping[str, Direction]
    reference: Mapping[str, float]
    rule: str
    specs: tuple[str, ...]
    inputs: tuple[str, ...]
    deltas: tuple[Delta, ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        from autocompress.report.comparing.tables import as_comparison
        from autocompress.report.notebook import printed

        return printed(as_comparison(self))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "of": "studies",
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "objectives": dict(self.objectives),
            "reference_point": dict(self.reference),
            "rule": self.rule,
            "spec_differences": list(self.specs),
            "input_differences": list(self.inputs),
            "metrics": {one.metric: one.to_json() for one in self.deltas},
            "warnings": list(self.warnings),
        }


def compare_studies(
    store: Store, a: str, b: str, *, other: Store | None = None, max_quality_drop: float | str = ALLOWED_DROP
) -> ComparedStudies:
    """Two studies, the second one from the `other` store where one is given.

    Raises NotFoundError for a study that is not there or has nothing verified yet, SpecError for a study beside itself
    and for two that share no measure of quality or fewer than two objectives.
    """
    stores = (store, other or store)
    if a == b and stores[0].url == stores[1].url:
        raise SpecError(
            f"{a!r} is one study; name two, or two of its candidates (`autocompress compare {a} CANDIDATE CANDIDATE`)"
        )
    rows = [one.study(name) for one, name in zip(stores, (a, b), strict=True)]
    reports = [front_report(one, name) for one, name in zip(stores, (a, b), strict=True)]
    for report in reports:
        _refuse_unfinished(report)
    objectives = _shared(reports)
    reference = _reference(reports, rows, objectives)
    points = [[_point(one, objectives) for one in front_of(report)] for report in reports]
    rule, bounds = _rule(reports, max_quality_drop)
    allowed = bounds.of(_unit(reports[0])).drop if bounds else None
    sides = []
    for place, (report, row, where) in enumerate(zip(reports, rows, stores, strict=True)):
        best, why_none = _best(where, report, bounds)
        mine, its = points[place], points[1 - place]
        beaten = [
            member.number
            for member, point in zip(front_of(report), mine, strict=True)
            if any(dominates(one, point) for one in its)
        ]
        volume = hypervolume(mine, oriented(reference, objectives))
        sides.append(StudySide(report, ran(row), volume, tuple(beaten), best, why_none, allowed))
    inputs = tuple(diff_specs(dict(rows[0].fingerprint), dict(rows[1].fingerprint)))
    same_rows = _same_rows(rows)
    return ComparedStudies(
        a=sides[0],
        b=sides[1],
        objectives=objectives,
        reference=reference,
        rule=rule,
        specs=tuple(line for line in diff_specs(*(_asked(row) for row in rows)) if line),
        inputs=inputs,
        deltas=_picks(stores, sides, rows, same_rows=same_rows),
        warnings=tuple(_warnings(sides, rows, reports, same_rows=same_rows)),
    )


def front_of(report: FrontReport) -> tuple[Member, ...]:
    """Its verified front; of a search over an evaluation of the user's own the measured one."""
    return tuple(one for one in report.verified if one.on_front)


def ran(row: StudyRow) -> Ran:
    device: Mapping[str, Any] = row.facts.get("device") or {}
    environment: Mapping[str, Any] = row.facts.get("environment") or {}
    about: Mapping[str, Any] = device.get("fingerprint") or environment.get("host") or {}
    timings: Mapping[str, Any] = row.facts.get("timings") or {}
    seconds = sum(float(one) for one in timings.values())
    return Ran(
        device=str(device.get("name", "")),
        processor=str(about.get("cpu", "")),
        cores=str(about.get("cores", "")),
        isa=str(about.get("isa", "")),
        runtimes={str(name): str(version) for name, version in (environment.get("runtimes") or {}).items()},
        minutes=seconds / 60 if timings else None,
    )


def _refuse_unfinished(report: FrontReport) -> None:
    if front_of(report):
        return
    study = report.study
    if report.state == "complete":
        raise NotFoundError(
            f"study {study!r} is complete, but none of its finalists was verified, so it has no front to compare; see "
            f"`autocompress pareto {study}`"
        )
    raise NotFoundError(
        f"study {study!r} is {report.state} and has no verified front to compare yet; go on with "
        f"`autocompress resume {study}`"
    )


def _shared(reports: Sequence[FrontReport]) -> dict[str, Direction]:
    """The objectives that both have. Raises SpecError where these make no front."""
    left, right = reports
    units = [_unit(report) for report in reports]
    if "quality" in left.objectives and "quality" in right.objectives and units[0] != units[1]:
        raise SpecError(
            f"study {left.study!r} is scored by {units[0] or 'nothing'}, {right.study!r} by {units[1] or 'nothing'}: "
            "qualities by two metrics cannot be compared; run one of them anew with the metric of the other "
            "(`task.metric`)"
        )
    shared = {metric: way for metric, way in left.objectives.items() if right.objectives.get(metric) == way}
    if len(shared) < min(_ONE, len(left.objectives), len(right.objectives)):
        told = " and ".join(f"{one.study!r} has {listed(list(one.objectives))}" for one in reports)
        raise SpecError(f"objectives: {told}; fronts are compared in at least two that both have")
    return shared


def _unit(report: FrontReport) -> str:
    return quality_unit(report.baseline.metrics) if report.baseline else ""


def _point(member: Member, objectives: Mapping[str, Direction]) -> Point:
    return oriented({metric: member.metrics[metric].value for metric in objectives}, objectives)


def _reference(
    reports: Sequence[FrontReport], rows: Sequence[StudyRow], objectives: Mapping[str, Direction]
) -> dict[str, float]:
    """In each objective the worse of the two that the studies began with, or where none is known the worst that either
    front or baseline has: all of both lies inside."""
    known: dict[str, list[float]] = {metric: [] for metric in objectives}
    for report, row in zip(reports, rows, strict=True):
        begun: Mapping[str, float] = row.facts.get("reference_point") or {}
        found = [one.metrics for one in front_of(report)] + ([report.baseline.metrics] if report.baseline else [])
        for metric, values in known.items():
            values += [begun[metric]] if metric in begun else [one[metric].value for one in found if metric in one]
    return {
        metric: max(values) if objectives[metric] == "minimize" else min(values) for metric, values in known.items()
    }


def _rule(reports: Sequence[FrontReport], allowed: float | str) -> tuple[str, PickBounds | None]:
    """What is picked of each, in words, and the bounds of it; none where there is no drop to bound."""
    if any(report.own for report in reports):
        return "the knee of each front", None
    unit = _unit(reports[0])
    if allowed == ALLOWED_DROP and not score_named(unit).points:
        return "the knee of each front (name a drop with --max-quality-drop)", None
    bounds = PickBounds(max_quality_drop=allowed)
    drop = bounds.of(unit).drop or 0.0
    told = f"{100 * drop:g} pt" if score_named(unit).share else f"{drop:g}"
    return f"the fastest that is sure (90 %) to lose at most {told} on rows nobody has seen, else the next best", bounds


def _best(store: Store, report: FrontReport, bounds: PickBounds | None) -> tuple[Settled | Picked | None, str]:
    if report.own:
        return None, "a search over an evaluation of your own has no files to pick"
    try:
        return (pick(store, report.study) if bounds is None else settle(store, report.study, bounds)), ""
    except (NotFoundError, IntegrityError) as error:
        return None, str(error)


def _picks(
    stores: Sequence[Store], sides: Sequence[StudySide], rows: Sequence[StudyRow], *, same_rows: bool
) -> tuple[Delta, ...]:
    """How the two picks lie apart; paired where both were judged on the same rows."""
    rated = []
    for store, side, row in zip(stores, sides, rows, strict=True):
        if side.picked is None:
            return ()
        number, study = side.picked.member.number, side.report.study
        finalist = next(one for one in store.finalists(study) if one.candidate.number == number)
        shape = parts_from_json(row.facts.get("shape"))
        found = side_of(store, side.report, store.record(study, number), finalist, shape)
        rated.append(Rated(number, found.exported, found.relative, found.rows if same_rows else None))
    return deltas(rated[0], rated[1])


def _asked(row: StudyRow) -> dict[str, Any]:
    return {key: value for key, value in row.resolved.items() if key not in ("name", "description", "version")}


def _same_rows(rows: Sequence[StudyRow]) -> bool:
    """Whether both were judged on the same held-out rows: the same files, read and split in the same way."""
    tasks = [row.resolved.get("task") for row in rows]
    data = [{name: one for name, one in row.fingerprint.items() if name.startswith("data")} for row in rows]
    seeds = [row.resolved.get("seed") for row in rows]
    return bool(data[0]) and data[0] == data[1] and tasks[0] == tasks[1] and seeds[0] == seeds[1]


def _warnings(
    sides: Sequence[StudySide], rows: Sequence[StudyRow], reports: Sequence[FrontReport], *, same_rows: bool
) -> list[str]:
    """Whatever keeps numbers of the two from being held against each other."""
    a, b = (side.ran for side in sides)
    names = [report.study for report in reports]
    said = []
    if (a.processor, a.cores, a.isa) != (b.processor, b.cores, b.isa):
        said.append(
            f"the processors differ ({names[0]}: {a.machine}; {names[1]}: {b.machine}), so latencies, energies and "
            f"hypervolumes are not of one scale: `autocompress retarget {names[0]} --device DEVICE` prices a study for "
            "another device"
        )
    elif not a.processor:
        said.append("neither study knows the processor that its latencies are of")
    if changed := _versions(a.runtimes, b.runtimes):
        said.append(f"the runtimes differ: {', '.join(changed)}; latencies may differ for that alone")
    loads = [row.facts.get("workload") or row.resolved.get("workload") for row in rows]
    if loads[0] != loads[1]:
        said.append("the workloads differ, so latencies are of different work")
    if not same_rows and not all(is_own(row.resolved) for row in rows):
        said.append("the held-out rows are not known to be the same, so qualities differ for that alone")
    said += [
        f"study {report.study!r} is {report.state}: what it will still find is not in here"
        for report in reports
        if report.state != "complete"
    ]
    return said


def _versions(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    return [
        f"{name} {a.get(name, 'none')} and {b.get(name, 'none')}"
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name)
    ]
