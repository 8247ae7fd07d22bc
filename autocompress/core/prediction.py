"""What a shape would cost on a device: predictions from what its profile holds."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.cost import block_bytes, macs_by_arithmetic, passes, unpacked, weight_bytes
from autocompress.core.device import COST_FEATURES, CostModel, DeviceProfile, Estimate, KernelTable, named_precision
from autocompress.core.kept_tokens import KeptTokens, keeps_tokens
from autocompress.core.parts import ModelParts, Part, Pass
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.signature import Signature, signature
from autocompress.core.storage import FEW_BITS, Bits, Storage, arithmetic
from autocompress.core.wording import table_bits
from autocompress.core.workload import Workload

Predictor = Callable[[ModelParts], Estimate]
"""Milliseconds of one inference of a shape. Raises ValueError outside of what was measured."""


def predictor_of(profile: DeviceProfile, *, hidden: int, head_size: int, workload: Workload) -> Predictor:
    """Predicts models of one hidden and head size under a workload, each in the runtime that its shape names.

    Raises ValueError, saying what was measured, when that lies outside of what the profile knows. Between two
    measured lengths every block is interpolated; nothing is extrapolated.
    """
    batches = workload.batches
    if profile.cost is not None and not profile.tables:
        if workload.threads != profile.cost.threads:
            raise ValueError(
                f"device {profile.name!r} is described for {profile.cost.threads} threads, the workload asks for "
                f"{workload.threads}"
            )
        return WeightedSum([(RooflinePredictor(profile.cost, one), 1 / len(batches)) for one in batches])
    fitting = [table for table in profile.tables if (table.hidden, table.head_size) == (hidden, head_size)]
    found: dict[str, Predictor] = {}
    for runtime in dict.fromkeys(table.runtime for table in fitting):
        known = _of_runtime([table for table in fitting if table.runtime == runtime], workload)
        if known is not None:
            found[runtime] = known
    if found:
        return _ByRuntime(profile.name, found)
    measured = "; ".join(f"hidden {t.hidden}, heads of {t.head_size}, {t}" for t in profile.tables) or "nothing"
    lacking = next((one for one in batches if _of_runtime(fitting, one) is None), workload)
    raise ValueError(
        f"device {profile.name!r} was not measured for hidden {hidden}, heads of {head_size}, {lacking} "
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
    parts = [(LatencyPredictor(by_length[length], like), share) for length, share in shares.items()]
    between = any(one.length not in by_length for one in batches)
    return WeightedSum(parts, more_spread=_BETWEEN) if between else WeightedSum(parts)


def _around(by_length: Mapping[int, object], length: int) -> dict[int, float]:
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

    def __call__(self, shape: ModelParts) -> Estimate:
        known = self._predictors.get(shape.runtime)
        if known is None:
            raise ValueError(
                f"device {self._device!r} was not measured in runtime {shape.runtime!r} under this workload "
                f"(measured: {', '.join(self._predictors)})"
            )
        return known(shape)


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

    Layers behind one that keeps some of its tokens compute fewer rows: their blocks are looked up in the table of that
    length, among `others` of the same runtime, batch and threads, and between two of them interpolated, which is more
    than they take, as attention grows with the square of the length. Finding the tokens costs what it was measured to
    take where all of them go on.
    """

    def __init__(self, table: KernelTable, others: Sequence[KernelTable] = ()) -> None:
        curves: dict[Signature, dict[int, float]] = {}
        for row in table.rows:
            if row.keeps:
                continue
            kind = table.signature(row) or _outside(row.width or table.hidden, row.bits)
            curves.setdefault(kind, {})[row.size] = row.milliseconds
        self._curves = {
            kind: (sorted(curve), [curve[size] for size in sorted(curve)]) for kind, curve in curves.items()
        }
        self._finding = _finding(table)
        self._shorter = {one.workload.length: one for one in others if one.workload.length < table.workload.length}
        self._behind: dict[int, LatencyPredictor] = {}
        self._known: dict[tuple[Signature, int], float] = {}
        self._workload, self._width = table.workload, table.hidden
        correction = table.correction
        self._spread = correction.spread if correction else _UNCORRECTED
        given = correction.weights if correction else SUM_OF_BLOCKS
        self._weights = tuple(given.get(name, 0.0) for name in COST_FEATURES)

    def __call__(self, shape: ModelParts) -> Estimate:
        """Predicted milliseconds. Raises ValueError outside the measured range."""
        value = sum(weight * part for weight, part in zip(self._weights, self.features(shape), strict=True))
        between = _BETWEEN if keeps_tokens(shape) else 0.0
        return Estimate.around(value + self.front(shape), self._spread + between)

    def front(self, shape: ModelParts) -> float:
        """Milliseconds of the products before the layers, of patches or of convolutions over sound: as much for each
        multiply-accumulate as the largest feed-forward block that was measured takes."""
        fronts = tuple(part for part in shape.parts if part.kind in ("patches", "conv_front") and part.matrices)
        if not fronts:
            return 0.0
        load, width = self._workload, self._width
        curve = self._curves.get(Signature("feed_forward", self._width))
        if curve is None or not curve[0][-1]:
            return 0.0
        each = curve[1][-1] / (2 * width * curve[0][-1] * load.length * load.batch)
        alone = replace(shape, parts=fronts)
        return each * sum(
            macs_by_arithmetic(alone, (Pass(shape.stacks[0], load.length, load.length, load.batch),)).values()
        )

    def features(self, shape: ModelParts) -> tuple[float, ...]:
        """The values of `COST_FEATURES`."""
        inner, last = {8: [0.0, 0.0], 32: [0.0, 0.0]}, {8: [0.0, 0.0], 32: [0.0, 0.0]}
        ends = {stack: shape.layers(stack)[-1:] for stack in shape.stacks}
        whole = left = self._workload.length
        for part in shape.blocks():
            few = shape.read is not None and part.layer in ends[part.stack]
            kind, size = signature(part, few=few)
            sums = last if few else inner
            around = [(self, 1.0)] if left == whole else self._around(left, part)
            took = sum(share * one._at(kind, size) for one, share in around)
            if part.mixing is not None and (kept := part.mixing.keeps) is not None and not few:
                took += sum(share * one._found(part, size) for one, share in around)
                left = kept.of(left)
            sums[arithmetic(kind.storage)][0 if part.mixing else 1] += took
        read = last[32][0], last[8][0], last[32][1], last[8][1]
        sums_of = inner[32][0] + read[0], inner[8][0] + read[1], inner[32][1] + read[2], inner[8][1] + read[3]
        outside = self._at(_outside(shape.width, table_bits(shape)), 0)
        return (outside, *sums_of, float(shape.depth), *read, self._megabytes(shape))

    def _around(self, length: int, part: Part) -> list[tuple[LatencyPredictor, float]]:
        """By whom a part is told that computes so many tokens of a text, and the share that each has of it."""
        measured = {self._workload.length: self, **self._shorter}
        around = _around(measured, length)
        if not around:
            known = ", ".join(map(str, sorted(measured)))
            raise ValueError(
                f"{part.name} on {length} tokens that are left of {self._workload.length} was not measured (measured "
                f"lengths: {known}); profile it for a study that keeps tokens, as `device: host` does"
            )
        return [(self._of(one), share) for one, share in around.items()]

    def _of(self, length: int) -> LatencyPredictor:
        if length == self._workload.length:
            return self
        if length not in self._behind:
            self._behind[length] = LatencyPredictor(self._shorter[length])
        return self._behind[length]

    def _found(self, part: Part, heads: int) -> float:
        """Milliseconds of finding the most attended tokens, by the number of heads that attend."""
        sizes, milliseconds = self._finding
        if not sizes or not sizes[0] <= heads <= sizes[-1]:
            measured = f"{sizes[0]} to {sizes[-1]}" if sizes else "nothing"
            raise ValueError(
                f"{part.name}: finding the most attended tokens of {heads} heads was not measured (measured: "
                f"{measured}); profile it for a study that keeps tokens, as `device: host` does"
            )
        return _between(sizes, milliseconds, heads)

    def _megabytes(self, shape: ModelParts) -> float:
        """Of the weights of all layers, as they are computed with."""
        return sum(block_bytes(part) for part in unpacked(shape).blocks()) / 1e6

    def _at(self, kind: Signature, size: int) -> float:
        known = self._known.get((kind, size))
        if known is None:
            known = self._known[kind, size] = self._interpolated(kind, size)
        return known

    def _interpolated(self, kind: Signature, size: int) -> float:
        """Between the two nearest sizes that were measured, and so between ranks and between widths of the stream: the
        work of a product is linear in each."""
        if kind in self._curves or (not kind.rank and kind.width == self._width):
            return self._at_size(kind, size)
        alike = [
            one
            for one in self._curves
            if bool(one.rank) == bool(kind.rank) and replace(one, rank=kind.rank, width=kind.width) == kind
        ]
        here = {one.rank for one in alike if one.width == kind.width}
        if kind.rank and (here or not alike or kind.width == self._width):
            named, wanted, known = "ranks", kind.rank, here
            measured = {rank: replace(kind, rank=rank) for rank in here}
        else:
            named, wanted, known = "hidden sizes", kind.width, {one.width for one in alike}
            measured = {width: replace(kind, width=width) for width in known}
        around = _around(measured, wanted)
        if not around:
            ends = dict.fromkeys((min(known), max(known)) if known else ("nothing",))
            told = " to ".join(map(str, ends))
            raise ValueError(
                f"{self._named(kind, size)} was not measured (measured {named}: {told}); {self._again(kind)}"
            )
        return sum(share * self._at(measured[value], size) for value, share in around.items())

    def _at_size(self, kind: Signature, size: int) -> float:
        sizes, milliseconds = self._curves.get(kind, ([], []))
        if not sizes or not sizes[0] <= size <= sizes[-1]:
            measured = f"{sizes[0]} to {sizes[-1]}" if sizes else "nothing"
            raise ValueError(f"{self._named(kind, size)} was not measured (measured: {measured}); {self._again(kind)}")
        return _between(sizes, milliseconds, size)

    def _named(self, kind: Signature, size: int) -> str:
        narrow = "" if kind.width == self._width else f" in hidden size {kind.width}"
        if kind.kind == "embedding":
            return f"base of size {size} in {kind.storage.bits} bits{narrow}"
        precision = named_precision(kind.storage.bits, kind.storage.activations)
        shared = f" with {kind.queries_per_key} queries a key" if kind.queries_per_key > 1 else ""
        ranked = f" in rank {kind.rank}" if kind.rank else ""
        ranked += f" of the form {kind.form}" if kind.form != FULL_ATTENTION else ""
        return f"{'last_' if kind.few else ''}{kind.kind} of size {size} in {precision}{ranked}{narrow}{shared}"

    def _again(self, kind: Signature) -> str:
        if kind.kind == "gated" or kind.positions or kind.queries_per_key > 1:  # not of BERT's form
            return "a study with `device: host` measures such blocks on the machine that it runs on"
        options = " --static" if kind.storage.activations == "static" else ""
        options += " --low-rank" if kind.rank else ""
        options += f" --attention '{kind.form}'" if kind.form != FULL_ATTENTION else ""
        options += " --widths" if kind.width != self._width else ""
        return f"profile the device again with `autocompress profile{options}`"


def _between(sizes: Sequence[int], milliseconds: Sequence[float], size: int) -> float:
    """At a size within the measured ones."""
    right = bisect.bisect_left(sizes, size)
    if sizes[right] == size:
        return milliseconds[right]
    span = sizes[right] - sizes[right - 1]
    share = (size - sizes[right - 1]) / span
    return milliseconds[right - 1] + share * (milliseconds[right] - milliseconds[right - 1])


def _finding(table: KernelTable) -> tuple[list[int], list[float]]:
    """Heads, and the milliseconds that finding the most attended tokens adds to an attention of so many."""
    plain = dict(table.curve("attention", 32))
    found = {
        row.size: max(0.0, row.milliseconds - plain[row.size]) for row in table.rows if row.keeps and row.size in plain
    }
    return sorted(found), [found[size] for size in sorted(found)]


def _outside(width: int, bits: Bits) -> Signature:
    """Of all that lies outside of blocks, by how the first table is held."""
    return Signature("embedding", width, storage=Storage(4 if bits in FEW_BITS else bits))


class WeightedSum:
    """Predictions of several batches as one: a length between two measured ones takes its share of each (linear), and
    a workload of several lengths is their mean."""

    def __init__(self, parts: Sequence[tuple[Predictor, float]], *, more_spread: float = 0.0) -> None:
        """`more_spread` is what interpolating adds to the widest interval."""
        self._parts, self._more = tuple(parts), more_spread

    def __call__(self, shape: ModelParts) -> Estimate:
        found = [(part(shape), share) for part, share in self._parts]
        value = sum(one.value * share for one, share in found)
        return Estimate.around(value, max(one.spread for one, _ in found) + self._more)


class RooflinePredictor:
    """Latency from a cost model: each layer takes the longer of its arithmetic and of reading its weights."""

    def __init__(self, cost: CostModel, workload: Workload) -> None:
        self._cost, self._workload = cost, workload
        self._known: dict[tuple[int, tuple[Part, ...], bool, int], float] = {}

    def __call__(self, shape: ModelParts) -> Estimate:
        """Raises ValueError for another runtime than the default: a cost model tells none from another. Layers behind
        one that keeps some of its tokens have as many fewer products."""
        if shape.runtime != DEFAULT_RUNTIME:
            raise ValueError(
                f"runtime {shape.runtime!r} was not measured there: a cost model knows {DEFAULT_RUNTIME!r} alone"
            )
        fronts = tuple(part for part in shape.parts if part.layer is None and part.kind not in ("head", "common"))
        layers = [(stack, layer) for stack in shape.stacks for layer in shape.layers(stack)]
        total, left = self._cost.ms_base, self._workload.length
        for place, layer in enumerate(layers):
            last = place == len(layers) - 1
            total += self._layer(shape, fronts, *layer, last=last, length=left)
            kept = None if last else _kept_behind(shape.of_layer(*layer))
            left = left if kept is None else kept.of(left)
        return Estimate.around(total, self._cost.spread)

    def _layer(
        self, shape: ModelParts, fronts: tuple[Part, ...], stack: str, layer: int, *, last: bool, length: int
    ) -> float:
        """Of one that so many tokens come into."""
        found = enumerate(shape.of_layer(stack, layer))
        parts = tuple(replace(part, name=str(i), layer=0, owner=None) for i, part in found)
        key = (shape.width, parts, last, length)
        if key not in self._known:
            cost = self._cost
            alone = unpacked(replace(shape, parts=(*fronts, *parts), read=shape.read if last else None))
            arithmetic = self._products(alone, length)
            kept = None if last else _kept_behind(parts)
            if kept is not None:
                attends, feeds = _halves(alone)
                heads = sum(part.mixing.heads for part in parts if part.mixing is not None)
                looked = self._workload.batch * heads * length**2  # the map is summed over its queries
                arithmetic = self._products(attends, length) + looked / cost.rate(32)
                arithmetic += self._products(feeds, kept.of(length))
            traffic = weight_bytes(alone, tables=False) / (1e6 * cost.gbytes_per_second)
            self._known[key] = max(arithmetic, traffic) + cost.ms_per_layer
        return self._known[key]

    def _products(self, alone: ModelParts, length: int) -> float:
        """Milliseconds of its arithmetic."""
        if not alone.stacks:
            return 0.0
        by_bits = macs_by_arithmetic(alone, passes(alone, replace(self._workload, length=length)))
        return sum(count / self._cost.rate(bits) for bits, count in by_bits.items())


def _kept_behind(parts: Sequence[Part]) -> KeptTokens | None:
    """What goes on behind the attention of a layer; None where all do."""
    return next((part.mixing.keeps for part in parts if part.mixing is not None), None)


def _halves(layer: ModelParts) -> tuple[ModelParts, ModelParts]:
    """What lies before its feed-forward block, and that alone."""
    feeds = {part.name for part in layer.blocks() if part.mixing is None}
    return (
        replace(layer, parts=tuple(part for part in layer.parts if part.name not in feeds)),
        replace(layer, parts=tuple(part for part in layer.parts if part.name in feeds)),
    )
