"""What became of a candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autocompress.core.policy import CompressionPolicy, Setting

Source = Literal["measured", "predicted", "modelled", "counted"]
Stage = Literal["build", "score", "train", "export", "verify", "worker"]

RUNG_COUNTED, RUNG_SLICED, RUNG_FINALIST = 0, 1, 3
"""Rungs of the fidelity ladder in use: counted and predicted; inherited weights; trained, exported and verified."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one candidate. `interval` is a 95 % interval; `samples` are the raw readings."""

    metric: str
    value: float
    unit: str
    source: Source
    interval: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    device: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a measurement must be finite, got {self.metric}={self.value}")

    def to_json(self) -> dict[str, Any]:
        """Without the raw samples, which only the store keeps."""
        return {
            "value": self.value,
            "unit": self.unit,
            "source": self.source,
            **({"interval": list(self.interval)} if self.interval else {}),
            **({"n": len(self.samples)} if self.samples else {}),
        }


Measurements = tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The candidate was built and scored."""

    measurements: Measurements


@dataclass(frozen=True, slots=True)
class Infeasible:
    """The candidate breaks a constraint; `measurements` hold what was known when it was rejected."""

    constraint: str
    measurements: Measurements = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The candidate could not be judged: at which stage, the error's class, its message and traceback."""

    stage: Stage
    error: str
    message: str
    traceback: str = ""


Outcome = Evaluated | Infeasible | Failed


def values(measurements: Measurements) -> dict[str, float]:
    """Metric name -> value."""
    return {measurement.metric: measurement.value for measurement in measurements}


@dataclass(frozen=True, slots=True)
class Priced:
    """A policy without its idle steps, what is known of it before it is built, and the first bound it breaks."""

    policy: CompressionPolicy
    measurements: Measurements = ()
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy with its number in the study. Number 0 is the baseline."""

    number: int
    policy: CompressionPolicy

    @property
    def digest(self) -> str:
        return self.policy.digest


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a sampler asked for: a point of the space, and what the sampler must find again after a restart."""

    number: int
    parameters: Mapping[str, Setting]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A candidate with its outcome (None while it is pending or running) and how it was obtained."""

    candidate: Candidate
    outcome: Outcome | None
    attempt: int = 0
    seconds: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
