"""What is told of the steps of a policy, as values.

All differences are with the step less without it: what a step takes away is below 0.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from autocompress.core.cost import matrix_bytes, table_bytes
from autocompress.core.outcome import Source
from autocompress.core.parts import Matrix, Table
from autocompress.core.policy import Setting
from autocompress.core.storage import PRECISION

How = Literal["pairs", "main effect", "not known"]
"""Where the cost in a metric comes from: judged candidates that differ in this step alone, the mean effect over all
judged candidates, or nowhere."""

Beside = Literal["without", "other settings", "the mean", "nothing"]
"""What a step is held against: the same policy without it, or with other settings of it; or the mean of the candidates
that have it with any settings, where too few are without it."""

_PLACE: Final = re.compile(r"(?P<stack>.+?)\.(?P<layer>\d+)(?P<rest>\..+)?")


@dataclass(frozen=True, slots=True)
class Held:
    """A matrix of `inputs` x `outputs`, or a table of so many rows (`inputs`) of a width (`outputs`), as a file holds
    it: in a `precision`, as two factors where it has a `rank`, with a share of `zeros` that stand in a `pattern`."""

    inputs: int
    outputs: int
    precision: str
    bytes: int
    rank: int | None = None
    zeros: float | None = None
    pattern: str | None = None

    @staticmethod
    def of(one: Matrix | Table) -> Held:
        static = " static" if one.storage.activations == "static" else ""
        precision = f"{PRECISION[one.storage.bits]}{static}"
        if isinstance(one, Table):
            return Held(one.rows, one.width, precision, table_bytes(one))
        sparsity = one.sparsity
        return Held(
            one.inputs,
            one.outputs,
            precision,
            matrix_bytes(one),
            one.rank,
            sparsity.share if sparsity else None,
            sparsity.pattern if sparsity else None,
        )

    def __str__(self) -> str:
        """`384x1536 int8, rank 96, 50 % zeros (2:4)`."""
        rank = f", rank {self.rank}" if self.rank is not None else ""
        zeros = f", {100 * self.zeros:.3g} % zeros ({self.pattern})" if self.zeros is not None else ""
        return f"{self.inputs}x{self.outputs} {self.precision}{rank}{zeros}"


@dataclass(frozen=True, slots=True)
class MatrixChange:
    """A matrix or a table of a part, before a step and after it; None where it is not there, or is another part's."""

    part: str
    matrix: str
    before: Held | None
    after: Held | None

    @property
    def bytes(self) -> int:
        return (self.after.bytes if self.after else 0) - (self.before.bytes if self.before else 0)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step does to the model that the steps before it have left: over all steps this adds up to the whole
    difference. `bytes` are those of weights in a file; `macs` of one inference, None where its length is not known."""

    parameters: int
    macs: int | None
    bytes: int
    matrices: tuple[MatrixChange, ...] = ()


Costs = Mapping[str, float]
"""By metric, the difference that a step makes."""


@dataclass(frozen=True, slots=True)
class Worth:
    """The differences that a step makes in what follows from a shape; `why_not` says what is not known of them."""

    costs: Costs
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A judged candidate that differs in one step alone; `instead` says what it has in its place, empty for nothing.
    `difference` is the explained candidate less this one, with the 95 % interval that follows from their two."""

    number: int
    digest: str
    instead: str
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What judged candidates tell of a step's effect on one of their scores, in its `unit`.

    Of `pairs`, `value` is the mean over `count` neighbours, with an interval where that is one; of a `main effect` it
    is the mean over `count` judged candidates, other models than this one among them. `why` says why nothing is known.
    """

    metric: str
    unit: str
    how: How
    beside: Beside = "nothing"
    value: float | None = None
    interval: tuple[float, float] | None = None
    count: int = 0
    neighbours: tuple[Neighbour, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class StepTold:
    """Steps that the space decided at once, or a single one. `taken`, `alone` and `last` are None where the model's
    parts are not known. `alone`: on the uncut model, beside it. `last`: in this policy, beside it without the step. A
    `void` step changes nothing in its place, because of the steps `void_by`, by their numbers from 1."""

    operator: str
    target: str
    settings: Mapping[str, Any]
    targets: tuple[str, ...]
    taken: Taken | None = None
    alone: Worth | None = None
    last: Worth | None = None
    judged: tuple[Judged, ...] = ()
    void: bool = False
    void_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """`sources` says of each metric of a worth where it comes from; `shown` are those that the study asks about.
    `judged` counts the candidates whose scores are known."""

    steps: tuple[StepTold, ...]
    sources: Mapping[str, Source]
    shown: tuple[str, ...]
    judged: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def places_of(targets: Iterable[str]) -> str:
    """`layers.0-2,5.attention` for the same part of several layers; else the targets as they are."""
    layers: dict[tuple[str, str], list[int]] = {}
    others: list[str] = []
    for target in dict.fromkeys(targets):
        found = _PLACE.fullmatch(target)
        if found is None:
            others.append(target)
        else:
            layers.setdefault((found["stack"], found["rest"] or ""), []).append(int(found["layer"]))
    named = (f"{stack}.{_spans(sorted(some))}{rest}" for (stack, rest), some in layers.items())
    return ", ".join((*others, *named))


def _spans(numbers: list[int]) -> str:
    """`0-2,5`."""
    spans: list[list[int]] = []
    for one in numbers:
        if spans and one == spans[-1][1] + 1:
            spans[-1][1] = one
        else:
            spans.append([one, one])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def settings_told(settings: Mapping[str, Setting]) -> str:
    """`heads 6, importance fisher`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
