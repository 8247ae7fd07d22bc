"""Which choices of form and which switches pay on this machine, by measurement.

Models of two sizes and of one precision are written in every way, and timed in turns; what counts is the ratio to the
plain way. Choices that were tried by hand on MiniLM sizes
(1 thread, length 32 and 128, ONNX Runtime 1.31) and won nowhere by 2 % are not offered:

    com.microsoft.QAttention        int8 4 % slower to 4 % faster, and less exact: a product a head
    com.microsoft.Attention         fp32 within 2 %
    com.microsoft.MultiHeadAttention  with a mask 0 to 4 % slower; without one it beats nothing else here
    com.microsoft.SkipLayerNormalization  30 to 40 % slower (its own fusion does not meet our graph)
    FastGelu, QuickGelu             within 2 %, and inexact; Gelu opened to Erf 10 % slower
    BiasGeluFusion disabled         within 2 % (fp32; int8 has no such node)
    Gemm with a bias for MatMul and Add  within 2 %
    tokens before texts, transposing products (FusedMatMul)  3 to 6 % faster, less than the attention node
    DynamicQuantizeMatMul written by us  within 2 %: the runtime makes the same node
    denormals as zero, no memory arena or pattern, another transpose optimizer  within 2 %
    graph optimization below `all`  5 % slower; prepacking disabled 8 to 60 % slower
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from autocompress.anatomy.weights import random_weights
from autocompress.core.encoders import encoder_layer, with_layers
from autocompress.core.lowering import RULES, SWITCHES, Lowering, Rule, Switch, Tried
from autocompress.core.parts import ModelParts
from autocompress.core.storage import RowBits, Storage
from autocompress.core.wording import units
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import Run, Timed, time_side_by_side, timing_lane, workload_run

PAYS: Final = 0.02
"""What does not save this share of the time is not chosen: a measurement of seconds is no surer."""

_LAYERS: Final = 3

Choice = TypeVar("Choice", Rule, Switch)


def choose_lowering(
    largest: ModelParts, workload: Workload, *, rounds: int, seconds: float
) -> tuple[Lowering, tuple[Tried, ...]]:
    """What pays for models up to `largest`, and all that was tried; `seconds` bounds each of two or four comparisons.

    Rules are chosen for each precision. Switches are a session's, for all precisions together, and are about threads
    that wait for each other: one thread has none to try.
    """

    def times(ways: Mapping[tuple[Choice, ...], Lowering], bits: RowBits) -> dict[tuple[Choice, ...], float]:
        return _shares(ways, _models(largest, bits), workload, rounds=rounds, seconds=seconds)

    found: list[Tried] = []
    rules = {way: Lowering(fp32=way, int8=way) for way in _subsets(RULES)}
    fp32, int8 = times(rules, 32), times(rules, 8)
    found += [*_tried(32, fp32), *_tried(8, int8)]
    chosen = Lowering(fp32=_best(fp32), int8=_best(int8))
    if workload.threads > 1:
        switches = {way: replace(chosen, switches=way) for way in _subsets(SWITCHES)}
        fp32_switched, int8_switched = times(switches, 32), times(switches, 8)
        found += [*_tried(32, fp32_switched), *_tried(8, int8_switched)]
        both = {way: math.sqrt(fp32_switched[way] * int8_switched[way]) for way in switches}
        chosen = replace(chosen, switches=_best(both))
    return chosen, tuple(found)


def _subsets(names: Iterable[Choice]) -> Iterator[tuple[Choice, ...]]:
    """The empty one first."""
    known = list(names)
    return itertools.chain.from_iterable(itertools.combinations(known, size) for size in range(len(known) + 1))


def _models(largest: ModelParts, bits: RowBits) -> tuple[ModelParts, ModelParts]:
    """The largest blocks, and those of a model that a search would pick: half the heads, a quarter of the width."""
    heads, channels = max(units(largest, "heads")), max(units(largest, "channels"))
    width, size, held = largest.width, largest.head_size, Storage(bits)

    def model(heads: int, channels: int) -> ModelParts:
        layers = (
            encoder_layer(index, width, heads=heads, head_size=size, channels=channels, held=held)
            for index in range(_LAYERS)
        )
        return with_layers(largest, layers, words_in=held)

    return model(heads, channels), model(max(1, heads // 2), max(1, channels // 4))


def _shares(
    ways: Mapping[tuple[Choice, ...], Lowering],
    models: Iterable[ModelParts],
    workload: Workload,
    *,
    rounds: int,
    seconds: float,
) -> dict[tuple[Choice, ...], float]:
    """The time of each way over that of the first, in the geometric mean over models."""
    runs: list[Run] = []
    for shape in models:
        weights = random_weights(shape, positions=max(8, workload.length), seed=0)
        for lowering in ways.values():
            file = write_graph(weights, lowering=lowering).SerializeToString()
            session = Session(file, threads=workload.threads, switches=lowering.session)
            runs.append(workload_run(session, workload, rows=shape.vocabulary))
    with timing_lane():
        timed = time_side_by_side(runs, rounds=rounds, seconds=seconds)
    groups = [timed[start : start + len(ways)] for start in range(0, len(timed), len(ways))]
    logs = [[math.log(_ratio(one, group[0])) for one in group] for group in groups]
    return dict(zip(ways, np.exp(np.mean(logs, axis=0)).tolist(), strict=True))


def _ratio(one: Timed, plain: Timed) -> float:
    """Of their quicker turns: on a busy machine the slower half tells who was interrupted."""
    return float(np.quantile(one.turns, 0.25) / np.quantile(plain.turns, 0.25))


def _best(shares: Mapping[tuple[Choice, ...], float]) -> tuple[Choice, ...]:
    best = min(shares, key=lambda way: shares[way])
    return best if shares[best] <= 1 - PAYS else ()


def _tried(bits: RowBits, shares: Mapping[tuple[Choice, ...], float]) -> Iterator[Tried]:
    return (Tried(bits, way, round(share, 4)) for way, share in shares.items() if way)
