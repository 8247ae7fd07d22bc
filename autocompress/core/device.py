"""Devices: who they are, and what was measured on them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from autocompress.core.attention_form import AttentionForm
from autocompress.core.cost import macs_by_arithmetic, passes, unpacked, weight_bytes
from autocompress.core.lowering import PLAIN, Lowering, Tried
from autocompress.core.parts import Kind, ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName
from autocompress.core.signature import Signature
from autocompress.core.storage import Activations, Arithmetic, Bits, RowBits, Storage
from autocompress.core.workload import Workload

_FORBID = {"extra": "forbid"}

HOST: Final = "host"
"""The device name that means the machine autocompress runs on."""

SCHEMA: Final = 2
"""Version of the form of a profile."""

ProfileSource = Literal["measured", "fitted", "datasheet"]
Block = Literal[
    "base",
    "attention",
    "feed_forward",
    "gated",
    "cross_attention",
    "last_attention",
    "last_feed_forward",
    "last_gated",
    "last_cross_attention",
]
_LAST: Final = "last_"
KINDS: Final[Mapping[Block, Kind]] = {
    "attention": "attention",
    "feed_forward": "feed_forward",
    "gated": "gated",
    "cross_attention": "cross_attention",
    "last_attention": "attention",
    "last_feed_forward": "feed_forward",
    "last_gated": "gated",
    "last_cross_attention": "cross_attention",
}
"""What kind of part a block is, of those that lie in layers."""


_LONGEST_MS: Final = 1e6
_MOST_SPREAD: Final = 10.0
_MOST_RATE: Final = 1e9
_MOST_THREADS: Final = 4096
_MOST_CHANNELS: Final = 2**20
"""Beyond these no device is: a profile that says so is a slip, or an attack."""
_NAME: Final = re.compile(r"[^/\\.\s][^/\\]{0,127}")


def _check_ranges(owner: object, **ranges: tuple[float, float]) -> None:
    """Raises ValueError for a field that is no number between its two ends; None is none."""
    for name, (low, high) in ranges.items():
        value = getattr(owner, name)
        if value is None:
            continue
        if not value >= low:
            raise ValueError(f"`{name} >= {low:g}` must hold, got {value:g}")
        if not value <= high:
            raise ValueError(f"`{name} <= {high:.15g}` must hold, got {value:g}")


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Milliseconds that one building block adds to an inference, as the runtime really executes it."""

    block: Block
    """Which: `base` is everything outside the layers. Blocks of the last layer compute the first token alone (keys and
    values apart), so they have rows of their own."""
    bits: RowBits
    """Bits of its weights. Only `base` has a row in 4: layers stored so are computed in 8."""
    size: int
    """The number of heads of an attention block, the width of a feed-forward block, 0 for `base`."""
    milliseconds: float
    """The median of the readings."""
    low: float
    """Their lower quartile."""
    high: float
    """Their upper quartile."""
    activations: Activations = "dynamic"
    """How activations of int8 blocks get their scale: `dynamic` as they come, `static` fixed beforehand."""
    queries_per_key: int = 1
    """How many heads of an attention block share a key and a value."""
    positions: int = 0
    """How many products an attention block has for positions, beside those for what is said there."""
    rank: int = 0
    """The rank of its matrices where they are held as two factors; 0 where they are whole."""
    width: int | None = None
    """The width of the stream that the block reads, where it is not the table's `hidden`."""
    head_size: int | None = None
    """The width of a head of an attention block, where it is not the table's."""
    form: str = "full"
    """The form of an attention block, where not every position sees all: `local, window 64, 1 global`."""
    keeps: bool = False
    """Whether it was an attention block that also finds the most attended tokens, and hands on all of them."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("milliseconds", "low", "high"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"`{name}` must be a finite number of milliseconds >= 0, got {value}")
        ends = (0.0, _LONGEST_MS)
        sizes = (1, _MOST_CHANNELS)
        _check_ranges(self, size=(0, _MOST_CHANNELS), positions=(0, 2), milliseconds=ends, low=ends, high=ends)
        _check_ranges(self, rank=(0, _MOST_CHANNELS))
        _check_ranges(self, queries_per_key=sizes, width=sizes, head_size=sizes)
        AttentionForm.of(self.form)
        if not self.low <= self.milliseconds <= self.high:
            raise ValueError(
                f"`low <= milliseconds <= high` must hold, got {self.low}, {self.milliseconds}, {self.high}"
            )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far predictions lie from measurements of models that the fit never saw; errors are shares."""

    n: int
    """How many models were measured."""
    mape: float
    """The mean of the errors' sizes."""
    median: float
    """Their median."""
    within_5: float
    """The share of models whose error is at most 5 %."""
    within_10: float
    """The share of models whose error is at most 10 %."""
    spearman: float
    """Spearman's rank correlation of predicted and measured."""
    kendall: float
    """Kendall's rank correlation of predicted and measured."""
    how: str = ""
    """How it was found."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("mape", "median", "within_5", "within_10", "spearman", "kendall"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be a finite number, got {getattr(self, name)}")


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


@dataclass(frozen=True, slots=True)
class Correction:
    """What whole models cost beside the sum of their blocks."""

    weights: Mapping[str, float]
    """A weight for each feature of `cost_features`."""
    spread: float
    """The half-width of the 95 % interval of a prediction, as a share of it."""
    models: int
    """How many whole models were measured for the fit."""
    reference_ms: float
    """How long a reference model took beside them: the machine's pace."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(COST_FEATURES))
        if unknown:
            raise ValueError(f"unknown `weights`: {', '.join(unknown)} (allowed: {', '.join(COST_FEATURES)})")
        for name, value in self.weights.items():
            if not math.isfinite(value):
                raise ValueError(f"`{name}` must be a finite number, got {value}")
        _check_ranges(self, spread=(0, _MOST_SPREAD), reference_ms=(0, _LONGEST_MS))


@dataclass(frozen=True, slots=True)
class KernelTable:
    """The kernel rows for one hidden size, one head size, one workload and one runtime, and how well they predict whole
    models."""

    hidden: int
    """The width of the residual stream."""
    head_size: int
    """The width of an attention head."""
    workload: Workload
    """What one inference was."""
    rows: tuple[KernelRow, ...]
    """What was measured, block by block."""
    correction: Correction | None = None
    """What whole models cost beside the sum of their blocks."""
    accuracy: Accuracy | None = None
    """How well whole models are predicted."""
    lowering: Lowering = PLAIN
    """How the measured graphs were written and run: chosen by what was `tried`."""
    tried: tuple[Tried, ...] = ()
    """What each way of writing them did."""
    runtime: RuntimeName = DEFAULT_RUNTIME
    """The runtime that it was measured in."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.workload.lengths != "padded":
            raise ValueError("`workload.lengths` of a kernel table must be padded: it is measured at one length")
        _check_ranges(self, hidden=(1, _MOST_CHANNELS), head_size=(1, _MOST_CHANNELS))
        if self.workload.threads > _MOST_THREADS:
            raise ValueError(f"`workload.threads <= {_MOST_THREADS}` must hold, got {self.workload.threads:,}")
        seen: set[tuple[object, ...]] = set()
        for row in self.rows:
            key = (row.block, row.bits, row.activations, row.size, self.signature(row), row.width, row.keeps)
            if key in seen:
                raise ValueError(
                    f"`rows` hold {row.block} of size {row.size} in {named_precision(row.bits, row.activations)} twice"
                )
            seen.add(key)
        if missing := _missing({row.block for row in self.rows}):
            raise ValueError(f"`rows` lack {', '.join(sorted(missing))}")
        if not any(row.milliseconds for row in self.rows):
            raise ValueError("`rows` take 0 ms, all of them; a model that takes no time was not measured")

    def __str__(self) -> str:
        """What it was measured under; the runtime is told where it is not the default."""
        return str(self.workload) if self.runtime == DEFAULT_RUNTIME else f"{self.workload}, {self.runtime}"

    def signature(self, row: KernelRow) -> Signature | None:
        """What blocks a row of the table is about; None for `base`."""
        kind = KINDS.get(row.block)
        if kind is None:
            return None
        storage, few = Storage(row.bits, row.activations), row.block.startswith(_LAST)
        size, queries = (row.head_size or self.head_size, row.queries_per_key) if "attention" in kind else (0, 0)
        width, form = row.width or self.hidden, AttentionForm.of(row.form)
        return Signature(kind, width, size, queries, storage, few, row.positions, row.rank, form)

    @property
    def is_static(self) -> bool:
        """Whether int8 with fixed ranges was measured too."""
        return any(row.activations == "static" for row in self.rows)

    @property
    def has_ranks(self) -> bool:
        """Whether blocks were measured whose matrices are held as two factors."""
        return any(row.rank for row in self.rows)

    @property
    def forms(self) -> tuple[AttentionForm, ...]:
        """The forms of attention that were measured beside the full one."""
        return tuple(dict.fromkeys(AttentionForm.of(row.form) for row in self.rows if row.form != "full"))

    @property
    def has_widths(self) -> bool:
        """Whether blocks were measured on narrower streams, too."""
        return any(row.width not in (None, self.hidden) for row in self.rows)

    def curve(self, block: Block, bits: Bits, activations: Activations = "dynamic") -> list[tuple[int, float]]:
        """(size, milliseconds) of one kind of block with whole matrices on the whole stream, by size."""
        kind = (block, bits, activations, 0, "full", False)
        return sorted(
            (row.size, row.milliseconds)
            for row in self.rows
            if (row.block, row.bits, row.activations, row.rank, row.form, row.keeps) == kind
            and row.width in (None, self.hidden)
        )


def _missing(known: set[Block]) -> set[Block]:
    """Blocks without which no model is predicted: a form of attention and one of what follows it, each as it is in
    the last layer too."""
    needed: set[Block] = {"base"}
    kinds = {KINDS[block] for block in known if block in KINDS}
    for forms in (("attention", "cross_attention"), ("feed_forward", "gated")):
        wanted = kinds.intersection(forms) or forms[:1]
        needed |= {block for block, kind in KINDS.items() if kind in wanted}
    return needed - known


def named_precision(bits: Bits, activations: Activations) -> str:
    """As messages name it."""
    return f"{bits} bits" if activations == "dynamic" else f"static {bits} bits"


@dataclass(frozen=True, slots=True)
class CostModel:
    """A device that nobody profiled block by block: weight products at a rate, weights read at a bandwidth, and a fixed
    cost a layer and an inference (a roofline; Williams et al. 2009). Rates are in 10^9 multiply-accumulates a second.
    """

    gmacs_fp32: float
    """Rate of products in fp32, with `threads` threads."""
    gbytes_per_second: float
    """Rate at which weights are read, in 10^9 bytes."""
    spread: float
    """The half-width of the 95 % interval of a prediction, as a share of it."""
    threads: int
    """The threads that the rates belong to."""
    gmacs_int8: float | None = None
    """Rate of products in int8. Without it int8 parts count at fp32 speed: nobody measured a faster kernel."""
    ms_per_layer: float = 0.0
    """Milliseconds that a layer costs, whatever its size."""
    ms_base: float = 0.0
    """Milliseconds that an inference costs, whatever the model."""
    accuracy: Accuracy | None = None
    """How well whole models are predicted."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("gmacs_fp32", "gbytes_per_second", "gmacs_int8"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name} > 0` must hold, got {value}")
        rates, times = (0, _MOST_RATE), (0, _LONGEST_MS)
        _check_ranges(self, gmacs_fp32=rates, gbytes_per_second=rates, gmacs_int8=rates)
        _check_ranges(self, spread=(0, _MOST_SPREAD), ms_per_layer=times, ms_base=times, threads=(1, _MOST_THREADS))

    def rate(self, bits: Arithmetic) -> float:
        """Multiply-accumulates a millisecond."""
        return 1e6 * (self.gmacs_int8 if bits == 8 and self.gmacs_int8 else self.gmacs_fp32)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most one core of the machine does."""

    gflops_fp32: float
    """Products in fp32, in 10^9 operations a second (1 MAC = 2 operations)."""
    gops_int8: float
    """Products in int8, in 10^9 operations a second."""
    gbytes_per_second: float
    """Memory traffic, in 10^9 bytes a second."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("gflops_fp32", "gops_int8", "gbytes_per_second"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name} > 0` must hold, got {value}")


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Millijoules of an inference where no meter can be read: power while it lasts, arithmetic and traffic on top."""

    idle_watts: float
    """Drawn by the device at rest."""
    active_watts: float
    """Drawn with all `cores` busy; threads in between draw their share."""
    cores: int
    """How many cores there are."""
    pj_per_mac_fp32: float
    """Picojoules of a multiply-accumulate in fp32."""
    pj_per_mac_int8: float
    """Picojoules of a multiply-accumulate in int8."""
    pj_per_byte: float
    """Picojoules of a byte read from memory."""
    source: str
    """Where the constants are from."""
    spread: float
    """The half-width of the 95 % interval of a value, as a share of it."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("idle_watts", "active_watts", "pj_per_mac_fp32", "pj_per_mac_int8", "pj_per_byte", "spread"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name}` must be a finite number >= 0, got {value}")
        watts, joules = (0, 1e6), (0, 1e9)
        _check_ranges(self, idle_watts=watts, active_watts=watts, spread=(0, _MOST_SPREAD), cores=(1, 10**6))
        _check_ranges(self, pj_per_mac_fp32=joules, pj_per_mac_int8=joules, pj_per_byte=joules)
        if self.active_watts < self.idle_watts:
            raise ValueError(
                f"`active_watts >= idle_watts` must hold, got active_watts={self.active_watts}, "
                f"idle_watts={self.idle_watts}"
            )
        if not self.source.strip():
            raise ValueError("`source` must say where the constants are from")

    def __call__(self, shape: ModelParts, workload: Workload, milliseconds: Estimate) -> Estimate:
        """Modelled millijoules of one inference that takes so long."""
        busy = min(workload.threads, self.cores) / self.cores
        watts = self.idle_watts + busy * (self.active_watts - self.idle_watts)
        by_bits = macs_by_arithmetic(shape, passes(shape, workload.typical))
        picojoules = by_bits[32] * self.pj_per_mac_fp32 + by_bits[8] * self.pj_per_mac_int8
        picojoules += weight_bytes(unpacked(shape), tables=False) * self.pj_per_byte
        value = watts * milliseconds.value + 1e-9 * picojoules
        return Estimate.around(value, math.hypot(self.spread, milliseconds.spread))


@dataclass(frozen=True, slots=True)
class Runtime:
    """The runtime the numbers belong to, with the switches it ran under."""

    name: str
    """Its name."""
    version: str
    """Its version."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The switches that it ran under."""
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


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device and what is known of it."""

    name: str
    """What studies call the device."""
    version: int
    """Yours to raise when the profile changes."""
    source: ProfileSource
    """`measured` here, `fitted` to published measurements, or described by a `datasheet`."""
    description: str
    """A sentence for lists."""
    fingerprint: Mapping[str, str]
    """The machine that a measured profile belongs to."""
    runtime: Runtime
    """The runtime that the numbers belong to."""
    measured_on: str
    """The date of the numbers."""
    tables: tuple[KernelTable, ...] = ()
    """Of a measured device: a kernel table for each workload and runtime."""
    cost: CostModel | None = None
    """Of any other device: a cost model."""
    ceilings: Ceilings | None = None
    """The most one core does; what reports hold measured times against."""
    energy: EnergyModel | None = None
    """How energy is modelled where no meter can be read."""
    notes: tuple[str, ...] = ()
    """How the numbers were obtained."""
    other_runtimes: tuple[Runtime, ...] = ()
    """The runtimes that further tables name."""
    schema: int = SCHEMA
    """The version of this form."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.name) and self.name.isprintable()):
            raise ValueError(
                f"`name` must hold 1 to 128 printable characters, no slash and no leading dot; got {self.name!r}"
            )
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
