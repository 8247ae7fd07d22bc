"""A compression policy: what is done to a model, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Setting = bool | int | float | str


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN. Raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Step:
    """One operator applied to one part of the model, e.g. `prune_heads` on `layers.3.attention`."""

    operator: str
    target: str
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", dict(sorted(self.settings.items())))

    def to_json(self) -> dict[str, Any]:
        return {"operator": self.operator, "target": self.target, "settings": dict(self.settings)}


@dataclass(frozen=True, slots=True)
class CompressionPolicy:
    """Ordered steps. The empty policy is the baseline."""

    steps: tuple[Step, ...] = ()

    @property
    def digest(self) -> str:
        """The policy's identity: two policies with the same steps are the same candidate."""
        return content_digest(self.to_json())

    @property
    def is_baseline(self) -> bool:
        return not self.steps

    def to_json(self) -> list[dict[str, Any]]:
        return [step.to_json() for step in self.steps]

    @staticmethod
    def from_json(steps: Iterable[Mapping[str, Any]]) -> CompressionPolicy:
        """The inverse of `to_json`. Raises KeyError when a step lacks a field."""
        return CompressionPolicy(
            tuple(Step(step["operator"], step["target"], step.get("settings", {})) for step in steps)
        )


BASELINE = CompressionPolicy()
