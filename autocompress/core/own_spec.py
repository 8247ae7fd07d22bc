"""A search over an evaluation of the user's own: no model of ours, no task, no device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from autocompress.core.metrics import METRICS, Direction
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Bound, Budget, SamplerName, check_study_name

_FORBID = {"extra": "forbid"}
_METRIC: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

OWN: Final = "own evaluation"
"""What a stored study says of itself that was judged so."""


@dataclass(frozen=True, slots=True)
class OwnSpec:
    """What such a search is asked to do. `space` is bound: its targets are known. Functions and operators are kept as
    `core.functions` says."""

    name: str
    """What the study is called in the database and on the command line."""
    space: SearchSpace
    """The policies that may be tried."""
    objectives: Mapping[str, Direction]
    """The metrics that count, each with its direction."""
    budget: Budget
    """How many candidates are judged, and how long."""
    evaluate: str
    """The function that judges."""
    model: str = ""
    """The function that makes the model which candidates are made of, if there is one."""
    operators: Mapping[str, str] = field(default_factory=dict)
    """The classes of the operators, by what they are called."""
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    """What every candidate must keep, by metric."""
    sampler: SamplerName = "nsga2"
    """Who proposes candidates."""
    seed: int = 0
    """Of everything that is random."""
    description: str = ""
    """A sentence for lists and reports."""
    kind: Literal["own evaluation"] = "own evaluation"
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        check_study_name(self.name)
        if not self.objectives:
            raise ValueError("`objectives` must name at least one metric, as in {'loss': 'minimize'}")
        for part in ("objectives", "constraints"):
            for metric in getattr(self, part):
                if not _METRIC.fullmatch(metric):
                    raise ValueError(f"{part}: a metric is a word of letters, digits and '_', got {metric!r}")
        for metric, way in self.objectives.items():
            if metric in METRICS and way != METRICS[metric].direction:
                raise ValueError(
                    f"objectives.{metric}: `{METRICS[metric].direction}` must hold for a metric of that name, got {way}"
                )

    @property
    def needed(self) -> tuple[str, ...]:
        """The metrics that an evaluation must tell."""
        return tuple(dict.fromkeys((*self.objectives, *self.constraints)))


def is_own(resolved: Mapping[str, Any]) -> bool:
    """Whether a stored study is such a search."""
    return resolved.get("kind") == OWN
