"""A policy in words: what is left of the model."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.core.parts import WHOLE, ModelParts, Part
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.storage import PRECISION, Bits, width
from autocompress.core.wording import attention_forms, halves, kept_tokens, ranks, table_bits, units, zeros
from autocompress.errors import CandidateError
from autocompress.operators import OPERATORS, effective

_TOLD: Final = 12
"""Steps of operators of a user's own that are told one by one."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of the uncompressed model. What it had, and what it keeps: None once the layer is removed."""

    layer: int
    heads: int | None
    heads_before: int
    channels: int | None
    channels_before: int
    bits: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Explained:
    """`summary` is one line; `layers` is empty when the model's shape is not known."""

    summary: str
    layers: tuple[LayerRow, ...] = ()
    embedding_bits: Bits | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "summary": self.summary,
            "embedding_bits": self.embedding_bits,
            "layers": [row.to_json() for row in self.layers],
        }


def explain_policy(policy: CompressionPolicy, shape: ModelParts | None) -> Explained:
    """What a policy leaves of a model of this shape, e.g. `4 layers · heads 6,6,3,9 · ffn 768 · int8`.

    The shape after the policy comes from the operators themselves, so a new operator needs nothing here. Without a
    shape, or for a policy this version cannot apply to it, the steps are counted instead.
    """
    if shape is None:
        return Explained(_steps(policy))
    if any(step.operator not in OPERATORS for step in policy.steps):
        return Explained(_counted(policy))
    try:
        _, after = effective(policy, shape)
    except (CandidateError, KeyError, ValueError):
        return Explained(_counted(policy))
    layers = [(stack, layer) for stack in shape.stacks for layer in shape.layers(stack)]
    rows = tuple(_row(place[1], shape.of_layer(*place), after.of_layer(*place)) for place in layers)
    return Explained(_summary(after, before=shape), rows, table_bits(after))


def _summary(model: ModelParts, *, before: ModelParts) -> str:
    heads, channels = (_joined(units(model, axis)) for axis in ("heads", "channels"))
    layers = f"{model.depth} layer{'' if model.depth == 1 else 's'}"
    runtime = [] if model.runtime == DEFAULT_RUNTIME else [model.runtime]
    narrow = [] if model.width == before.width else [f"hidden {model.width}"]
    words = [] if model.vocabulary == before.vocabulary else [f"{model.vocabulary:,} words"]
    sizes = [layers, *narrow, f"heads {heads}", f"ffn {channels}", *words]
    said = halves(model), attention_forms(model), kept_tokens(model), ranks(model), zeros(model)
    more = [told for told in said if told]
    return " · ".join([*sizes, *more, _precision(model), *runtime])


def _precision(model: ModelParts) -> str:
    blocks = [_bits(part) for part in model.blocks()]
    table = PRECISION[table_bits(model)]
    if len(set(blocks)) < 2:
        (layers,) = {PRECISION[bits] for bits in blocks} or {table}
        return table if layers == table else f"{layers}, embeddings {table}"
    counted = ", ".join(f"{PRECISION[bits]} in {blocks.count(bits)}" for bits in sorted(set(blocks) - {32}, key=width))
    return f"{counted} of {len(blocks)} blocks, embeddings {table}"


def _bits(part: Part) -> Bits:
    """Of its matrices, the most that any has."""
    return max((one.storage.bits for one in part.matrices), key=width)


def _joined(sizes: Sequence[int]) -> str:
    """`12` for a size that all layers share, `6,6,3,9` otherwise."""
    return ",".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1])) or "none"


def _row(layer: int, before: Sequence[Part], after: Sequence[Part]) -> LayerRow:
    had, left = units_of(before), units_of(after)
    return LayerRow(
        layer=layer,
        heads=left.get("heads"),
        heads_before=had.get("heads", 0),
        channels=left.get("channels"),
        channels_before=had.get("channels", 0),
        bits=layer_bits(after) if after else "removed",
    )


def units_of(parts: Sequence[Part]) -> dict[str, int]:
    """Heads and channels of a layer, each of the first block that has any."""
    return {axis: count for part in reversed(parts) for axis, count in part.units.items()}


def layer_bits(parts: Sequence[Part]) -> str:
    """`int8`; `attention fp32, feed-forward int8` where its blocks differ."""
    bits = {part.kind.replace("_", "-"): PRECISION[_bits(part)] for part in parts}
    one, *others = dict.fromkeys(bits.values())
    return ", ".join(f"{kind} {held}" for kind, held in bits.items()) if others else one


def _steps(policy: CompressionPolicy) -> str:
    if policy.is_baseline:
        return "uncompressed"
    if all(step.operator not in OPERATORS for step in policy.steps) and len(policy.steps) <= _TOLD:
        return " · ".join(map(_step, policy.steps))
    return _counted(policy)


def _step(step: Step) -> str:
    """`narrow hidden.0 (width 8)`."""
    told = ", ".join(f"{name} {value}" for name, value in step.settings.items())
    place = "" if step.target == WHOLE else f" {step.target}"
    return f"{step.operator}{place}{f' ({told})' if told else ''}"


def _counted(policy: CompressionPolicy) -> str:
    counted = collections.Counter(step.operator for step in policy.steps)
    return " · ".join(f"{operator} ×{times}" if times > 1 else operator for operator, times in counted.items())
