"""A kernel table by a model's own layers, cut and timed, for families of other blocks than an encoder like BERT has.

What a block adds is found by differences of whole small models: of several layers against one, so that what lies
outside of layers falls out, and of one size against another. Attention never comes without the block behind it in these
graphs, so what the smallest layer takes is given to both of them in equal parts: every model has both, and the sum is
measured.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from autocompress.anatomy import FAMILIES, LiveAnatomy
from autocompress.anatomy.factored import Factoring, Factors
from autocompress.anatomy.finding import LayerParts
from autocompress.anatomy.inputs import inputs_of
from autocompress.anatomy.moments import Moments
from autocompress.anatomy.weights import random_weights
from autocompress.core.device import Block, KernelRow, KernelTable
from autocompress.core.encoders import STACK, as_measured, largest_rank, with_vocabulary
from autocompress.core.lowering import PLAIN, Form
from autocompress.core.narrowing import why_whole
from autocompress.core.parts import ModelParts
from autocompress.core.prediction import LatencyPredictor
from autocompress.core.runtimes import RuntimeName
from autocompress.core.signature import signature
from autocompress.core.storage import Calibration, Storage, precisions
from autocompress.core.workload import Workload
from autocompress.deploy.forms import GraphMaker
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import (
    VOCABULARY,
    kernel_row,
    monotone,
    ranks_to_measure,
    width_step,
)
from autocompress.devices.timing import Run, Timed, time_side_by_side, timing_lane, workload_run
from autocompress.devices.validation import Seen, correct, reference_shape, widths_to_measure

_LAYERS: Final = 3
_SHARES: Final[Mapping[Form, tuple[float, ...]]] = {
    "written": (0.0, 0.25, 0.5, 0.75, 1.0),
    "traced": (0.0, 0.5, 1.0),
}
"""Of the largest block, that are measured: a trace takes seconds, so there are fewer sizes."""

_WHOLE: Final[Mapping[Form, int]] = {"written": 16, "traced": 5}
"""Whole models of random cuts that correct a table."""

_ROUNDS: Final = 10
_FP32: Final = Storage()

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A small model: so many layers, all of them of these sizes; what its blocks are held in, and in which ranks."""

    layers: int
    heads: int
    channels: int
    attention: Storage = _FP32
    feed_forward: Storage = _FP32
    attention_rank: int = 0
    feed_forward_rank: int = 0


def measure_layers(
    anatomy: LiveAnatomy,
    workload: Workload,
    *,
    form: Form,
    runtime: RuntimeName,
    seconds: float,
    static: bool = False,
    ranks: bool = False,
    widths: bool = False,
    progress: Progress = lambda _, __: None,
) -> tuple[KernelTable, bool]:
    """The table of this model's layers under a workload, in graphs of one form, corrected by whole models, and whether
    others were at work.

    `anatomy` is left as it is; `seconds` bounds what is timed, the traces apart (ten, and five of whole models, of 2 to
    5 s each whatever the model's size; written graphs need none).
    """
    bench = _Bench.of(anatomy, workload, runtime, form)
    measured = functools.partial(_measured, static=static, seconds=seconds, progress=progress)
    rows, noticed = measured(bench, ranks=ranks)
    for narrow in bench.narrower() if widths else ():
        more, seen = measured(narrow, ranks=ranks and form == "written")  # each would take a trace
        rows, noticed = [*rows, *(replace(row, width=narrow.shape.width) for row in more)], noticed or seen
    table = KernelTable(bench.shape.width, bench.shape.head_size, workload, tuple(rows), runtime=runtime)
    table = _behind_the_front(table, bench.shape)
    progress(f"whole models, {workload}", 0.7)
    whole = _whole_models(bench, static=static, ranks=ranks, widths=widths, seconds=seconds / 2, progress=progress)
    return correct(table, whole), noticed or whole.noticed


def _measured(
    bench: _Bench, *, ranks: bool, static: bool, seconds: float, progress: Progress
) -> tuple[list[KernelRow], bool]:
    """The rows of one width of the stream, and whether others were at work."""
    sizes = bench.sizes()
    cuts = [_Cut(layers, *size) for layers in bench.depths for size in sizes]
    cuts += [replace(cut, layers=layers) for layers in bench.depths for cut in bench.ranked() if ranks]
    wanted = list(_variants(cuts, sizes[0], precisions(static=static)))
    makers, runs = {cut: (bench.cut(cut), GraphMaker(bench.form)) for cut in cuts}, []
    for place, cut in enumerate(wanted):
        progress(f"layers, {bench.workload}", 0.6 * place / len(wanted))
        runs.append(bench.run(*makers[replace(cut, attention=_FP32, feed_forward=_FP32)], cut))
    tables = [bench.run(*makers[cuts[0]], cuts[0], words_in=storage) for storage in bench.tables]
    with timing_lane():
        timed = time_side_by_side([*runs, *tables], rounds=_ROUNDS, seconds=seconds)
    readings = {cut: np.asarray(one.turns) for cut, one in zip(wanted, timed, strict=False)}
    return [*_base_rows(readings, bench, timed[len(runs) :]), *_rows(readings, bench)], timed[0].noticed


@dataclass(frozen=True, slots=True)
class _Bench:
    """A model of the family that is cut and timed."""

    anatomy: LiveAnatomy
    shape: ModelParts
    workload: Workload
    runtime: RuntimeName
    form: Form

    @staticmethod
    def of(anatomy: LiveAnatomy, workload: Workload, runtime: RuntimeName, form: Form) -> _Bench:
        """Of a copy, which knows few tokens."""
        small = cast(LiveAnatomy, anatomy.copy())
        for slot in small.live.token_tables().values():
            table = cast(nn.Embedding, slot.module)
            count, padding = min(VOCABULARY, table.num_embeddings), table.padding_idx
            kept = nn.Embedding(count, table.embedding_dim, padding if padding is None or padding < count else None)
            kept.weight = nn.Parameter(table.weight.detach()[:count])
            slot.put(kept)
        found = LiveAnatomy(small.model, FAMILIES, texts=[inputs_of(small.model).example()])
        return _Bench(found, found.shape(), workload, runtime, form)

    @property
    def depths(self) -> tuple[int, int]:
        """One layer, and more, as far as there are."""
        return 1, max(2, min(_LAYERS, len(self.anatomy.layers)))

    @property
    def tables(self) -> tuple[Storage, ...]:
        """What a table of tokens may be rounded to; images have none."""
        return (Storage(8), Storage(4)) if self.anatomy.live.token_tables() else ()

    def sizes(self) -> list[tuple[int, int]]:
        """Heads and channels: the smallest layer first, then larger ones by one of them."""
        layer = self.anatomy.layers[0]
        heads = _sizes(layer.of_attention.heads, self._shared, _SHARES[self.form])
        channels = _sizes(layer.of_feed_forward.width, width_step(layer.of_feed_forward.width), _SHARES[self.form])
        few, narrow = heads[0], channels[0]
        return [(few, narrow), *((count, narrow) for count in heads[1:]), *((few, count) for count in channels[1:])]

    def ranked(self) -> Iterator[_Cut]:
        """Of one layer, either block in the smallest and the largest size and in several ranks, the other small."""
        layer, (few, narrow) = self.anatomy.layers[0], self.sizes()[0]
        attention, width = layer.of_attention, layer.of_feed_forward.width
        for rank in self._ranks(attention.output.linear.in_features):
            yield from (_Cut(1, heads, narrow, attention_rank=rank) for heads in (few, attention.heads))
        for rank in self._ranks(width):
            yield from (_Cut(1, few, channels, feed_forward_rank=rank) for channels in (narrow, width))

    def _ranks(self, inner: int) -> list[int]:
        """The ends alone where each takes a trace."""
        found = ranks_to_measure(self.shape.width, inner)
        return found if self.form == "written" else [found[0], found[-1]]

    def narrower(self) -> Iterator[_Bench]:
        """On narrower streams; the least alone where each size takes a trace."""
        if why_whole(self.shape):
            return
        found = widths_to_measure(self.shape.width)
        for width in found if self.form == "written" else found[:1]:
            narrow = cast(LiveAnatomy, self.anatomy.copy())
            narrow.keep_hidden(range(width))
            yield replace(self, anatomy=narrow, shape=narrow.shape())

    @property
    def _shared(self) -> int:
        """Heads that share a key, and stay together."""
        mixing = next(part.mixing for part in self.shape.blocks() if part.mixing is not None)
        return mixing.heads // mixing.key_value_heads

    def cut(self, cut: _Cut) -> LiveAnatomy:
        """A copy of its first layers, cut; of a model of one layer that is all of it, whatever the depth asked for."""
        found = cast(LiveAnatomy, self.anatomy.copy())
        found.keep_layers([layer.index for layer in found.layers[: cut.layers]])
        for layer in _own(found):
            found.keep_heads(layer.index, range(cut.heads))
            found.keep_channels(layer.index, range(cut.channels))
        for layer in _own(found):
            if cut.attention_rank:
                found.factor(layer.attention, _some_factors(cut.attention_rank))
            if cut.feed_forward_rank:
                found.factor(layer.feed_forward, _some_factors(cut.feed_forward_rank))
        return found

    def run(self, anatomy: LiveAnatomy, maker: GraphMaker, cut: _Cut, *, words_in: Storage = _FP32) -> Run:
        """One inference of a model that was cut so, its blocks held as the cut says."""
        held = cast(LiveAnatomy, anatomy.copy())
        if words_in.bits != 32:
            held.quantize_embeddings(bits=words_in.bits)
        layers = _own(held)
        _hold(held, [slot for layer in layers for slot in layer.attention], cut.attention)
        _hold(held, [slot for layer in layers for slot in layer.feed_forward], cut.feed_forward)
        return self.timed(held, maker)

    def timed(self, anatomy: LiveAnatomy, maker: GraphMaker) -> Run:
        file = maker.graph(anatomy).SerializeToString()
        session = Session(file, threads=self.workload.threads, runtime=self.runtime)
        return workload_run(session, self.workload, rows=min(VOCABULARY, self.shape.vocabulary))


def _own(anatomy: LiveAnatomy) -> list[LayerParts]:
    """The layers that have weights of their own: of those that share some, the first."""
    return list({layer.module: layer for layer in reversed(anatomy.layers)}.values())[::-1]


def _some_factors(rank: int) -> Factoring:
    """Of that rank: what they hold takes no time."""

    def method(weight: Tensor, bias: Tensor | None, _: Moments | None) -> Factors:
        outputs, inputs = weight.shape
        return Factors(weight[:1].expand(rank, inputs), weight[:, :1].expand(outputs, rank), bias)

    return method


def _hold(anatomy: LiveAnatomy, slots: Sequence[Any], storage: Storage) -> None:
    if storage.bits == 32:
        return
    calibration: Calibration | None = "min-max" if storage.activations == "static" else None
    anatomy.quantize(slots, bits=storage.bits, calibration=calibration)


def _sizes(most: int, step: int, shares: Sequence[float]) -> list[int]:
    return sorted({max(step, step * round(share * most / step)) for share in shares})


def _variants(cuts: Sequence[_Cut], smallest: tuple[int, int], held: Sequence[Storage]) -> Iterator[_Cut]:
    """The cuts in fp32, and with the block that is larger in one of them, or either of the smallest, held otherwise."""
    for cut in cuts:
        yield cut
        heads, channels = (cut.heads, cut.channels)
        for storage in held:
            if storage == _FP32:
                continue
            if channels == smallest[1] and not cut.feed_forward_rank:
                yield replace(cut, attention=storage)
            if heads == smallest[0] and not cut.attention_rank:
                yield replace(cut, feed_forward=storage)


def _base_rows(readings: Mapping[_Cut, Array], bench: _Bench, tables: Sequence[Timed]) -> Iterator[KernelRow]:
    """What lies outside of the layers, by the bits of the token table."""
    plain = _outside(readings, bench)
    first = readings[_Cut(1, *bench.sizes()[0])]
    yield kernel_row("base", _FP32, 0, plain)
    for storage, one in zip(bench.tables, tables, strict=True):
        yield kernel_row("base", storage, 0, plain + np.asarray(one.turns) - first)


def _behind_the_front(table: KernelTable, shape: ModelParts) -> KernelTable:
    """The table without what is priced by itself of what stands before the layers (`LatencyPredictor.front`): the
    models that were timed had it."""
    front = LatencyPredictor(table).front(shape)

    def left(row: KernelRow) -> KernelRow:
        if row.block != "base":
            return row
        low, middle, high = (round(max(0.0, one - front), 5) for one in (row.low, row.milliseconds, row.high))
        return replace(row, low=low, milliseconds=middle, high=high)

    return replace(table, rows=tuple(map(left, table.rows)))


def _inner(readings: Mapping[_Cut, Array], bench: _Bench, cut: _Cut) -> Array:
    """Of one layer that is not the last."""
    shallow, deep = bench.depths
    found: Array = (readings[replace(cut, layers=deep)] - readings[replace(cut, layers=shallow)]) / (deep - shallow)
    return found


def _outside(readings: Mapping[_Cut, Array], bench: _Bench) -> Array:
    """Of a model of one smallest layer, what a layer does not take."""
    least = _Cut(1, *bench.sizes()[0])
    found: Array = np.maximum(readings[least] - _inner(readings, bench, least), 0.0)
    return found


def _rows(readings: Mapping[_Cut, Array], bench: _Bench) -> list[KernelRow]:
    smallest = bench.sizes()[0]
    least = _Cut(1, *smallest)
    base = _outside(readings, bench)
    inner = _inner(readings, bench, least) / 2
    last = (readings[least] - base) / 2
    blocks = bench.shape.of_layer(STACK, bench.shape.layers(STACK)[0])
    attention, behind = (next(part for part in blocks if (part.mixing is not None) is has) for has in (True, False))
    rows: list[KernelRow] = []
    for cut in readings:
        if cut.layers != 1:
            continue
        found = []
        if cut.channels == smallest[1] and (cut.feed_forward, cut.feed_forward_rank) == (_FP32, 0):
            found.append((attention, cut.heads, cut.attention, cut.attention_rank))
        if cut.heads == smallest[0] and (cut.attention, cut.attention_rank) == (_FP32, 0):
            found.append((behind, cut.channels, cut.feed_forward, cut.feed_forward_rank))
        for part, size, storage, rank in found:
            known, _ = signature(part)
            more = {"queries_per_key": known.queries_per_key or 1, "positions": known.positions, "rank": rank}
            within, at_the_end = _inner(readings, bench, cut) - inner, readings[cut] - base - last
            for name, value in ((part.kind, within), (f"last_{part.kind}", at_the_end)):
                rows.append(kernel_row(cast(Block, name), storage, size, value, **more))
    return monotone(rows)


def _whole_models(
    bench: _Bench, *, static: bool, ranks: bool, widths: bool, seconds: float, progress: Progress
) -> Seen:
    """Models of random cuts, beside the reference of every profile."""
    draw, held, count = random.Random(1), precisions(static=static), _WHOLE[bench.form]
    shapes, runs = [], []
    for place in range(count):
        progress(f"whole models, {bench.workload}", 0.7 + 0.25 * place / count)
        student = _drawn(bench, draw, held, ranks=ranks, widths=widths and not why_whole(bench.shape))
        shapes.append(student.shape())
        runs.append(bench.timed(student, GraphMaker(bench.form)))
    reference = reference_shape(with_vocabulary(as_measured(bench.shape), VOCABULARY))
    weights = random_weights(reference, positions=max(8, bench.workload.length), seed=0)
    session = Session(write_graph(weights, lowering=PLAIN).SerializeToString(), threads=bench.workload.threads)
    runs.insert(0, workload_run(session, bench.workload, rows=reference.vocabulary))
    with timing_lane():
        first, *others = time_side_by_side(runs, rounds=_ROUNDS, seconds=seconds)
    return Seen(bench.workload, tuple(shapes), tuple(others), (first,) * len(others))


def _drawn(bench: _Bench, draw: random.Random, held: Sequence[Storage], *, ranks: bool, widths: bool) -> LiveAnatomy:
    found = cast(LiveAnatomy, bench.anatomy.copy())
    few, shared = len(found.layers), bench._shared
    found.keep_layers([layer.index for layer in found.layers[: draw.randint(1, few)]])
    for layer in _own(found):
        found.keep_heads(layer.index, range(shared * draw.randint(1, layer.of_attention.heads // shared)))
        channels = layer.of_feed_forward.width
        step = width_step(channels)
        found.keep_channels(layer.index, range(step * draw.randint(1, channels // step)))
    if widths and draw.random() < 0.5:
        found.keep_hidden(range(draw.choice(widths_to_measure(bench.shape.width))))
    width = found.shape().width
    if width < bench.shape.width:
        ranks = ranks and bench.form == "written"
        width = widths_to_measure(bench.shape.width)[0]  # in a rank that every measured width has
    for layer in _own(found) if ranks else ():
        for slots in (layer.attention, layer.feed_forward):
            rank = draw.randint(1, largest_rank(width, slots[-1].linear.in_features))
            if draw.random() < 0.5:
                found.factor(slots, _some_factors(rank))
    if bench.tables and draw.random() < 0.5:
        found.quantize_embeddings(bits=8)
    for layer in _own(found):
        _hold(found, layer.attention, draw.choice(held))
        _hold(found, layer.feed_forward, draw.choice(held))
    return found
