"""The time of every part of an exported model beside the least that this machine's arithmetic and memory allow: where
the time goes, and where any is left to win."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from autocompress import config
from autocompress.core.cost import block_bytes, row_bytes, unpacked
from autocompress.core.device import Ceilings
from autocompress.core.parts import ModelParts, Part
from autocompress.core.storage import PRECISION, Arithmetic, Bits
from autocompress.core.workload import Workload
from autocompress.deploy.node_times import ExecutedNode, NodeTimes, WatchedModel
from autocompress.deploy.probes import idle_graph
from autocompress.deploy.session import Session
from autocompress.devices.ceilings import measure_ceilings
from autocompress.devices.host import is_like_this, is_this_machine
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.errors import AutocompressError
from autocompress.report.ceilings import part_macs, rate
from autocompress.report.parts_section import PartsSection, PartTime
from autocompress.report.plain_text import one_line

NORMALISATION: Final = "normalisation"
OTHER: Final = "other"
RUNTIME: Final = "runtime"

_ROUNDS, _SECONDS = 20, 6.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a part has to do in one inference: multiply-accumulates by the precision they run in, and bytes of weights
    to read, which are stored in `bits`.

    Activations do not count: between two parts they need not leave the caches, and a ceiling is the least there can be.
    """

    part: str
    bits: Bits | None = None
    macs: Mapping[Arithmetic, int] = field(default_factory=dict)
    weight_bytes: int = 0

    @property
    def precision(self) -> str:
        """`int8/fp32` for int8 attention, whose two products of activations are computed in fp32; empty for what has
        no weights."""
        used = {self.bits, *(bits for bits, count in self.macs.items() if count)}
        return "/".join(name for bits, name in PRECISION.items() if bits in used)


def works(shape: ModelParts, workload: Workload) -> tuple[Work, ...]:
    """A model's work in the order of the blocks of its graph (`deploy.graph.Place`), and last of all that of the
    normalisations, which stand between them and count together."""
    shape = unpacked(shape)
    last = {stack: shape.layers(stack)[-1:] for stack in shape.stacks}
    found = []
    for part in shape.parts:
        few = part.kind == "head" or (part.layer is not None and part.layer in last[part.stack])
        macs = part_macs(part, workload, read=shape.read if few else None) if part.matrices else {}
        bits = part.storages[0].bits if part.storages else 32
        found.append(Work(_named(part), bits, macs, block_bytes(part) + _looked_up(part, workload)))
    norms = 4 * sum(part.vectors for part in shape.parts)
    return (*found, Work(NORMALISATION, 32, {}, norms))


def _named(part: Part) -> str:
    if part.kind == "head":
        return "classifier"
    return part.name if part.layer is None else f"layer {part.layer} {part.kind.replace('_', '-')}"


def _looked_up(part: Part, workload: Workload) -> int:
    """Bytes of the rows that a batch reads of a part's tables: of the first one for every token, of positions once for
    all texts. What is the same for every token was added to these before."""
    if not part.tables:
        return 0
    first, *others = (row_bytes(table) for table in part.tables)
    return workload.batch * workload.length * first + workload.length * sum(others[:1])


_REST: Final = (Work(OTHER), Work(RUNTIME))
"""What belongs to no part of a model."""


def part_of(node: ExecutedNode, found: Sequence[Work]) -> str:
    """The part that a node belongs to, of some `works`."""
    if node.place is None or node.place.block >= len(found) - 1:
        return OTHER
    return NORMALISATION if node.place.is_norm else found[node.place.block].part


def why_not_here(facts: Mapping[str, Any]) -> str:
    """Why the time of parts cannot be told on this machine, from the facts of a study; empty where it is the device."""
    device = facts.get("device") or {}
    if device.get("source") == "measured" and is_like_this(device.get("fingerprint") or {}):
        return ""
    name = one_line(device.get("name", "unknown"), width=60)
    return (
        f"the study's device {name!r} is not this machine, so the time of the model's parts is not told: it can be "
        "measured on the device alone"
    )


def machine_ceilings(device: str) -> tuple[Ceilings, str]:
    """What a core of this machine does at most, and where that is from: the profile that a study names as its device,
    if it was made here and holds them; else they are measured now, which takes seconds."""
    if device != config.HOST:
        with suppress(AutocompressError):  # a profile that is gone, or that this version does not read
            profile = config.load_device(device)
            if profile.ceilings is not None and is_this_machine(profile):
                return profile.ceilings, f"measured {profile.measured_on} ({profile.name})"
    return measure_ceilings(), "measured now"


def measure_parts(
    model: Path,
    shape: ModelParts,
    workload: Workload,
    ceilings: Ceilings,
    *,
    known_from: str,
    switches: Mapping[str, str] | None = None,
) -> PartsSection:
    """Runs the exported `model`, which has that `shape`, with and without the profiler in turns, alone on the machine.

    `known_from` says how the ceilings were obtained. Raises IntegrityError when the file is no valid model.
    """
    with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
        watched = WatchedModel(model, threads=workload.threads, folder=Path(folder), switches=switches)
        sessions = Session(model, threads=workload.threads, switches=switches), watched.session
        idle, number = Session(idle_graph(len(watched.nodes))), {"x": np.ones(1, np.float32)}
        runs = [workload_run(session, workload, rows=shape.vocabulary) for session in sessions]
        with timing_lane():
            timed = time_side_by_side([*runs, lambda: idle.raw(number)], rounds=_ROUNDS, seconds=_SECONDS)
        times = watched.node_times().of(timed[1].calls)
    found = works(shape, workload)
    split = split_time(times, found, whole=timed[0].median, idle=timed[2].median)
    parts = tuple(part_time(work, split, ceilings, workload) for work in (*found, *_REST) if work.part in split.took)
    return PartsSection(workload, ceilings, known_from, parts, timed[0].median, split.profiler_ms, timed[0].noticed)


@dataclass(frozen=True, slots=True)
class Split:
    """What each part takes in the median inference, in milliseconds, and how many nodes it has. `profiler_ms` is what
    the profiler itself did at every node, which is left out."""

    took: Mapping[str, float]
    nodes: Mapping[str, int]
    profiler_ms: float


def split_time(times: NodeTimes, found: Sequence[Work], *, whole: float, idle: float) -> Split:
    """The milliseconds of a `whole` inference by part, where as many nodes that do nothing take `idle`: the runtime's.

    The profiler notes shapes and sizes within the time of each node. What all nodes take too much for the whole is its
    work, the same at each: in quickstart's models some 3 us, two fifths of what the many small nodes of a last layer
    seem to take. Graphs cut after each block and timed without a profiler say so too: attention of that layer takes
    0.12 ms by the cuts, 0.11 by this, 0.19 as the profiler tells it.
    """
    columns: dict[str, list[int]] = {}
    for place, node in enumerate(times.nodes):
        columns.setdefault(part_of(node, found), []).append(place)
    seen = {part: float(np.median(times.milliseconds[:, own].sum(axis=1))) for part, own in columns.items()}
    profiler = max(0.0, sum(seen.values()) + idle - whole) / len(times.nodes)
    nodes = {part: len(own) for part, own in columns.items()}
    took = {part: max(0.0, milliseconds - profiler * nodes[part]) for part, milliseconds in seen.items()}
    left = max(0.0, whole - sum(took.values()))
    return Split({**took, RUNTIME: left}, nodes, profiler)


def part_time(work: Work, split: Split, ceilings: Ceilings, workload: Workload) -> PartTime:
    """A part's time beside the least that its arithmetic and the reading of its weights take, a core for each
    thread."""
    return PartTime(
        part=work.part,
        precision=work.precision,
        macs=sum(work.macs.values()),
        weight_bytes=work.weight_bytes,
        milliseconds=split.took[work.part],
        arithmetic_ms=sum(count / rate(ceilings, bits, workload) for bits, count in work.macs.items()),
        memory_ms=work.weight_bytes / (1e6 * workload.threads * ceilings.gbytes_per_second),
        nodes=split.nodes.get(work.part, 0),
    )
