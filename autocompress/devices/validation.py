"""Whole models against the sum of their blocks: random policies are deployed for real, timed, and a prediction is
corrected by them, or judged."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.anatomy.weights import random_weights
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.device import COST_FEATURES, Accuracy, Correction, KernelTable
from autocompress.core.encoders import STACK, Layer, encoder_layer, in_form, in_rank, largest_rank, with_layers
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.narrowing import narrowed
from autocompress.core.parts import ModelParts, Part
from autocompress.core.prediction import SUM_OF_BLOCKS, LatencyPredictor
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.storage import BITS, Storage, precisions
from autocompress.core.storage import PLAIN as AS_TRAINED
from autocompress.core.wording import units
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.accuracy import accuracy
from autocompress.devices.timing import Timed, time_side_by_side, timing_lane, workload_run

logger = logging.getLogger(__name__)

_GROUP: Final = 8
"""Models in memory at a time; each group is timed beside the same reference."""

SLOW: Final = 1.05
"""A reference that takes this many times its usual time tells of a slow minute."""

_AGAIN: Final = 3
_WIDTH_STEP: Final = 16
_NARROWER: Final = (0.25, 0.5)
"""Shares of the stream that are measured beside the whole, as work is linear in its width."""
_PENALTIES: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_LEAST_BEHIND: Final = 0.1
"""The share of a model's time that is surely not that of its front."""
_LEAST_SPREAD: Final = 0.02
"""No prediction is held for surer than a repeated measurement is."""


def widths_to_measure(width: int) -> list[int]:
    """The narrower streams that are measured, in steps that kernels are made for."""
    found = {_WIDTH_STEP * max(1, round(share * width / _WIDTH_STEP)) for share in _NARROWER}
    return sorted(one for one in found if one < width)


def random_shapes(
    largest: ModelParts,
    *,
    count: int,
    seed: int,
    static: bool = False,
    ranks: bool = False,
    widths: bool = False,
    forms: Sequence[AttentionForm] = (),
) -> list[ModelParts]:
    """Shapes that random policies lead to: any number of layers, any heads, widths in steps of 16, each part in fp32 or
    int8; in `static` int8 too, if asked for; where `ranks` are, every other block as two factors, and where `widths`
    are, every other model on a stream of a quarter to all of its channels. Of the other models, layers before the last
    have attention of some of the `forms`, or the full one."""
    draw, held = random.Random(seed), precisions(static=static)
    heads, channels = max(units(largest, "heads")), max(units(largest, "channels"))
    depth = len(largest.layers(STACK))

    def layer(index: int, *, ranked: bool) -> Layer:
        wide = _WIDTH_STEP * draw.randint(1, channels // _WIDTH_STEP)
        parts = encoder_layer(
            index,
            largest.width,
            heads=draw.randint(1, heads),
            head_size=largest.head_size,
            held=draw.choice(held),
            channels=wide,
            feed_forward_held=draw.choice(held),
        )
        return tuple(factored(part) for part in parts) if ranked else parts

    def narrower(model: ModelParts) -> ModelParts:
        least = -(-model.width // (4 * _WIDTH_STEP))
        width = _WIDTH_STEP * draw.randint(least, max(least, model.width // _WIDTH_STEP))
        return narrowed(model, width) if width < model.width else model

    def factored(part: Part) -> Part:
        """In a rank that saves something, or whole; between two widths that are measured in one that both have."""
        width = part.matrices[0].inputs
        measured = max((one for one in widths_to_measure(largest.width) if one <= width), default=width)
        most = largest_rank(measured if width < largest.width else width, part.matrices[-1].inputs)
        return in_rank(part, draw.randint(1, most) if draw.random() < 0.5 else None)

    def formed(layer: Layer) -> Layer:
        """In some form, where its matrices are whole."""
        form = draw.choice([FULL_ATTENTION, *forms])
        return tuple(part if part.matrices[0].rank else in_form(part, form) for part in layer)

    def model() -> ModelParts:
        narrow = widths and draw.random() < 0.5
        layers = [layer(index, ranked=ranks and not narrow) for index in range(draw.randint(1, depth))]
        if forms and not narrow:
            layers = [*map(formed, layers[:-1]), layers[-1]]
        found = with_layers(largest, layers, words_in=Storage(draw.choice(BITS)))
        if not narrow:
            return found
        found = narrower(found)
        if not ranks:
            return found
        return replace(found, parts=tuple(one if one.layer is None else factored(one) for one in found.parts))

    return [model() for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Seen:
    """Whole models under one workload: their shapes, how long each took, and how long the reference model took beside
    each of them."""

    workload: Workload
    shapes: tuple[ModelParts, ...]
    timed: tuple[Timed, ...]
    references: tuple[Timed, ...]

    @property
    def reference_ms(self) -> float:
        """The machine's pace: the reference model's median over all groups, milliseconds."""
        return float(np.median([one.median for one in self.references]))

    @property
    def milliseconds(self) -> NDArray[np.float64]:
        """Medians [models] at the machine's usual pace: groups are measured minutes apart, and what the reference took
        beside a group, in relation to what it took as a rule, is what the machine was slower or faster by."""
        paces = np.array([one.median for one in self.references]) / self.reference_ms
        return np.array([one.median for one in self.timed]) / paces

    @property
    def noticed(self) -> bool:
        """Whether others were at work during most of it."""
        return sum(one.noticed for one in self.timed) > len(self.timed) / 2


def measure_models(
    shapes: Sequence[ModelParts],
    workload: Workload,
    *,
    lowering: Lowering = PLAIN,
    rounds: int = 20,
    seconds: float = 5.0,
    tight: float | None = 0.01,
    reference_ms: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    runtime: str = DEFAULT_RUNTIME,
) -> Seen:
    """Deploys every shape as a file and times it in a runtime, in groups of eight beside one reference model; `seconds`
    bounds a group.

    A virtual machine has slow minutes that nothing inside it shows but the reference: a group whose reference runs
    clearly slower than `reference_ms`, or else than in the fastest group, is timed again.
    """
    groups = [shapes[start : start + _GROUP] for start in range(0, len(shapes), _GROUP)]

    def timed_once(group: Sequence[ModelParts]) -> list[Timed]:
        return _time_group(group, workload, lowering, runtime=runtime, rounds=rounds, seconds=seconds, tight=tight)

    found = []
    for place, group in enumerate(groups):
        found.append(timed_once(group))
        if progress:
            progress(place + 1, len(groups))
    level = reference_ms or min(timed[0].median for timed in found)
    for place, group in enumerate(groups):
        for _ in range(_AGAIN):
            if found[place][0].median <= SLOW * level:
                break
            found[place] = min(found[place], timed_once(group), key=lambda timed: timed[0].median)
    return Seen(
        workload,
        tuple(shapes),
        tuple(one for timed in found for one in timed[1:]),
        tuple(timed[0] for timed in found for _ in timed[1:]),
    )


def _time_group(
    group: Sequence[ModelParts],
    workload: Workload,
    lowering: Lowering,
    *,
    runtime: str,
    rounds: int,
    seconds: float,
    tight: float | None,
) -> list[Timed]:
    """The reference first."""
    with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
        runs = []
        for place, shape in enumerate([reference_shape(group[0]), *group]):
            path = Path(folder) / f"{place}.onnx"
            weights = random_weights(shape, positions=max(8, workload.length), seed=place)
            path.write_bytes(write_graph(weights, lowering=lowering).SerializeToString())
            session = Session(path, threads=workload.threads, runtime=runtime, switches=lowering.session)
            runs.append(workload_run(session, workload, rows=shape.vocabulary))
        with timing_lane():
            return time_side_by_side(runs, rounds=rounds, seconds=seconds, tight=tight)


def reference_shape(shape: ModelParts) -> ModelParts:
    """A middling model, the same for every group of models like this one."""
    width, size = shape.width, shape.head_size
    heads, channels = max(1, width // (2 * size)), 2 * width
    layers = (encoder_layer(index, width, heads=heads, head_size=size, channels=channels) for index in range(2))
    return with_layers(shape, layers, words_in=AS_TRAINED)


def correct(table: KernelTable, seen: Seen) -> KernelTable:
    """The table with a correction fitted to whole models, which also keeps the machine's pace at that time.

    Ridge regression of the measured latency on the sums of the table, in relative terms, towards "whole models cost
    what their blocks cost"; the penalty is chosen, and the spread taken, from models left out one at a time. What
    stands before layers and is priced by itself, patches or convolutions, is no part of it.
    """
    plain = LatencyPredictor(replace(table, correction=None))
    features = np.array([plain.features(shape) for shape in seen.shapes])
    fronts = np.array([plain.front(shape) for shape in seen.shapes])
    measured = np.maximum(seen.milliseconds - fronts, _LEAST_BEHIND * seen.milliseconds)
    prior = np.array([SUM_OF_BLOCKS.get(name, 0.0) for name in COST_FEATURES])
    scaled, target = features / measured[:, None], 1.0 - features @ prior / measured
    size = np.sqrt((scaled**2).mean(axis=0)) + 1e-12  # every feature is held back alike, whatever its size
    design = scaled / size
    left_out = {penalty: _left_out(design, target, penalty * len(target)) for penalty in _PENALTIES}
    best = min(_PENALTIES, key=lambda penalty: float(np.abs(left_out[penalty]).mean()))
    change = _ridge(design, target, best * len(target))
    weights = prior + change / size
    spread = max(_LEAST_SPREAD, _upper(np.abs(left_out[best])))
    fitted = {name: round(float(value), 6) for name, value in zip(COST_FEATURES, weights, strict=True)}
    correction = Correction(fitted, round(spread, 4), len(target), round(seen.reference_ms, 5))
    return replace(table, correction=correction, accuracy=None)


def _ridge(design: NDArray[np.float64], target: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    inner = design.T @ design + penalty * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(inner, design.T @ target), dtype=np.float64)


def _left_out(design: NDArray[np.float64], target: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """The error at every model of a fit without it, in closed form (Hastie et al., Elements of Statistical Learning,
    section 7.10)."""
    inner = design.T @ design + penalty * np.eye(design.shape[1])
    hat = design @ np.linalg.solve(inner, design.T)
    return np.asarray((target - hat @ target) / (1.0 - np.diag(hat)), dtype=np.float64)


def _upper(errors: NDArray[np.float64]) -> float:
    """What 95 % of further errors stay below, for exchangeable ones (split conformal; Lei et al. 2018, section 2.2)."""
    place = min(len(errors) - 1, int(np.ceil(0.95 * (len(errors) + 1))) - 1)
    return float(np.sort(errors)[place])


def judge(table: KernelTable, seen: Seen, *, how: str) -> Accuracy:
    """How far the table's predictions lie from models that it was not fitted to, at the machine's pace when the table
    was measured: a profile cannot know how fast the machine will be today. `how` says what that leaves out."""
    predictor = LatencyPredictor(table)
    predicted = np.array([predictor(shape).value for shape in seen.shapes])
    pace = seen.reference_ms / table.correction.reference_ms if table.correction else 1.0
    untouched = accuracy(predicted, [one.median for one in seen.timed], how)
    told = (
        f"{how}, at the pace of the profile (the machine now takes {pace:.2f} times as long; as it comes, the error is "
        f"{untouched.mape:.1%})"
    )
    return accuracy(predicted, seen.milliseconds / pace, told)
