"""Devices: who they are, what was measured on them, and what a shape would cost there."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from autocompress.core.shape import Bits, ModelShape

_FORBID = {"extra": "forbid"}

ProfileSource = Literal["measured", "fitted", "datasheet"]
Block = Literal["base", "attention", "feed_forward"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What one inference is: sequences at a time, tokens a sequence, threads of the runtime."""

    batch: int = 1
    length: int = 128
    threads: int = 1
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("batch", "length", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {name}={getattr(self, name)}")

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"batch {self.batch}, length {self.length}, {self.threads} thread{plural}"


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Milliseconds that one building block adds to an inference, as the runtime really executes it.

    `size` is the number of heads of an attention block, the width of a feed-forward block, and 0 for `base`, which is
    everything outside the layers. `low` and `high` are the quartiles of the readings.
    """

    block: Block
    bits: Bits
    size: int
    milliseconds: float
    low: float
    high: float
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("milliseconds", "low", "high"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"`{name}` must be a finite number of milliseconds >= 0, got {value}")


@dataclass(frozen=True, slots=True)
class KernelTable:
    """The kernel rows for one hidden size, one head size and one workload."""

    hidden: int
    head_size: int
    workload: Workload
    rows: tuple[KernelRow, ...]
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def curve(self, block: Block, bits: Bits) -> list[tuple[int, float]]:
        """(size, milliseconds) of one kind of block, by size."""
        return sorted((row.size, row.milliseconds) for row in self.rows if row.block == block and row.bits == bits)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The runtime the numbers belong to, with the switches it ran under."""

    name: str
    version: str
    options: Mapping[str, str] = field(default_factory=dict)
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device and what is known of it. `fingerprint` identifies the machine a measured profile belongs to."""

    name: str
    version: int
    source: ProfileSource
    description: str
    fingerprint: Mapping[str, str]
    runtime: Runtime
    measured_on: str
    tables: tuple[KernelTable, ...] = ()
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def table(self, *, hidden: int, head_size: int, workload: Workload) -> KernelTable | None:
        """The table measured for exactly this hidden size, head size and workload."""
        for table in self.tables:
            if (table.hidden, table.head_size, table.workload) == (hidden, head_size, workload):
                return table
        return None


class LatencyPredictor:
    """Whole-model latency as the sum of its blocks, interpolated within the measured sizes.

    Summing is exact for a runtime that executes one node after another on one thread; what it misses (cache effects
    between blocks) is the prediction error that every study reports.
    """

    def __init__(self, table: KernelTable) -> None:
        self._curves: dict[tuple[Block, Bits], tuple[list[int], list[float]]] = {}
        for row in table.rows:
            curve = table.curve(row.block, row.bits)
            self._curves[row.block, row.bits] = ([size for size, _ in curve], [ms for _, ms in curve])

    def __call__(self, shape: ModelShape) -> float:
        """Predicted milliseconds. Raises ValueError outside the measured range."""
        total = self._at("base", shape.embedding_bits, 0)
        for layer in shape.layers:
            total += self._at("attention", layer.attention.bits, layer.attention.heads)
            total += self._at("feed_forward", layer.feed_forward.bits, layer.feed_forward.width)
        return total

    def _at(self, block: Block, bits: Bits, size: int) -> float:
        sizes, milliseconds = self._curves.get((block, bits), ([], []))
        if not sizes or not sizes[0] <= size <= sizes[-1]:
            measured = f"{sizes[0]} to {sizes[-1]}" if sizes else "nothing"
            raise ValueError(f"{block} of size {size} in {bits} bits was not measured (measured: {measured})")
        right = bisect.bisect_left(sizes, size)
        if sizes[right] == size:
            return milliseconds[right]
        span = sizes[right] - sizes[right - 1]
        share = (size - sizes[right - 1]) / span
        return milliseconds[right - 1] + share * (milliseconds[right] - milliseconds[right - 1])
