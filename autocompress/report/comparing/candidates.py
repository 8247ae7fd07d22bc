"""Two candidates of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from autocompress.certainty import RowScores
from autocompress.core.outcome import Failed, Measurement, Record
from autocompress.core.parts import ModelParts
from autocompress.core.stored_parts import parts_from_json
from autocompress.errors import IntegrityError, SpecError
from autocompress.report.comparing.deltas import Delta, Rated, deltas
from autocompress.report.comparing.policies import PolicyDifference, policy_difference
from autocompress.report.expectation import Expected, row_scores
from autocompress.report.front import FrontReport, Metrics, Relative, front_report
from autocompress.report.policies import explain_policy
from autocompress.store import Finalist, Store

SCHEMA: Final = "autocompress.comparison/1"

By = Literal["exported", "searched"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `state` is `baseline`, `verified`, `rejected`, `nominated`, or what the search made of it."""

    study: str
    number: int
    digest: str
    summary: str
    state: str
    exported: Metrics
    searched: Metrics
    relative: Relative
    expected: Expected | None = None
    rows: Mapping[str, RowScores] | None = None
    reason: str = ""

    @property
    def is_baseline(self) -> bool:
        return self.state == "baseline"

    def rated(self, by: By) -> Rated:
        """As far as the two were `exported`, or both as the search knew them."""
        if by == "searched":
            return Rated(self.number, self.searched, is_baseline=self.is_baseline)
        return Rated(self.number, self.exported, self.relative, self.rows, self.is_baseline)

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "number": self.number,
            "digest": self.digest,
            "policy": self.summary,
            "state": self.state,
            **({"reason": self.reason} if self.reason else {}),
            "expected_drop": self.expected.value if self.expected else None,
            "expected_drop_interval": list(self.expected.interval) if self.expected else None,
        }


@dataclass(frozen=True, slots=True)
class ComparedCandidates:
    """`by` says what was compared: files, where both were exported, or what the search knew before training."""

    study: str
    a: Side
    b: Side
    by: By
    policies: PolicyDifference
    deltas: tuple[Delta, ...]
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return _printed(self)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "of": "candidates",
            "study": self.study,
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "compared_by": self.by,
            "policies": self.policies.to_json(),
            "metrics": {one.metric: one.to_json() for one in self.deltas},
            "notes": list(self.notes),
        }


def compare_candidates(store: Store, study: str, a: int | str, b: int | str) -> ComparedCandidates:
    """Two candidates, each by its number or the beginning of its digest.

    Raises NotFoundError for a study or a candidate that is not there, SpecError for a candidate beside itself.
    """
    row = store.study(study)
    shape = parts_from_json(row.facts.get("shape"))
    records = [store.record(study, one) for one in (a, b)]
    if records[0].candidate.number == records[1].candidate.number:
        raise SpecError(
            f"{a} and {b} are the same candidate, {records[0].candidate.digest}; name two: "
            f"`autocompress trials {study}` lists them"
        )
    report = front_report(store, study)
    finalists = {one.candidate.number: one for one in store.finalists(study)}
    sides = [side_of(store, report, one, finalists.get(one.candidate.number), shape) for one in records]
    by: By = "exported" if all(one.exported for one in sides) else "searched"
    left, right = sides
    return ComparedCandidates(
        study=study,
        a=left,
        b=right,
        by=by,
        policies=policy_difference(records[0].candidate.policy, records[1].candidate.policy, shape),
        deltas=deltas(left.rated(by), right.rated(by), row.facts),
        notes=tuple(_notes(left, right, by, own=report.own)),
    )


def side_of(
    store: Store, report: FrontReport, record: Record, finalist: Finalist | None, shape: ModelParts | None
) -> Side:
    """What a study keeps of a candidate. Scores of rows that cannot be read are left out: intervals say that they are
    not paired."""
    candidate, outcome = record.candidate, record.outcome
    member = next((one for one in report.members if one.number == candidate.number), None)
    exported: Metrics = {}
    if candidate.policy.is_baseline:
        exported = report.baseline.metrics if report.baseline and report.baseline.measured else {}
    elif finalist is not None:
        exported = {one.metric: one for one in finalist.measurements if not one.metric.endswith("_drop")}
    judged: tuple[Measurement, ...] = () if outcome is None or isinstance(outcome, Failed) else outcome.measurements
    return Side(
        study=report.study,
        number=candidate.number,
        digest=candidate.digest,
        summary=explain_policy(candidate.policy, shape).summary,
        state=_state(record, finalist),
        exported=exported,
        searched={one.metric: one for one in judged},
        relative=member.relative if member else Relative(),
        expected=member.expected if member else None,
        rows=_rows(store, finalist),
        reason=_reason(record, finalist),
    )


def _rows(store: Store, finalist: Finalist | None) -> Mapping[str, RowScores] | None:
    if finalist is None or finalist.row_scores is None:
        return None
    try:
        return row_scores(store, finalist)
    except IntegrityError:
        return None


def _state(record: Record, finalist: Finalist | None) -> str:
    if record.candidate.policy.is_baseline:
        return "baseline"
    if finalist is not None:
        return finalist.state
    return "unfinished" if record.outcome is None else type(record.outcome).__name__.lower()


def _reason(record: Record, finalist: Finalist | None) -> str:
    """Why it went no further."""
    outcome = record.outcome
    if isinstance(outcome, Failed):
        return f"{outcome.stage}: {outcome.error}: {outcome.message}"
    constraint = getattr(outcome, "constraint", "")
    if constraint:
        return f"it breaks {constraint}"
    return finalist.reason if finalist is not None and finalist.state == "rejected" else ""


def _notes(a: Side, b: Side, by: By, *, own: bool) -> list[str]:
    """What a reader must know besides the numbers."""
    said = []
    for one in (a, b):
        if one.reason:
            said.append(f"{one.digest[:8]} is {one.state}: {one.reason}")
        elif one.state == "unfinished":
            said.append(f"{one.digest[:8]} was not judged yet.")
    if by == "searched" and not own:
        missing = " and ".join(one.digest[:8] for one in (a, b) if not one.exported)
        said.append(
            f"There is no exported file of {missing}, so both are compared as the search knew them: quality is that of "
            "inherited weights, before training, and ~ marks a prediction."
        )
    return said


def _printed(found: ComparedCandidates) -> str:
    from autocompress.report.comparing.tables import as_comparison
    from autocompress.report.notebook import printed

    return printed(as_comparison(found))
