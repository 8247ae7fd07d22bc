"""A policy in words: what is left of the model."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocompress.core.policy import CompressionPolicy
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.shape import PRECISION, AttentionShape, Bits, FeedForwardShape, LayerShape, ModelShape
from autocompress.errors import CandidateError
from autocompress.operators import OPERATORS, effective


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


def explain_policy(policy: CompressionPolicy, shape: ModelShape | None) -> Explained:
    """What a policy leaves of a model of this shape, e.g. `4 layers · heads 6,6,3,9 · ffn 768 · int8`.

    The shape after the policy comes from the operators themselves, so a new operator needs nothing here. Without a
    shape, or for a policy this version cannot apply to it, the steps are counted instead.
    """
    if shape is None or any(step.operator not in OPERATORS for step in policy.steps):
        return Explained(_steps(policy))
    try:
        _, after = effective(policy, shape)
    except (CandidateError, KeyError, ValueError):
        return Explained(_steps(policy))
    rows = tuple(_row(layer, after.layer(layer.index)) for layer in shape.layers)
    return Explained(_summary(after), rows, after.embedding_bits)


def shape_from_json(tree: Mapping[str, Any] | None) -> ModelShape | None:
    """A `ModelShape` from `dataclasses.asdict` of one, as studies store it; None for nothing, or for another form."""
    if not tree:
        return None
    try:
        layers = tuple(
            LayerShape(layer["index"], AttentionShape(**layer["attention"]), FeedForwardShape(**layer["feed_forward"]))
            for layer in tree["layers"]
        )
        return ModelShape(**{**tree, "layers": layers, "head_widths": tuple(tree["head_widths"])})
    except (KeyError, TypeError):
        return None


def _summary(shape: ModelShape) -> str:
    heads = _joined([layer.attention.heads for layer in shape.layers])
    widths = _joined([layer.feed_forward.width for layer in shape.layers])
    layers = f"{shape.depth} layer{'' if shape.depth == 1 else 's'}"
    runtime = [] if shape.runtime == DEFAULT_RUNTIME else [shape.runtime]
    return " · ".join([layers, f"heads {heads}", f"ffn {widths}", _precision(shape), *runtime])


def _precision(shape: ModelShape) -> str:
    blocks = [bits for layer in shape.layers for bits in (layer.attention.bits, layer.feed_forward.bits)]
    table = PRECISION[shape.embedding_bits]
    if len(set(blocks)) < 2:
        (layers,) = {PRECISION[bits] for bits in blocks} or {table}
        return table if layers == table else f"{layers}, embeddings {table}"
    counted = ", ".join(f"{PRECISION[bits]} in {blocks.count(bits)}" for bits in sorted(set(blocks) - {32}))
    return f"{counted} of {len(blocks)} blocks, embeddings {table}"


def _joined(sizes: Sequence[int]) -> str:
    """`12` for a size that all layers share, `6,6,3,9` otherwise."""
    return ",".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1])) or "none"


def _row(before: LayerShape, after: LayerShape | None) -> LayerRow:
    return LayerRow(
        layer=before.index,
        heads=after.attention.heads if after else None,
        heads_before=before.attention.heads,
        channels=after.feed_forward.width if after else None,
        channels_before=before.feed_forward.width,
        bits="removed" if after is None else _layer_bits(after),
    )


def _layer_bits(layer: LayerShape) -> str:
    attention, feed_forward = PRECISION[layer.attention.bits], PRECISION[layer.feed_forward.bits]
    return attention if attention == feed_forward else f"attention {attention}, feed-forward {feed_forward}"


def _steps(policy: CompressionPolicy) -> str:
    if policy.is_baseline:
        return "uncompressed"
    counted = collections.Counter(step.operator for step in policy.steps)
    return " · ".join(f"{operator} ×{times}" if times > 1 else operator for operator, times in counted.items())
