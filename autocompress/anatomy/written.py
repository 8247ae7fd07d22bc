"""A live model of any family whose blocks `deploy.blocks` knows, as plain arrays for its written graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast, final

import numpy as np
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocompress.anatomy.arrays import array_of, bits_of, linears_of
from autocompress.anatomy.attention_form import form_of
from autocompress.anatomy.blueprint import at, base_of, blocks_of, head_size_of, stacks_of
from autocompress.anatomy.forms import holder
from autocompress.anatomy.heads import EMBEDDING, TOKENS, head_of, is_of_the_whole
from autocompress.anatomy.inputs import audio_length, image_sides, patch_sides
from autocompress.anatomy.int8 import Int8Embedding
from autocompress.anatomy.live import LiveModel, Multiplied
from autocompress.anatomy.weights import (
    AttentionWeights,
    ConvolutionWeights,
    EmbeddingWeights,
    EncoderWeights,
    FeedForwardWeights,
    LayerWeights,
    Linear,
    Norm,
    PatchWeights,
    Reads,
    Rotary,
    SoundWeights,
)
from autocompress.core.storage import Bits
from autocompress.errors import SpecError
from autocompress.families import Block, Front, Writing

_ACTIVATIONS: Final = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")
_NEAR: Final = "sliding_attention"


def why_not_written(live: LiveModel) -> str:
    """What keeps a model from having a written graph; empty where nothing does."""
    family, config = live.family, cast(Any, live.model.config)
    if (writing := family.writing) is None:
        return f"a {family.model_type} has blocks that no graph of ours is written for"
    if not (head_of(live.model) in (EMBEDDING, TOKENS) or is_of_the_whole(live.model)):
        return f"its head is that of a {type(live.model).__name__}"
    if getattr(config, "add_adapter", False):
        return "it has an adapter behind its layers"
    used = [writing.activation, *([writing.head_activation] if writing.head_activation else [])]
    if unknown := [name for name in used if getattr(config, name) not in _ACTIVATIONS]:
        return f"its config has `{unknown[0]}: {getattr(config, unknown[0])}`"
    if any(front.kind == "patches" for front in family.fronts) and len({*patch_sides(config)}) > 1:
        return "its patches are no squares"
    turned = (getattr(config, "rope_parameters", None) or {}) if writing.rotary else {}
    kinds = [turned] if "rope_type" in turned else turned.values()
    if other := [kind["rope_type"] for kind in kinds if kind and kind["rope_type"] not in ("default", "linear")]:
        return f"its rotary positions are of the type {other[0]}"
    return ""


def written_weights(live: LiveModel) -> EncoderWeights:
    """Raises SpecError where there is no such graph."""
    if why := why_not_written(live):
        raise SpecError(f"model: it has no written graph, as {why}; it is deployed by tracing")
    return _Reading(live).weights()


@final
class _Reading:
    """One model on its way."""

    def __init__(self, live: LiveModel) -> None:
        assert live.family.writing is not None
        self._live, self._base, self._config = live, base_of(live.model), cast(Any, live.model.config)
        self._writing: Writing = live.family.writing
        (self._stack,) = live.family.stacks
        turned = bool(self._writing.pre_norm) and getattr(self._config, self._writing.pre_norm)
        self._is_pre = turned or self._stack.order == "pre"

    def weights(self) -> EncoderWeights:
        live, writing = self._live, self._writing
        front: EmbeddingWeights | PatchWeights | SoundWeights
        (data,) = live.family.fronts
        if data.kind == "embedding":
            front = self._embeddings(data)
        else:
            front = self._patches(data) if data.kind == "patches" else self._sound(data)
        pooled = head_of(live.model) == EMBEDDING
        ends = live.family.ends.get(self._stack.name, ())
        return EncoderWeights(
            front,
            tuple(self._layers()),
            str(getattr(self._config, writing.activation)),
            () if pooled else tuple(map(_linear, self._dense())),
            str(getattr(self._config, writing.head_activation)) if writing.head_activation else writing.head_bent,
            reads=self._reads(),
            order="pre" if self._is_pre else "post",
            last_norm=self._last_norm(ends),
            head_norm=None if pooled or not writing.head_norm else _norm(live.model.get_submodule(writing.head_norm)),
        )

    def _dense(self) -> Iterator[nn.Module]:
        """Those of its head; a head behind each token may have fewer."""
        for path in self._writing.head:
            module = at(self._live.model, path)
            if isinstance(module, nn.Module):
                yield module

    def _reads(self) -> Reads:
        if head_of(self._live.model) == TOKENS:
            return "each"
        if head_of(self._live.model) != EMBEDDING and getattr(self._config, "classifier_pooling", "") == "late":
            return "late"
        return "first" if self._live.read == 1 else "mean"

    def _last_norm(self, ends: Sequence[str]) -> Norm | None:
        """Of a pre-norm stack; one that became so has it where others have the norm before their layers."""
        if not self._is_pre:
            return None
        return self._norm(at(self._base, ends[0] if ends else "encoder.layer_norm"))

    def _norm(self, module: Any) -> Norm:
        """Of the stack."""
        if not self._writing.by_square:
            return _norm(module)
        return Norm(array_of(module.weight), None, float(module.variance_epsilon), by_square=True)

    # Layers

    def _layers(self) -> Iterator[LayerWeights]:
        live, name = self._live, self._stack.name
        modules = stacks_of(live.model, live.family)[name]
        for index, layer in zip(live.layers(name), modules, strict=True):
            by_name = {block.name: block for block in blocks_of(live.family, self._stack, layer, index)}
            yield LayerWeights(
                self._attention(by_name["attention"], layer, live.products(f"{name}.{index}.attention")),
                self._feed_forward(by_name["feed_forward"], layer, live.products(f"{name}.{index}.feed_forward")),
            )

    def _attention(self, block: Block, layer: nn.Module, products: Sequence[Multiplied]) -> AttentionWeights:
        linear = dict(_by_role(products))
        size = head_size_of(self._config, self._stack)
        norm = at(layer, block.vectors[0])
        kind = str(getattr(layer, "attention_type", ""))
        return AttentionWeights(
            linear["query"],
            linear["key"],
            linear["value"],
            linear["output"],
            None if norm is None or isinstance(norm, nn.Identity) else self._norm(norm),
            linear["query"].outputs // size,
            bits_of([one.slot for one in products]),
            rotary=self._rotary(kind) if self._writing.rotary else None,
            window=int(self._config.sliding_window) if kind == _NEAR else None,
            keys=linear["key"].outputs // size,
            form=form_of(holder(layer, block)),
        )

    def _rotary(self, kind: str) -> Rotary:
        holder: Any = at(self._base, self._writing.rotary)
        of_kind = f"{kind}_" if kind else ""
        frequencies, scale = (getattr(holder, of_kind + name) for name in ("inv_freq", "attention_scaling"))
        return Rotary(array_of(frequencies), float(scale))

    def _feed_forward(self, block: Block, layer: nn.Module, products: Sequence[Multiplied]) -> FeedForwardWeights:
        linear = dict(_by_role(products))
        up, gate = linear["up"], linear.get("gate")
        if any(product.roles == ("up", "gate") for product in products):  # the first half of a joined one is bent
            up, gate = linear["gate"], linear["up"]
        norm = self._norm(at(layer, block.vectors[0]))
        return FeedForwardWeights(up, linear["down"], norm, bits_of([one.slot for one in products]), gate)

    # Before them

    def _embeddings(self, front: Front) -> EmbeddingWeights:
        table = cast(nn.Embedding, next(iter(self._live.token_tables().values())).module)
        bits: Bits = table.bits if isinstance(table, Int8Embedding) else 32
        norm = _norm(at(self._base, front.vectors[0])) if front.vectors else None
        return EmbeddingWeights(array_of(table.weight), None, norm, bits)

    def _patches(self, front: Front) -> PatchWeights:
        kernel = cast(nn.Conv2d, at(self._base, front.products[0]))
        position = array_of(cast(Tensor, at(self._base, front.tables[0])))[0]
        named = [path for path in front.vectors if not path.endswith("mask_token")]
        tokens = [array_of(one)[0] for path in named if isinstance(one := at(self._base, path), Tensor)]
        first = np.concatenate(tokens)
        bias = 0 if kernel.bias is None else array_of(kernel.bias)
        return PatchWeights(
            array_of(kernel.weight),
            first + position[: len(first)],
            position[len(first) :] + bias,
            image_sides(self._config),
        )

    def _sound(self, front: Front) -> SoundWeights:
        base, config = cast(Any, self._base), self._config
        projection = base.feature_projection
        return SoundWeights(
            tuple(map(_convolution, base.feature_extractor.conv_layers)),
            _norm(projection.layer_norm),
            _linear(projection.projection),
            _convolution(base.encoder.pos_conv_embed),
            None if self._is_pre else _norm(base.encoder.layer_norm),
            str(config.feat_extract_activation),
            audio_length(config) or None,
        )


def _convolution(layer: Any) -> ConvolutionWeights:
    """Of a module with a `conv`, and a `layer_norm` or none. A weight that is held as direction and magnitude is
    multiplied out."""
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    assert isinstance(conv, nn.Conv1d) or parametrize.is_parametrized(conv)
    by_channel = isinstance(norm, nn.GroupNorm)
    return ConvolutionWeights(
        array_of(conv.weight),
        None if conv.bias is None else array_of(conv.bias),
        int(conv.stride[0]),
        None if norm is None else _norm(norm),
        by_channel,
        int(conv.groups),
    )


def _by_role(products: Sequence[Multiplied]) -> Iterator[tuple[str, Linear]]:
    """Products that are joined in one module are parts of it, side by side."""
    for product in products:
        yield from zip(product.roles, linears_of(product.slot.module, len(product.roles)), strict=True)


def _linear(module: nn.Module) -> Linear:
    (found,) = linears_of(module)
    return found


def _norm(module: Any) -> Norm:
    return Norm(array_of(module.weight), None if module.bias is None else array_of(module.bias), float(module.eps))
