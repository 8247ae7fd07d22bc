"""A kernel table by measurement: what every building block adds to an inference, as the runtime really executes it.

A block is timed inside a whole graph, never alone: a stack of equal blocks is compared with the same graph without
them, so that fusions, memory layout and the runtime's own overhead are those of deployment.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from autocompress.anatomy.weights import random_weights
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.cores import usable_cores
from autocompress.core.device import Block, DeviceProfile, KernelRow, KernelTable, Runtime
from autocompress.core.encoders import (
    Layer,
    as_measured,
    attention,
    encoder,
    encoder_layer,
    feed_forward,
    in_form,
    in_rank,
    keeping,
    largest_rank,
    with_layers,
    with_vocabulary,
)
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.lowering import PLAIN, Lowering, Tried
from autocompress.core.narrowing import narrowed
from autocompress.core.parts import ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName
from autocompress.core.storage import BITS, Activations, Bits, RowBits, Storage, precisions
from autocompress.core.wording import units
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session, runtime
from autocompress.devices.ceilings import measure_ceilings
from autocompress.devices.energy_constants import default_energy
from autocompress.devices.host import fingerprint
from autocompress.devices.lowering import choose_lowering
from autocompress.devices.timing import Timed, time_side_by_side, timing_lane, workload_run
from autocompress.devices.validation import (
    SLOW,
    Seen,
    correct,
    judge,
    measure_models,
    random_shapes,
    widths_to_measure,
)

logger = logging.getLogger(__name__)

RECIPE: Final = 8
"""Raised whenever profiling changes what it measures: cached profiles of another recipe are measured again."""

_COPIES: Final = 4
_WIDTH_STEP: Final = 16
VOCABULARY: Final = 1000
"""A lookup costs the same in a small table as in a large one, and small ones are quick to make."""

_FEW_SHARES: Final = (0.0, 0.25, 0.5, 1.0)
"""Of the largest block on streams that are narrower: what is measured, as work is linear in it."""

_SHORTER: Final = 4
"""So many lengths are measured at most below the shortest of a workload."""

_FAR: Final = 2.5
"""Lengths further apart than this have a third one measured between them."""

_GROUP: Final = 8
_MANY_TOKENS: Final = 512
"""A runtime keeps the memory of its activations, so that only so many graphs are held at a time where a batch has more
tokens than this: 40 of them took gigabytes."""
_STORED: Final[tuple[RowBits, ...]] = (32, 8, 4)
"""Precisions of an embedding table."""

_SHARE: Final = 0.9
_PACE: Final = "pace"
_FIT_SEED, _CHECK_SEED = 1, 2
"""Models that correct a profile and models that judge it are never the same."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to measure: shares of the largest block that are measured, rounds and seconds of a kernel table at
    most, the width of the interval (a share of the median) at which readings suffice, and how many whole models correct
    the table."""

    shares: tuple[float, ...]
    rounds: int
    seconds: float
    tight: float | None
    models: int


STUDY: Final = Effort((0.0, 0.25, 0.5, 0.75, 1.0), 10, 10.0, None, 24)
"""What a study takes when nobody profiled its machine: some ten seconds."""

QUICK: Final = Effort((0.0, 0.25, 0.5, 0.75, 1.0), 20, 15.0, 0.01, 32)
FULL: Final = Effort((0.0, 0.08, 0.17, 0.25, 0.33, 0.5, 0.67, 0.83, 1.0), 40, 20.0, 0.005, 80)

Progress = Callable[[str, float], None]
"""What is being measured, and the share of the whole that is done."""


def bert_shape(*, hidden: int, heads: int, head_size: int, width: int, layers: int) -> ModelParts:
    """The largest model that a profile is to predict: a BERT-like encoder, every layer alike."""
    found = (encoder_layer(index, hidden, heads=heads, head_size=head_size, channels=width) for index in range(layers))
    return encoder(hidden, found, words=VOCABULARY, others=514, head=(hidden, 2))


def profile_host(
    largest: ModelParts,
    workloads: Sequence[Workload],
    *,
    effort: Effort = STUDY,
    ceilings: bool = False,
    runtimes: Sequence[RuntimeName] = (DEFAULT_RUNTIME,),
    static: bool = False,
    ranks: bool = False,
    widths: bool = False,
    forms: Sequence[AttentionForm] = (),
    keeps: bool = False,
    known: Iterable[KernelTable] = (),
    on_table: Callable[[DeviceProfile], None] = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> DeviceProfile:
    """Measures this machine for models up to `largest` under some workloads, in one runtime after the other; blocks
    with `static` activations too, if asked for, which takes half as long again, and blocks of two factors, for `ranks`,
    or on narrower streams, for `widths`, which take twice as long each, and four times as long together; attention in
    other `forms` takes a fifth as long again for each of them, and a tenth what finding the tokens that are kept takes,
    for `keeps`.

    Tables that are `known` already are kept as they are; after each new one `on_table` gets the profile so far, so that
    whoever is interrupted loses one table at most. Raises HostError when a runtime is not installed.
    """
    largest = as_measured(largest)
    about = [runtime(name) for name in runtimes]
    kept = {(table.runtime, table.workload): table for table in known}
    places = [(name, load) for name in runtimes for load in workloads]
    notes: list[str] = []

    def profile() -> DeviceProfile:
        tables = [kept[place] for place in places if place in kept]
        return profile_of(tables, about, notes)

    missing = [place for place in places if place not in kept]

    def measure(name: RuntimeName, load: Workload, done: float) -> None:
        progress(f"kernels, {load}, {name}", done)
        small = with_vocabulary(largest, VOCABULARY)
        lowering: Lowering = PLAIN
        tried: tuple[Tried, ...] = ()
        if name == DEFAULT_RUNTIME:
            lowering, tried = choose_lowering(small, load, rounds=effort.rounds, seconds=effort.seconds / 4)
        way = _Way(load, effort, name, lowering, static, ranks, widths, tuple(forms), keeps)
        table, noticed = _table(largest, way)
        table = replace(table, tried=tried)
        progress(f"whole models, {load}, {name}", min(_SHARE, done + 0.5 * _SHARE / len(missing)))
        seen = _fitted_on(small, way)
        kept[name, load] = correct(table, seen)
        if noticed or seen.noticed:
            notes.append(busy_note(table))
            logger.warning("%s", notes[-1])
        on_table(profile())

    for place, (name, load) in enumerate(missing):
        measure(name, load, _SHARE * place / len(missing))
    for name, load in missing:  # a slow minute is over by now: what was measured in it is measured again
        progress(f"looking back, {load}, {name}", _SHARE)
        if _pace(largest, _Way(load, effort, name, kept[name, load].lowering)) * SLOW < _reference_ms(kept[name, load]):
            logger.info("%s, %s was measured in a slow minute, once more", load, name)
            measure(name, load, _SHARE)
    if not ceilings:
        return profile()
    progress("ceilings", 0.98)
    return replace(profile(), ceilings=measure_ceilings())


def profile_of(tables: Sequence[KernelTable], runtimes: Sequence[Runtime], notes: Sequence[str]) -> DeviceProfile:
    """This machine, as these tables found it, in these runtimes."""
    return DeviceProfile(
        name="host",
        version=1,
        source="measured",
        description="this machine, measured by autocompress",
        fingerprint=fingerprint(),
        runtime=runtimes[0],
        measured_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
        tables=tuple(tables),
        energy=default_energy(fingerprint()["machine"], usable_cores()),
        notes=tuple(notes),
        other_runtimes=tuple(runtimes[1:]),
    )


def loads_to_measure(workload: Workload, *, fewest: Callable[[int], int] = lambda length: length) -> list[Workload]:
    """The lengths to measure so that a workload can be predicted: its own, or the shortest and the longest of its
    batches, and one in between where these are far apart, for attention grows with the square of the length. Where
    tokens are kept, and of so many the `fewest` that may be left are fewer, lengths down to these, at even shares of
    each other: halves, where few of them do."""
    lengths = sorted({one.length for one in workload.batches})
    shortest, longest = lengths[0], lengths[-1]
    wanted = {shortest, longest}
    if longest > _FAR * shortest:
        wanted.add(min(lengths, key=lambda length: abs(length - (shortest * longest) ** 0.5)))
    least = fewest(shortest)
    if least < shortest:
        steps = min(_SHORTER, math.ceil(math.log2(shortest / least)))
        halves = steps < _SHORTER or least * 2**steps >= shortest
        share = 2.0 if halves else (shortest / least) ** (1 / steps)
        wanted |= {least, *(max(least, math.ceil(shortest / share**step)) for step in range(1, steps))}
    return [Workload(workload.batch, length, workload.threads) for length in sorted(wanted)]


def _fitted_on(small: ModelParts, way: _Way) -> Seen:
    """The whole models that a table is corrected by, of a small vocabulary."""
    return measure_models(
        random_shapes(
            small,
            count=way.effort.models,
            seed=_FIT_SEED,
            static=way.static,
            ranks=way.ranks,
            widths=way.widths,
            forms=way.forms,
        ),
        way.workload,
        runtime=way.runtime,
        lowering=way.lowering,
        rounds=way.effort.rounds,
        seconds=way.effort.seconds / 3,
        tight=way.effort.tight,
    )


def _pace(largest: ModelParts, way: _Way) -> float:
    """Milliseconds of the reference model, now."""
    small = with_vocabulary(largest, VOCABULARY)
    return measure_models(
        [small], way.workload, runtime=way.runtime, lowering=way.lowering, rounds=10, seconds=2.0
    ).reference_ms


def _reference_ms(table: KernelTable) -> float:
    return table.correction.reference_ms if table.correction else 0.0


def busy_note(table: KernelTable) -> str:
    """What a profile says of numbers that were taken on a busy machine."""
    return f"{table}: others used the machine while it was measured; profile it again when it is quiet"


def validate(
    profile: DeviceProfile,
    largest: ModelParts,
    *,
    models: int,
    seed: int = _CHECK_SEED,
    progress: Progress = lambda _, __: None,
) -> DeviceProfile:
    """The profile with the error of its predictions, found on fresh random models deployed here.

    Raises ValueError when the profile holds no table for models like `largest`.
    """
    width, head_size = largest.width, largest.head_size
    fitting = [table for table in profile.tables if (table.hidden, table.head_size) == (width, head_size)]
    if not fitting:
        raise ValueError(f"device {profile.name!r} holds no kernel table for hidden {width}, heads of {head_size}")
    judged = {}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    notes = [note for note in profile.notes if not note.startswith(_PACE)]
    for place, table in enumerate(fitting):
        then = _reference_ms(table)
        shapes = random_shapes(
            largest,
            count=models,
            seed=seed,
            static=table.is_static,
            ranks=table.has_ranks,
            widths=table.has_widths,
            forms=table.forms,
        )
        progress(str(table), place / len(fitting))
        seen = measure_models(
            shapes, table.workload, runtime=table.runtime, lowering=table.lowering, reference_ms=then or None
        )
        how = f"{models} fresh random models, deployed and measured on {today}"
        judged[str(table)] = replace(table, accuracy=judge(table, seen, how=how))
        if seen.noticed:
            notes.append(busy_note(table))
        if then and not 1 / SLOW < seen.reference_ms / then < SLOW:
            notes.append(
                f"{_PACE} of the machine on {today}, {table}: {seen.reference_ms / then:.2f} times what it "
                "took when profiled; profile it again if that lasts"
            )
    tables = tuple(judged[str(table)] if table in fitting else table for table in profile.tables)
    return replace(profile, tables=tables, notes=tuple(dict.fromkeys(notes)))


def largest_shape(table: KernelTable, *, layers: int = 6) -> ModelParts:
    """The largest model that a table can predict."""
    heads = max(size for bits in BITS for size, _ in table.curve("attention", bits))
    width = max(size for bits in BITS for size, _ in table.curve("feed_forward", bits))
    return bert_shape(hidden=table.hidden, heads=heads, head_size=table.head_size, width=width, layers=layers)


@dataclass(frozen=True, slots=True)
class _Way:
    """How models are measured: under which workload, how thoroughly, in which runtime, written and run how; blocks
    with `static` activations too, or not; and in `ranks`, in `widths` of the stream, in `forms` of attention, and
    finding the tokens that it `keeps`."""

    workload: Workload
    effort: Effort
    runtime: RuntimeName
    lowering: Lowering
    static: bool = False
    ranks: bool = False
    widths: bool = False
    forms: tuple[AttentionForm, ...] = ()
    keeps: bool = False


def _table(largest: ModelParts, way: _Way) -> tuple[KernelTable, bool]:
    """The kernel table of one workload in one runtime, without a correction, and whether others were at work."""
    found, noticed = _measured(largest, way, way.effort.shares)
    for width in widths_to_measure(largest.width) if way.widths else ():
        more, seen = _measured(narrowed(largest, width), replace(way, forms=(), keeps=False), _FEW_SHARES)
        found, noticed = [*found, *(replace(row, width=width) for row in more)], noticed or seen
    table = KernelTable(
        largest.width, largest.head_size, way.workload, tuple(found), lowering=way.lowering, runtime=way.runtime
    )
    return table, noticed


def _measured(largest: ModelParts, way: _Way, shares: Sequence[float]) -> tuple[list[KernelRow], bool]:
    """The rows of one width of the stream; blocks at these shares of the largest."""
    workload, effort = way.workload, way.effort
    bare, *stacks = _stacks(largest, shares, way)
    seconds = effort.seconds * len(stacks) / sum(stack.is_usual for stack in stacks)
    seconds *= len(shares) / len(effort.shares)
    size = _GROUP if workload.batch * workload.length > _MANY_TOKENS else len(stacks)
    groups = [stacks[start : start + size] for start in range(0, len(stacks), size)]
    rows: list[KernelRow] = []
    noticed = 0
    for group in groups:
        timed = _time_stacks([bare, *group], way, seconds=seconds / len(groups))
        some = group if rows else [bare, *group]
        rows += [_row(stack, found, timed[0]) for stack, found in zip(some, timed[-len(some) :], strict=True)]
        noticed += timed[0].noticed
    return monotone(rows), noticed > len(groups) / 2


def _time_stacks(stacks: Sequence[_Stack], way: _Way, *, seconds: float) -> list[Timed]:
    runs = []
    for stack in stacks:
        weights = random_weights(stack.shape, positions=max(way.workload.length, 8), seed=0)
        graph = write_graph(weights, every_token=not stack.block.startswith("last_"), lowering=way.lowering)
        session = Session(
            graph.SerializeToString(),
            threads=way.workload.threads,
            runtime=way.runtime,
            switches=way.lowering.session,
        )
        runs.append(workload_run(session, way.workload, rows=VOCABULARY))
    with timing_lane():
        return time_side_by_side(runs, rounds=way.effort.rounds, seconds=seconds, tight=way.effort.tight)


@dataclass(frozen=True, slots=True)
class _Stack:
    """A block of one size, held in one way, `copies` times in a row in a graph that holds nothing else."""

    block: Block
    storage: Storage
    size: int
    copies: int
    shape: ModelParts
    rank: int = 0
    form: AttentionForm = FULL_ATTENTION
    keeps: bool = False

    @property
    def is_usual(self) -> bool:
        return not self.rank and self.form == FULL_ATTENTION and not self.keeps


def _stacks(largest: ModelParts, shares: Sequence[float], way: _Way) -> list[_Stack]:
    """Every block at every size and precision; first the bare graph, the reference of all. There is one last layer in
    a model, so its blocks come once. In ranks they come in the smallest and the largest size, as the work of two
    factors is linear in it, and so do attention in other forms, and in fp32 one that finds the tokens it keeps, with a
    middle one: all of them are kept, which takes longest."""
    width, head_size = largest.width, largest.head_size
    bare = with_layers(with_vocabulary(largest, VOCABULARY), ())
    found = [
        _Stack("base", storage, 0, 1, with_layers(bare, (), words_in=storage)) for storage in map(Storage, _STORED)
    ]
    heads, channels = max(units(largest, "heads")), max(units(largest, "channels"))

    def stack(
        block: Block, copies: int, size: int, storage: Storage, rank: int = 0, form: AttentionForm = FULL_ATTENTION
    ) -> _Stack:
        def layer(index: int) -> Layer:
            if block.endswith("attention"):
                return (in_form(in_rank(attention(index, width, size, head_size, storage), rank or None), form),)
            return (in_rank(feed_forward(index, width, size, storage), rank or None),)

        return _Stack(block, storage, size, copies, with_layers(bare, map(layer, range(copies))), rank, form)

    def keeper(size: int) -> _Stack:
        every, storage = KeptTokens(count=way.workload.length), Storage(32)
        layers = [(keeping(attention(index, width, size, head_size, storage), every),) for index in range(_COPIES)]
        return _Stack("attention", storage, size, _COPIES, with_layers(bare, layers), keeps=True)

    blocks: tuple[tuple[Block, int, int], ...] = (
        ("attention", heads, _COPIES),
        ("feed_forward", channels, _COPIES),
        ("last_attention", heads, 1),
        ("last_feed_forward", channels, 1),
    )
    for block, most, copies in blocks:
        mixes = block.endswith("attention")
        several = ranks_to_measure(width, most * (head_size if mixes else 1)) if way.ranks else []
        forms = [form for form in way.forms if mixes and (copies > 1 or form.at_the_end != FULL_ATTENTION)]
        for storage in precisions(static=way.static):
            found += [stack(block, copies, size, storage) for size in _sizes(most, shares)]
            ends = itertools.product(_sizes(most, (0.0, 1.0)), several)
            found += [stack(block, copies, size, storage, rank) for size, rank in ends]
            several_sizes = itertools.product(_sizes(most, (0.0, 0.5, 1.0)), forms)
            found += [stack(block, copies, size, storage, form=form) for size, form in several_sizes]
    return [*found, *map(keeper, _sizes(heads, (0.0, 0.5, 1.0)) if way.keeps else ())]


def ranks_to_measure(width: int, inner: int) -> list[int]:
    """The least, a middle one that kernels are made for, and the largest that saves anything."""
    most = largest_rank(width, inner)
    middle = most // 2
    return sorted({1, max(1, middle - middle % _WIDTH_STEP if middle > _WIDTH_STEP else middle), most})


def _sizes(most: int, shares: Sequence[float]) -> list[int]:
    """Shares of the largest size; widths in steps that kernels are made for."""
    step = width_step(most)
    return sorted({max(1, step * round(share * most / step)) for share in shares})


def width_step(most: int) -> int:
    """In which channels are counted, where there are so many at most."""
    return _WIDTH_STEP if most % _WIDTH_STEP == 0 else 1


def _row(stack: _Stack, found: Timed, base: Timed) -> KernelRow:
    readings = np.asarray(found.turns)
    if stack.block != "base":
        readings = (readings - np.asarray(base.turns)) / stack.copies  # same round, same machine state
    more = {"rank": stack.rank, "form": str(stack.form), "keeps": stack.keeps}
    return kernel_row(stack.block, stack.storage, stack.size, readings, **more)


def kernel_row(block: Block, storage: Storage, size: int, readings: NDArray[np.float64], **more: Any) -> KernelRow:
    """The quartiles of readings in milliseconds; `more` is what else tells a block apart, as `KernelRow` names it."""
    low, middle, high = (round(max(0.0, float(np.quantile(readings, share))), 5) for share in (0.25, 0.5, 0.75))
    bits = cast(RowBits, storage.bits)
    return KernelRow(block, bits, size, middle, low, high, storage.activations, **more)


def monotone(rows: Iterable[KernelRow]) -> list[KernelRow]:
    """A larger block never costs less: what says otherwise is noise, and would draw a search to it."""
    highest: dict[tuple[object, ...], float] = {}
    smoothed = []
    for row in sorted(rows, key=lambda row: (*_kind(row), row.size)):
        key = _kind(row)
        highest[key] = max(highest.get(key, 0.0), row.milliseconds)
        smoothed.append(replace(row, milliseconds=highest[key], high=max(row.high, highest[key])))
    return smoothed


def _kind(row: KernelRow) -> tuple[Block, Bits, Activations, int, str, bool]:
    return row.block, row.bits, row.activations, row.rank, row.form, row.keeps
