"""Devices: who they are, what was measured on them, and what a shape would cost there."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal, get_args

from autocompress.core.lowering import PLAIN, Lowering, Tried
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName
from autocompress.core.shape import (
    Activations,
    Arithmetic,
    AttentionShape,
    Bits,
    FeedForwardShape,
    LayerShape,
    ModelShape,
    attention_bytes,
    feed_forward_bytes,
    macs_by_bits,
    unpacked,
    weight_bytes,
)

_FORBID = {"extra": "forbid"}

SCHEMA: Final = 2
"""Version of the form of a profile."""

ProfileSource = Literal["measured", "fitted", "datasheet"]
Block = Literal["base", "attention", "feed_forward", "last_attention", "last_feed_forward"]
Lengths = Literal["padded", "real", "sorted"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What one inference is: sequences at a time, tokens a sequence, threads of the runtime.

    `padded` texts all have `length` tokens. With `real` lengths texts come as they come and with `sorted` ones in the
    order of their length, and every batch is padded to its own longest text. `tokens` are then the padded lengths of
    typical batches, all equally frequent; they follow from the task's training texts unless given here, and `length` is
    where texts are cut. A latency under such a workload is the mean over these batches.
    """

    batch: int = 1
    length: int = 128
    threads: int = 1
    lengths: Lengths = "padded"
    tokens: tuple[int, ...] = ()
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("batch", "length", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {name}={getattr(self, name)}")
        if self.tokens and self.lengths == "padded":
            raise ValueError(
                "`tokens` belong to `lengths: real` or `lengths: sorted`; padded texts have `length` tokens"
            )
        outside = [count for count in self.tokens if not 1 <= count <= self.length]
        if outside:
            raise ValueError(f"`tokens` must lie between 1 and `length`, {self.length}, got {outside[0]}")

    @staticmethod
    def of(tree: Mapping[str, Any]) -> Workload:
        """The inverse of `to_json`. Raises TypeError or ValueError when it is no workload."""
        return Workload(**{**tree, "tokens": tuple(tree.get("tokens", ()))})

    def to_json(self) -> dict[str, Any]:
        """Lengths only where they are not all the same."""
        found: dict[str, Any] = {"batch": self.batch, "length": self.length, "threads": self.threads}
        return found if self.lengths == "padded" else {**found, "lengths": self.lengths, "tokens": list(self.tokens)}

    @property
    def batches(self) -> tuple[Workload, ...]:
        """The typical batches, each padded to a length: just one where all texts have the same."""
        if self.lengths == "padded":
            return (self,)
        if not self.tokens:
            raise ValueError(f"`lengths: {self.lengths}` need the task's texts, which were not read yet")
        return tuple(Workload(self.batch, count, self.threads) for count in self.tokens)

    @property
    def typical(self) -> Workload:
        """One batch for all, of their mean length: what work is counted for."""
        counts = [one.length for one in self.batches]
        return Workload(self.batch, round(sum(counts) / len(counts)), self.threads)

    @property
    def longest(self) -> Workload:
        """The largest batch: what memory is needed for."""
        return max(self.batches, key=lambda one: one.length)

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        length = f"length {self.length}"
        if self.lengths != "padded":
            span = (
                f"{min(self.tokens)} to {max(self.tokens)} tokens" if self.tokens else f"at most {self.length} tokens"
            )
            length = f"{self.lengths} lengths, {span}"
        return f"batch {self.batch}, {length}, {self.threads} thread{plural}"


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Milliseconds that one building block adds to an inference, as the runtime really executes it.

    `size` is the number of heads of an attention block, the width of a feed-forward block, and 0 for `base`, which is
    everything outside the layers. Only `base` has a row in 4 bits: layers stored so are computed in 8. Blocks of the
    last layer compute the first token alone (keys and values apart), so they have rows of their own, and so have int8
    blocks with static `activations`. `low` and `high` are the quartiles of the readings.
    """

    block: Block
    bits: Bits
    size: int
    milliseconds: float
    low: float
    high: float
    activations: Activations = "dynamic"
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("milliseconds", "low", "high"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"`{name}` must be a finite number of milliseconds >= 0, got {value}")
        if not self.low <= self.milliseconds <= self.high:
            raise ValueError(
                f"`low <= milliseconds <= high` must hold, got {self.low}, {self.milliseconds}, {self.high}"
            )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far predictions lie from measurements of `n` models that the fit never saw; errors are shares."""

    n: int
    mape: float
    median: float
    within_5: float
    within_10: float
    spearman: float
    kendall: float
    how: str = ""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("mape", "median", "within_5", "within_10", "spearman", "kendall"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be a finite number, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Correction:
    """What whole models cost beside the sum of their blocks: a weight for each feature of `cost_features`.

    `spread` is the half-width of the 95 % interval of a prediction, as a share of it; `models` is how many whole models
    were measured for the fit, and `reference_ms` how long a reference model took beside them: the machine's pace.
    """

    weights: Mapping[str, float]
    spread: float
    models: int
    reference_ms: float
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(COST_FEATURES))
        if unknown:
            raise ValueError(f"unknown `weights`: {', '.join(unknown)} (allowed: {', '.join(COST_FEATURES)})")
        for name, value in self.weights.items():
            if not math.isfinite(value):
                raise ValueError(f"`{name}` must be a finite number, got {value}")
        for name in ("spread", "reference_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name} >= 0` must hold, got {value}")


@dataclass(frozen=True, slots=True)
class KernelTable:
    """The kernel rows for one hidden size, one head size, one workload and one runtime, and how well they predict whole
    models.

    They are those of graphs written and run by `lowering`, chosen by what was `tried`.
    """

    hidden: int
    head_size: int
    workload: Workload
    rows: tuple[KernelRow, ...]
    correction: Correction | None = None
    accuracy: Accuracy | None = None
    lowering: Lowering = PLAIN
    tried: tuple[Tried, ...] = ()
    runtime: RuntimeName = DEFAULT_RUNTIME
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.workload.lengths != "padded":
            raise ValueError("`workload.lengths` of a kernel table must be padded: it is measured at one length")
        seen: set[tuple[Block, Bits, Activations, int]] = set()
        for row in self.rows:
            key = (row.block, row.bits, row.activations, row.size)
            if key in seen:
                raise ValueError(
                    f"`rows` hold {row.block} of size {row.size} in {_named(row.bits, row.activations)} twice"
                )
            seen.add(key)
        missing = set(get_args(Block)) - {row.block for row in self.rows}
        if missing:
            raise ValueError(f"`rows` lack {', '.join(sorted(missing))}")

    def __str__(self) -> str:
        """What it was measured under; the runtime is told where it is not the default."""
        return str(self.workload) if self.runtime == DEFAULT_RUNTIME else f"{self.workload}, {self.runtime}"

    def curve(self, block: Block, bits: Bits, activations: Activations = "dynamic") -> list[tuple[int, float]]:
        """(size, milliseconds) of one kind of block, by size."""
        kind = (block, bits, activations)
        return sorted(
            (row.size, row.milliseconds) for row in self.rows if (row.block, row.bits, row.activations) == kind
        )


def _named(bits: Bits, activations: Activations) -> str:
    return f"{bits} bits" if activations == "dynamic" else f"static {bits} bits"


@dataclass(frozen=True, slots=True)
class CostModel:
    """A device that nobody profiled block by block: weight products at a rate, weights read at a bandwidth, and a fixed
    cost a layer and an inference (a roofline; Williams et al. 2009).

    Rates are in 10^9 multiply-accumulates a second with `threads` threads. A device without `gmacs_int8` has no faster
    kernel for int8 that anybody measured: int8 parts are counted at fp32 speed. `spread` is the half-width of the 95 %
    interval of a prediction, as a share of it.
    """

    gmacs_fp32: float
    gbytes_per_second: float
    spread: float
    threads: int
    gmacs_int8: float | None = None
    ms_per_layer: float = 0.0
    ms_base: float = 0.0
    accuracy: Accuracy | None = None
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("gmacs_fp32", "gbytes_per_second", "gmacs_int8"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name} > 0` must hold, got {value}")
        for name in ("spread", "ms_per_layer", "ms_base"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name} >= 0` must hold, got {value}")

    def rate(self, bits: Arithmetic) -> float:
        """Multiply-accumulates a millisecond."""
        return 1e6 * (self.gmacs_int8 if bits == 8 and self.gmacs_int8 else self.gmacs_fp32)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most one core of the machine does: products in fp32 and int8 (10^9 operations a second; 1 MAC = 2
    operations), and memory traffic (10^9 bytes a second)."""

    gflops_fp32: float
    gops_int8: float
    gbytes_per_second: float
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("gflops_fp32", "gops_int8", "gbytes_per_second"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name} > 0` must hold, got {value}")


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Millijoules of an inference where no meter can be read: power while it lasts, arithmetic and traffic on top.

    `idle_watts` is drawn by the device at rest, `active_watts` with all `cores` busy; threads in between draw their
    share. A MAC and a byte read from memory cost picojoules of their own. `source` says where the constants are from;
    `spread` is the half-width of the 95 % interval of a value, as a share of it.
    """

    idle_watts: float
    active_watts: float
    cores: int
    pj_per_mac_fp32: float
    pj_per_mac_int8: float
    pj_per_byte: float
    source: str
    spread: float
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("idle_watts", "active_watts", "pj_per_mac_fp32", "pj_per_mac_int8", "pj_per_byte", "spread"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name}` must be a finite number >= 0, got {value}")
        if self.active_watts < self.idle_watts:
            raise ValueError(
                f"`active_watts >= idle_watts` must hold, got active_watts={self.active_watts}, "
                f"idle_watts={self.idle_watts}"
            )
        if self.cores < 1:
            raise ValueError(f"`cores >= 1` must hold, got {self.cores}")
        if not self.source.strip():
            raise ValueError("`source` must say where the constants are from")

    def __call__(self, shape: ModelShape, workload: Workload, milliseconds: Estimate) -> Estimate:
        """Modelled millijoules of one inference that takes so long."""
        busy = min(workload.threads, self.cores) / self.cores
        watts = self.idle_watts + busy * (self.active_watts - self.idle_watts)
        by_bits = macs_by_bits(shape, batch=workload.batch, length=workload.typical.length, every_token=False)
        picojoules = by_bits[32] * self.pj_per_mac_fp32 + by_bits[8] * self.pj_per_mac_int8
        picojoules += weight_bytes(unpacked(shape), embeddings=False) * self.pj_per_byte
        value = watts * milliseconds.value + 1e-9 * picojoules
        return Estimate.around(value, math.hypot(self.spread, milliseconds.spread))


@dataclass(frozen=True, slots=True)
class Runtime:
    """The runtime the numbers belong to, with the switches it ran under."""

    name: str
    version: str
    options: Mapping[str, str] = field(default_factory=dict)
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted number with its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def around(value: float, spread: float) -> Estimate:
        """The interval reaches `spread`, a share, to both sides; never below zero."""
        return Estimate(value, value * max(0.0, 1 - spread), value * (1 + spread))

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the value."""
        return (self.high - self.value) / self.value if self.value else 0.0


Predictor = Callable[[ModelShape], Estimate]
"""Milliseconds of one inference of a shape. Raises ValueError outside of what was measured."""


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device and what is known of it.

    A device that was `measured` has a kernel table for each workload and runtime; one that was `fitted` to published
    measurements, or is described by a `datasheet`, has a cost model. `fingerprint` identifies the machine a measured
    profile belongs to; `measured_on` is the date of its numbers. `notes` say how they were obtained. `runtime` is what
    they belong to; `other_runtimes` are those that further tables name.
    """

    name: str
    version: int
    source: ProfileSource
    description: str
    fingerprint: Mapping[str, str]
    runtime: Runtime
    measured_on: str
    tables: tuple[KernelTable, ...] = ()
    cost: CostModel | None = None
    ceilings: Ceilings | None = None
    energy: EnergyModel | None = None
    notes: tuple[str, ...] = ()
    other_runtimes: tuple[Runtime, ...] = ()
    schema: int = SCHEMA
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(
                f"`schema` is {self.schema}, this version reads {SCHEMA}; make the profile again with "
                "`autocompress profile`"
            )
        if self.source == "measured" and not self.tables:
            raise ValueError("a measured profile needs `tables`; others need `source: fitted` or `source: datasheet`")
        if self.source != "measured" and self.cost is None:
            raise ValueError(f"a profile with `source: {self.source}` needs a `cost` model")
        places = [(table.hidden, table.head_size, str(table)) for table in self.tables]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"`tables` hold hidden {place[0]}, head size {place[1]}, {place[2]} twice")

    def lowering(self, *, hidden: int, head_size: int, workload: Workload, runtime: str = DEFAULT_RUNTIME) -> Lowering:
        """How a model is best written for a runtime here: as measured under the workload, or else under the one of the
        nearest length with the same batch and threads; plainly where nothing was measured."""
        like = [
            table
            for table in self.tables
            if (table.hidden, table.head_size, table.runtime) == (hidden, head_size, runtime)
            and (table.workload.batch, table.workload.threads) == (workload.batch, workload.threads)
        ]
        nearest = min(like, key=lambda table: abs(table.workload.length - workload.length), default=None)
        return nearest.lowering if nearest else PLAIN

    def predictor(self, *, hidden: int, head_size: int, workload: Workload) -> Predictor:
        """Predicts models of one hidden and head size under a workload, each in the runtime that its shape names.

        Raises ValueError, saying what was measured, when that lies outside of what the profile knows. Between two
        measured lengths every block is interpolated; nothing is extrapolated.
        """
        batches = workload.batches
        if self.cost is not None and not self.tables:
            if workload.threads != self.cost.threads:
                raise ValueError(
                    f"device {self.name!r} is described for {self.cost.threads} threads, the workload asks for "
                    f"{workload.threads}"
                )
            return WeightedSum([(RooflinePredictor(self.cost, one), 1 / len(batches)) for one in batches])
        fitting = [table for table in self.tables if (table.hidden, table.head_size) == (hidden, head_size)]
        found: dict[str, Predictor] = {}
        for runtime in dict.fromkeys(table.runtime for table in fitting):
            known = _of_runtime([table for table in fitting if table.runtime == runtime], workload)
            if known is not None:
                found[runtime] = known
        if found:
            return _ByRuntime(self.name, found)
        measured = "; ".join(f"hidden {t.hidden}, heads of {t.head_size}, {t}" for t in self.tables) or "nothing"
        lacking = next((one for one in batches if _of_runtime(fitting, one) is None), workload)
        raise ValueError(
            f"device {self.name!r} was not measured for hidden {hidden}, heads of {head_size}, {lacking} "
            f"(measured: {measured})"
        )


def _of_runtime(tables: Sequence[KernelTable], workload: Workload) -> Predictor | None:
    """What tables of one runtime say of a workload, the mean over its batches; None where that was not measured."""
    batches = workload.batches
    like = [t for t in tables if (t.workload.batch, t.workload.threads) == (workload.batch, workload.threads)]
    by_length = {table.workload.length: table for table in like}
    shares: dict[int, float] = {}
    for one in batches:
        around = _around(by_length, one.length)
        if not around:
            return None
        for length, share in around.items():
            shares[length] = shares.get(length, 0.0) + share / len(batches)
    parts = [(LatencyPredictor(by_length[length]), share) for length, share in shares.items()]
    between = any(one.length not in by_length for one in batches)
    return WeightedSum(parts, more_spread=_BETWEEN) if between else WeightedSum(parts)


def _around(by_length: Mapping[int, KernelTable], length: int) -> dict[int, float]:
    """A length that was measured, or the two nearest and the share that each has of it; nothing outside of them."""
    if length in by_length:
        return {length: 1.0}
    shorter = [known for known in by_length if known < length]
    longer = [known for known in by_length if known > length]
    if not (shorter and longer):
        return {}
    low, high = max(shorter), min(longer)
    share = (length - low) / (high - low)
    return {low: 1 - share, high: share}


class _ByRuntime:
    """Each shape by what was measured in its runtime."""

    def __init__(self, device: str, predictors: Mapping[str, Predictor]) -> None:
        self._device, self._predictors = device, predictors

    def __call__(self, shape: ModelShape) -> Estimate:
        known = self._predictors.get(shape.runtime)
        if known is None:
            raise ValueError(
                f"device {self._device!r} was not measured in runtime {shape.runtime!r} under this workload "
                f"(measured: {', '.join(self._predictors)})"
            )
        return known(shape)


COST_FEATURES = (
    "base",
    "attention_fp32",
    "attention_int8",
    "feed_forward_fp32",
    "feed_forward_int8",
    "layers",
    "last_attention_fp32",
    "last_attention_int8",
    "last_feed_forward_fp32",
    "last_feed_forward_int8",
    "megabytes",
)
"""What a prediction is summed from: milliseconds of the table by kind of block; how many layers there are; once more
what the last layer's blocks take, which work on one token and wait for their weights rather than for arithmetic; and
how many megabytes the layers' weights are, which the caches hold or not. A profile may weigh fewer of them."""

SUM_OF_BLOCKS: Final = dict.fromkeys(COST_FEATURES[:5], 1.0)
"""The weights by which whole models cost what their blocks cost."""

_UNCORRECTED: Final = 0.10
"""Spread of a sum of blocks that nobody compared with whole models."""

_BETWEEN: Final = 0.03
"""What interpolating between two lengths may add: attention grows with the square of the length, the rest does not."""


class LatencyPredictor:
    """Whole-model latency as the sum of its blocks, interpolated within the measured sizes, and corrected.

    Summing is exact for a runtime that executes one node after another on one thread; what it misses (caches that a
    whole model shares, the runtime's own cost a node) is fitted on whole models.
    """

    def __init__(self, table: KernelTable) -> None:
        self._curves: dict[tuple[Block, Bits, Activations], tuple[list[int], list[float]]] = {}
        for row in table.rows:
            curve = table.curve(row.block, row.bits, row.activations)
            self._curves[row.block, row.bits, row.activations] = ([size for size, _ in curve], [ms for _, ms in curve])
        self._known: dict[tuple[Block, Bits, Activations, int], float] = {}
        correction = table.correction
        self._spread = correction.spread if correction else _UNCORRECTED
        given = correction.weights if correction else SUM_OF_BLOCKS
        self._weights = tuple(given.get(name, 0.0) for name in COST_FEATURES)

    def __call__(self, shape: ModelShape) -> Estimate:
        """Predicted milliseconds. Raises ValueError outside the measured range."""
        value = sum(weight * part for weight, part in zip(self._weights, self.features(shape), strict=True))
        return Estimate.around(value, self._spread)

    def features(self, shape: ModelShape) -> tuple[float, ...]:
        """The values of `COST_FEATURES`."""
        shape = unpacked(shape)
        inner, last = {8: [0.0, 0.0], 32: [0.0, 0.0]}, {8: [0.0, 0.0], 32: [0.0, 0.0]}
        for layer in shape.layers[:-1]:
            attention, feed_forward = layer.attention, layer.feed_forward
            inner[attention.bits][0] += self._block("attention", attention, attention.heads)
            inner[feed_forward.bits][1] += self._block("feed_forward", feed_forward, feed_forward.width)
        for layer in shape.layers[-1:]:
            attention, feed_forward = layer.attention, layer.feed_forward
            last[attention.bits][0] += self._block("last_attention", attention, attention.heads)
            last[feed_forward.bits][1] += self._block("last_feed_forward", feed_forward, feed_forward.width)
        ends = last[32][0], last[8][0], last[32][1], last[8][1]
        sums = inner[32][0] + ends[0], inner[8][0] + ends[1], inner[32][1] + ends[2], inner[8][1] + ends[3]
        base = self._at(("base", shape.embedding_bits, "dynamic", 0))
        return (base, *sums, float(shape.depth), *ends, self._megabytes(shape))

    def _megabytes(self, shape: ModelShape) -> float:
        """Of the weights of all layers."""
        hidden = shape.hidden
        blocks = [attention_bytes(hidden, layer.attention) for layer in shape.layers]
        return sum(blocks, sum(feed_forward_bytes(hidden, layer.feed_forward) for layer in shape.layers)) / 1e6

    def _block(self, block: Block, part: AttentionShape | FeedForwardShape, size: int) -> float:
        return self._at((block, part.bits, part.activations, size))

    def _at(self, key: tuple[Block, Bits, Activations, int]) -> float:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._interpolated(*key)
        return known

    def _interpolated(self, block: Block, bits: Bits, activations: Activations, size: int) -> float:
        sizes, milliseconds = self._curves.get((block, bits, activations), ([], []))
        if not sizes or not sizes[0] <= size <= sizes[-1]:
            measured = f"{sizes[0]} to {sizes[-1]}" if sizes else "nothing"
            raise ValueError(
                f"{block} of size {size} in {_named(bits, activations)} was not measured (measured: {measured}); "
                f"profile the device again with `autocompress profile{' --static' if activations == 'static' else ''}`"
            )
        right = bisect.bisect_left(sizes, size)
        if sizes[right] == size:
            return milliseconds[right]
        span = sizes[right] - sizes[right - 1]
        share = (size - sizes[right - 1]) / span
        return milliseconds[right - 1] + share * (milliseconds[right] - milliseconds[right - 1])


class WeightedSum:
    """Predictions of several batches as one: a length between two measured ones takes its share of each (linear), and
    a workload of several lengths is their mean."""

    def __init__(self, parts: Sequence[tuple[Predictor, float]], *, more_spread: float = 0.0) -> None:
        """`more_spread` is what interpolating adds to the widest interval."""
        self._parts, self._more = tuple(parts), more_spread

    def __call__(self, shape: ModelShape) -> Estimate:
        found = [(part(shape), share) for part, share in self._parts]
        value = sum(one.value * share for one, share in found)
        return Estimate.around(value, max(one.spread for one, _ in found) + self._more)


class RooflinePredictor:
    """Latency from a cost model: each layer takes the longer of its arithmetic and of reading its weights."""

    def __init__(self, cost: CostModel, workload: Workload) -> None:
        self._cost, self._workload = cost, workload
        self._known: dict[tuple[int, AttentionShape, FeedForwardShape, bool], float] = {}

    def __call__(self, shape: ModelShape) -> Estimate:
        """Raises ValueError for another runtime than the default: a cost model tells none from another."""
        if shape.runtime != DEFAULT_RUNTIME:
            raise ValueError(
                f"runtime {shape.runtime!r} was not measured there: a cost model knows {DEFAULT_RUNTIME!r} alone"
            )
        total = self._cost.ms_base + sum(self._layer(shape, layer, last=False) for layer in shape.layers[:-1])
        total += sum(self._layer(shape, layer, last=True) for layer in shape.layers[-1:])
        return Estimate.around(total, self._cost.spread)

    def _layer(self, shape: ModelShape, layer: LayerShape, *, last: bool) -> float:
        key = (shape.hidden, layer.attention, layer.feed_forward, last)
        if key not in self._known:
            cost, load = self._cost, self._workload
            alone = unpacked(replace(shape, layers=(layer,), head_widths=()))
            by_bits = macs_by_bits(alone, batch=load.batch, length=load.length, every_token=not last)
            arithmetic = sum(count / cost.rate(bits) for bits, count in by_bits.items())
            traffic = weight_bytes(alone, embeddings=False) / (1e6 * cost.gbytes_per_second)
            self._known[key] = max(arithmetic, traffic) + cost.ms_per_layer
        return self._known[key]
