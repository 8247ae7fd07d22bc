"""The parts of a live model, found by what they are (`finding`), and the surgery that makes it physically smaller."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor, nn

from autocompress.anatomy.arrays import array_of, bits_of, linears_of
from autocompress.anatomy.attention_form import put_form, put_kept
from autocompress.anatomy.calibration import Batches, Inputs, Product, limits, observe, relief
from autocompress.anatomy.factored import Factored, Factoring, factored
from autocompress.anatomy.family import Family
from autocompress.anatomy.finding import LayerParts, Slot, find_embeddings, find_parts, find_stack, head_slot
from autocompress.anatomy.heads import dense_of, head_of, reads_of
from autocompress.anatomy.int8 import Int8Embedding, Int8Linear, tell_padding
from autocompress.anatomy.kept_rows import KeptRows, renumber
from autocompress.anatomy.moments import Moments, moments, powers
from autocompress.anatomy.narrowing import KEPT_HIDDEN, Reading, Stream, kept_hidden, narrow
from autocompress.anatomy.passing import Nothing, put_in_place
from autocompress.anatomy.refusing import family_of
from autocompress.anatomy.sparse import Criterion, sparse, sparsity_of
from autocompress.anatomy.weights import (
    Array,
    AttentionWeights,
    EmbeddingWeights,
    EncoderWeights,
    FeedForwardWeights,
    LayerWeights,
    Linear,
    Norm,
)
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.encoders import STACK
from autocompress.core.kept_tokens import KeptTokens, why_all_positions
from autocompress.core.parts import Matrix, Mixing, ModelParts, Part, Place, Table
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import PLAIN, Activations, Calibration, Rounded, Storage
from autocompress.errors import SpecError

ACTIVATIONS: Final = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
"""Of feed-forward blocks, as configs name them."""

_TYPES: Final = "token_type_embeddings"
"""The table that tells the two texts of a pair apart."""

Block = Literal["attention", "feed_forward"]
"""Half of a layer."""

_LIMITS, _RELIEF = ".limits", ".relief"


def is_settled(name: str) -> bool:
    """Whether a tensor of this name is what calibration found, and no weight."""
    return name.endswith((_LIMITS, _RELIEF))


class Anatomy:
    """A classifier of texts, or of their tokens, and its parts. `model` is changed in place by the `keep_*` and `set_*`
    methods; tensors are never written to, so that copies may share them. `runtime` is what it is to be deployed in."""

    def __init__(
        self,
        model: nn.Module,
        families: dict[str, Family],
        *,
        linked: bool = False,
        texts: Batches = (),
        settled: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Raises SpecError when the family is unknown or its parts are not where they belong.

        With `linked`, slices stay part of the tensors they are cut from: gradients reach those. What must be calibrated
        is so on `texts`, or was once and is `settled` (see there).
        """
        config = getattr(model, "config", None)
        model_type = str(getattr(config, "model_type", type(model).__name__))
        self.family = family_of(model_type, families)
        _refuse_other_forms(config, self.family.activation(config))
        self.model = model
        self._families, self._linked = families, linked
        self._texts, self._settled = texts, settled
        self._seen: dict[float | None, dict[str, Inputs]] = {}
        self._moments: dict[str, Moments] | None = None
        self._powers: dict[str, Tensor] | None = None
        self._stack = find_stack(model)
        indices = getattr(model, "_autocompress_layers", tuple(range(len(self._list))))
        self.layers = [find_parts(i, module) for i, module in zip(indices, self._list, strict=True)]
        self.reads, projection = reads_of(model), self.family.projection
        if projection is not None and self.reads == "mean":  # the encoder stands alone, under its wrapper's name
            projection = f"{model.base_model_prefix}.{projection.partition('.')[2]}"
        self._embeddings = find_embeddings(model, self.family.constant_rows, projection)
        self._head = [head_slot(model, path) for path in dense_of(self.family, head_of(model))]
        self.runtime: str = DEFAULT_RUNTIME

    @property
    def _list(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self._stack.module)

    def copy(self, *, linked: bool = False) -> Anatomy:
        """The same model in new modules with the same tensors: milliseconds and no memory.

        With `linked`, what is sliced off the copy stays connected to these tensors: gradients reach them.
        """
        tensors = {id(t): t for t in (*self.model.parameters(), *self.model.buffers())}
        return self._over(copy.deepcopy(self.model, memo=dict(tensors)), linked=linked)

    def own_copy(self) -> Anatomy:
        """The same model with tensors of its own."""
        return self._over(copy.deepcopy(self.model))

    def _over(self, model: nn.Module, *, linked: bool = False) -> Anatomy:
        copied = Anatomy(model, self._families, linked=linked, texts=self._texts, settled=self._settled)
        copied.runtime = self.runtime
        return copied

    @property
    def is_written(self) -> bool:
        """Whether its graph can be written node by node; else it is traced."""
        return True

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The fp32 table of word embeddings, also under quantization. Raises SpecError where no words are read."""
        return cast(nn.Embedding, self._embeddings.word.module)

    @property
    def reads_words(self) -> bool:
        """Whether what it reads is looked up in a table."""
        return True

    @property
    def embedded(self) -> nn.Module | None:
        """The module whose output goes into the first layer: what adds up the embeddings, or projects their sum. None
        where it is put together in between."""
        parts = self._embeddings
        return parts.word.owner if parts.projection is None else parts.projection.module

    def shape(self) -> ModelParts:
        """What the model is now, as numbers."""
        parts = (self._front(), *(part for layer in self.layers for part in _layer_parts(layer)))
        dense = tuple(_matrix(f"dense.{place}", slot, "targets") for place, slot in enumerate(self._head))
        head = [Part("head", "head", dense, stack=STACK)] if dense else []
        read = 1 if self.reads == "first" else None
        return ModelParts(self.family.model_type, self._width, (*parts, *head), self.runtime, read=read)

    @property
    def _width(self) -> int:
        """Of what goes into the layers."""
        parts = self._embeddings
        if parts.projection is not None:
            return int(parts.projection.linear.out_features)
        return int(parts.norm.normalized_shape[0])

    def _front(self) -> Part:
        parts, table = self._embeddings, self.word_embeddings
        storage = Storage(table.bits) if isinstance(table, Int8Embedding) else PLAIN
        modules = [cast(nn.Embedding, slot.module) for slot in (parts.word, parts.position, *parts.constant)]
        tables = [
            Table(f"rows.{place}", rows.num_embeddings, rows.embedding_dim, PLAIN if place else storage)
            for place, rows in enumerate(modules)
        ]
        projection = () if parts.projection is None else (_matrix("projection", parts.projection, "sources"),)
        norm = 2 * int(parts.norm.normalized_shape[0])
        return Part("embeddings", "embedding", projection, vectors=norm, tables=tuple(tables))

    def layer_of(self, target: str) -> int:
        """The place in the uncompressed model of the layer that a step's target names or lies in. Raises KeyError once
        it is removed."""
        for layer in self.layers:
            name = f"{STACK}.{layer.index}"
            if target in (name, *(f"{name}.{block}" for block in ("attention", "feed_forward"))):
                return layer.index
        raise KeyError(target)

    def layer(self, index: int) -> LayerParts:
        """The layer at this place of the uncompressed model. Raises KeyError once it is removed."""
        for layer in self.layers:
            if layer.index == index:
                return layer
        raise KeyError(index)

    def keep_layers(self, indices: Sequence[int]) -> None:
        """Only these layers stay, in their order."""
        self.layers = [layer for layer in self.layers if layer.index in set(indices)]
        self._stack.put(nn.ModuleList([layer.module for layer in self.layers]))
        self.model._autocompress_layers = tuple(layer.index for layer in self.layers)  # type: ignore[assignment]

    def remove_block(self, index: int, block: Block) -> None:
        """The attention or the feed-forward block of a layer goes with its normalisation: what went into it goes on to
        what comes behind. A layer that has no block left goes too."""
        layer = self.layer(index)
        if layer.mixes is None or layer.feeds is None:
            self.keep_layers([one.index for one in self.layers if one.index != index])
            return
        if block == "attention":
            mixes = layer.mixes
            put_in_place(layer.module, mixes.norm, nn.Identity())
            if mixes.output.owner is not mixes.query.owner:
                mixes.output.put(Nothing())
            put_in_place(layer.module, mixes.query.owner, Nothing(attends=True))
            left = replace(layer, mixes=None)
        else:
            put_in_place(layer.module, layer.feeds.norm, nn.Identity())
            layer.feeds.up.put(nn.Identity())
            layer.feeds.down.put(Nothing())
            left = replace(layer, feeds=None)
        self.layers = [left if one.index == index else one for one in self.layers]

    def keep_heads(self, index: int, heads: Sequence[int]) -> None:
        """Only these heads of a layer stay, in the given order."""
        block = self.layer(index).of_attention
        channels = torch.cat([torch.arange(h * block.head_size, (h + 1) * block.head_size) for h in heads])
        for slot in (block.query, block.key, block.value):
            slot.put(self._cut(slot.linear, outputs=channels))
        block.output.put(self._cut(block.output.linear, inputs=channels))
        for name, counts in self.family.counters:
            setattr(block.query.owner, name, len(heads) if counts == "heads" else len(channels))

    def take_form(self, index: int, form: AttentionForm) -> None:
        """The attention of a layer has this form from now on."""
        put_form(self.layer(index).of_attention.query.owner, form)

    def keep_tokens(self, index: int, kept: KeptTokens) -> None:
        """Behind the attention of a layer these of its tokens go on alone, from now on. Raises SpecError for a model
        that needs all of them, and where the attention has another form than the full one."""
        if why := why_all_positions(self.shape()):
            raise SpecError(f"model: {why}")
        mixes = self.layer(index).of_attention
        if mixes.form != FULL_ATTENTION:
            raise SpecError(
                f"model: the attention of layer {index} is {mixes.form}, which has no map to rank tokens by (allowed: "
                f"{FULL_ATTENTION}); let another layer keep tokens"
            )
        layers = [layer.module for layer in self.layers if layer.index >= index]
        put_kept(mixes.query.owner, mixes.norm, layers, kept)

    def keep_channels(self, index: int, channels: Sequence[int]) -> None:
        """Only these feed-forward channels of a layer stay, in the given order."""
        block, kept = self.layer(index).of_feed_forward, torch.tensor(list(channels))
        block.up.put(self._cut(block.up.linear, outputs=kept))
        block.down.put(self._cut(block.down.linear, inputs=kept))

    @property
    def hidden(self) -> tuple[int, ...]:
        """The channels that its stream has left, by their places in the uncompressed model."""
        return kept_hidden(self.model, self._width)

    def keep_hidden(self, channels: Sequence[int]) -> None:
        """Only these of the channels that the stream has now stay, in the given order, from the embeddings to the
        head, whose first product has its outputs as before; what the others said is guessed from these (`narrowing`),
        on the model's texts and as the model is now. Raises SpecError for one that keeps some of its tokens."""
        if any(layer.mixes is not None and layer.mixes.keeps is not None for layer in self.layers):
            raise SpecError(
                "model: its stream is narrowed by what every token says, and some go no further; narrow it before its "
                "layers keep tokens"
            )
        left = tuple(self.hidden[channel] for channel in channels)
        narrow(self.model, self._stream(), channels, self._texts)
        setattr(self.model, KEPT_HIDDEN, left)

    def _stream(self) -> Stream:
        parts = self._embeddings
        tables = (parts.word, parts.position, *parts.constant) if parts.projection is None else ()
        writers = [
            block[-1].linear for layer in self.layers for block in (layer.attention, layer.feed_forward) if block
        ]
        if parts.projection is not None:
            writers.append(parts.projection.linear)
        sources = [parts.norm if parts.projection is None else parts.projection.module]
        readers: list[tuple[Slot, ...]] = []
        for layer in self.layers:
            if layer.mixes is not None:
                sources.append(layer.mixes.norm)
                readers.append((layer.mixes.query, layer.mixes.key, layer.mixes.value))
            if layer.feeds is not None:
                sources.append(layer.feeds.norm)
                readers.append((layer.feeds.up,))
        readers.append(tuple(self._head[:1]))
        readings = (
            Reading(source, tuple(slot.linear for slot in slots))
            for source, slots in zip(sources, readers, strict=True)
        )
        return Stream(tuple(cast(nn.Embedding, slot.module) for slot in tables), tuple(writers), tuple(readings))

    def _cut(self, linear: nn.Linear, *, outputs: Tensor | None = None, inputs: Tensor | None = None) -> nn.Linear:
        """The product with these outputs or inputs only."""
        weight: Tensor = linear.weight
        bias: Tensor = linear.bias
        if outputs is not None:
            weight, bias = weight[outputs], bias[outputs]
        if inputs is not None:
            weight = weight[:, inputs]
        cut = nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # no memory is filled just to be replaced
        for name, tensor in (("weight", weight), ("bias", bias)):
            if self._linked:
                delattr(cut, name)
                setattr(cut, name, tensor)
            else:
                setattr(cut, name, nn.Parameter(tensor.detach().contiguous()))
        return cut

    def factor(self, slots: Sequence[Slot], method: Factoring) -> None:
        """These products are held as two factors from now on, as far as the method takes them apart: after heads and
        channels are cut, and before anything is quantized. It is told what the model's texts show of each, as the model
        is when the first product is taken apart."""
        names = {id(module): name for name, module in self.model.named_modules()}
        if self._moments is None:
            self._moments = moments(self.model, self._products(), self._texts)
        for slot in slots:
            seen = self._moments.get(names[id(slot.module)])
            slot.put(factored(slot.linear, (slot.linear.out_features,), method, seen))

    def make_sparse(self, slots: Sequence[Slot], sparsity: Sparsity, criterion: Criterion) -> None:
        """Of these products the weights that matter least are zero from now on, and stay so: after heads and channels
        are cut, and before anything is quantized. How much inputs matter is told by the model's texts, as the model is
        when the first product is made sparse by it."""
        names = {id(module): name for name, module in self.model.named_modules()}
        if self._powers is None and criterion == "wanda":
            self._powers = powers(self.model, self._products(), self._texts)
        for slot in slots:
            power = (self._powers or {}).get(names[id(slot.module)])
            slot.put(sparse(slot.linear, (slot.linear.out_features,), power, sparsity, criterion))

    def _products(self) -> dict[str, Product]:
        """All products of layers, by name, to be watched."""
        names = {id(module): name for name, module in self.model.named_modules()}
        slots = [slot for group in self._sharing() for slot in group]
        return {names[id(slot.module)]: Product(slot.module, self._is_last(slot)) for slot in slots}

    def keep_rows(self, tokens: Sequence[int]) -> None:
        """Only the rows of these tokens of the uncompressed model stay in the table of words, in the given order. The
        model reads the same tokens as before, until it is told to `renumber`."""
        self._embeddings.word.put(KeptRows(self.word_embeddings, tokens))

    def renumber(self) -> None:
        """From now on it reads the tokens of the tokenizer that is deployed with it, whose numbers are those of the
        rows that are left."""
        renumber(self.model.modules())

    def quantize_embeddings(self, *, bits: Rounded = 8) -> None:
        """The rows of word embeddings are rounded from now on."""
        self._embeddings.word.put(Int8Embedding(self.word_embeddings, bits=bits))

    def quantize(
        self,
        slots: Sequence[Slot],
        *,
        bits: Rounded = 8,
        calibration: Calibration | None = None,
        smoothing: float | None = None,
    ) -> None:
        """These products compute in int8 from now on, with weights stored in 8 bits or fewer. Which layer is the last
        must be settled by then.

        With a `calibration` the range of their inputs is fixed, by what the model's texts show as it is when the first
        product is quantized so; otherwise it is dynamic. `smoothing` is the strength of `calibration.relief`.
        Raises CandidateError when that takes texts and there are none.
        """
        if not any(isinstance(module, Int8Linear) for module in self.model.modules()):
            self.model.register_forward_pre_hook(tell_padding, with_kwargs=True)
        names = {id(module): name for name, module in self.model.named_modules()}
        asked = {one for slot in slots for one in slot.multiplied}
        for group in self._sharing():
            chosen = [slot for slot in group if slot in asked]
            if not chosen:
                continue
            name = names[id(group[0].module)]
            limits = self._limits(name, calibration, smoothing) if calibration else None
            relief = self._relief(name, smoothing) if smoothing is not None else None
            for slot in chosen:
                slot.put(
                    Int8Linear(
                        slot.linear,
                        bits=bits,
                        first_token=self._is_last(group[0]),
                        limits=limits,
                        relief=relief,
                        calibration=calibration,
                        smoothing=smoothing,
                    )
                )

    def settled(self) -> dict[str, Tensor]:
        """What calibration found, by the names of products: with it the same policy quantizes the same weights alike
        where there are no texts. Limits are two values, a relief is one for each input."""
        found = {}
        for name, module in self.model.named_modules():
            if isinstance(module, Int8Linear):
                both = {_LIMITS: module.limits, _RELIEF: module.relief}
                found.update({name + kind: value for kind, value in both.items() if value is not None})
        return found

    def _sharing(self) -> list[tuple[Slot, ...]]:
        """The products, those of one input together. Of two factors the first has that input, the second its own."""
        found: list[tuple[Slot, ...]] = []
        for layer in self.layers:
            for group in layer.sharing:
                found.append(tuple(slot.multiplied[0] for slot in group))
                found += [(behind,) for slot in group for behind in slot.multiplied[1:]]
        return found

    def _is_last(self, slot: Slot) -> bool:
        """Whether the deployed graph computes a product for the first token alone."""
        last = self.layers[-1]
        if self.reads != "first":
            return False
        alone = [one for whole in (*last.attention[3:], *last.feed_forward) for one in whole.multiplied]
        return slot in (*alone, *(last.mixes.query.multiplied[1:] if last.mixes else ()))

    def _limits(self, name: str, calibration: Calibration, smoothing: float | None) -> Tensor | None:
        """None where all is settled and this is not: then a later step quantizes the product otherwise."""
        if self._settled is not None:
            return self._settled.get(name + _LIMITS)
        return limits(self._inputs(smoothing)[name], calibration)

    def _relief(self, name: str, smoothing: float) -> Tensor | None:
        """As `_limits`."""
        if self._settled is not None:
            return self._settled.get(name + _RELIEF)
        return self._reliefs(smoothing)[name]

    def _reliefs(self, smoothing: float) -> dict[str, Tensor]:
        names = {id(module): name for name, module in self.model.named_modules()}
        found = {}
        for group in self._sharing():
            channels = self._inputs(None)[names[id(group[0].module)]].channels
            found[names[id(group[0].module)]] = relief(channels, [slot.linear.weight for slot in group], smoothing)
        return found

    def _inputs(self, smoothing: float | None) -> dict[str, Inputs]:
        """What goes into the products that share an input, by the name of the first."""
        if smoothing not in self._seen:
            names = {id(module): name for name, module in self.model.named_modules()}
            products = {
                names[id(group[0].module)]: Product(group[0].module, self._is_last(group[0]))
                for group in self._sharing()
            }
            reliefs = {} if smoothing is None else self._reliefs(smoothing)
            self._seen[smoothing] = observe(self.model, products, self._texts, reliefs)
        return self._seen[smoothing]

    def weights(self) -> EncoderWeights:
        """The model as plain arrays, to be deployed."""
        parts, table = self._embeddings, self.word_embeddings
        positions = _table(parts.position)[self.family.first_position(self.model.config) :]
        two_texts, types = bool(getattr(self.model.config, "two_texts", False)), None
        for slot in parts.constant:
            if two_texts and slot.name == _TYPES:
                types = _table(slot)
            else:
                positions = positions + _table(slot)[0]
        projection = None if parts.projection is None else _linear(parts.projection)
        return EncoderWeights(
            EmbeddingWeights(
                array_of(table.weight),
                positions,
                _norm(parts.norm),
                table.bits if isinstance(table, Int8Embedding) else 32,
                projection,
                types,
            ),
            tuple(map(_layer_weights, self.layers)),
            self.family.activation(self.model.config),
            tuple(_linear(slot) for slot in self._head),
            self.family.head_activation,
            self.reads,
        )


def _layer_parts(layer: LayerParts) -> Iterator[Part]:
    where: Mapping[str, Any] = {"stack": STACK, "layer": layer.index}
    name = f"{STACK}.{layer.index}"
    if layer.mixes is not None:
        block = layer.mixes
        matrices = tuple(
            _matrix(role, slot, "sources" if role in ("key", "value") else "targets")
            for role, slot in zip(("query", "key", "value", "output"), block.products, strict=True)
        )
        mixing = Mixing(block.heads, block.head_size, block.heads, block.form, block.keeps)
        yield Part(f"{name}.attention", "attention", matrices, _numbers(block.norm), mixing=mixing, **where)
    if layer.feeds is not None:
        matrices = tuple(
            _matrix(role, slot, "targets") for role, slot in zip(("up", "down"), layer.feed_forward, strict=True)
        )
        yield Part(f"{name}.feed_forward", "feed_forward", matrices, _numbers(layer.feeds.norm), **where)


def _numbers(norm: nn.LayerNorm) -> int:
    return 2 * int(norm.normalized_shape[0])


def _matrix(name: str, slot: Slot, at: Place) -> Matrix:
    linear, storage = slot.linear, PLAIN
    if isinstance(found := slot.multiplied[0].module, Int8Linear):
        activations: Activations = "dynamic" if found.limits is None else "static"
        storage = Storage(found.bits, activations, found.calibration, found.smoothing)
    rank = slot.module.ranks[0] if isinstance(slot.module, Factored) else None
    sizes = linear.in_features, linear.out_features
    return Matrix(name, *sizes, at, storage=storage, rank=rank, sparsity=sparsity_of(slot.module))


def _layer_weights(parts: LayerParts) -> LayerWeights:
    attention = feed_forward = None
    if block := parts.mixes:
        query, key, value, output = map(_linear, block.products)
        norm, bits = _norm(block.norm), bits_of(block.products)
        forms: dict[str, Any] = {"form": block.form, "keeps": block.keeps}
        attention = AttentionWeights(query, key, value, output, norm, block.heads, bits, **forms)
    if wide := parts.feeds:
        up, down = map(_linear, wide.products)
        feed_forward = FeedForwardWeights(up, down, _norm(wide.norm), bits_of(wide.products))
    return LayerWeights(attention, feed_forward)


def _table(slot: Slot) -> Array:
    return array_of(cast(nn.Embedding, slot.module).weight)


def _linear(slot: Slot) -> Linear:
    (found,) = linears_of(slot.module)
    return found


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(array_of(norm.weight), array_of(norm.bias), norm.eps)


def _refuse_other_forms(config: Any, activation: str) -> None:
    """Raises SpecError for what a family allows and the deployed graph does not build: a mask that hides later tokens,
    positions that are not looked up, other activations."""
    if activation not in ACTIVATIONS:
        raise SpecError(
            f"model: its feed-forward blocks use the activation {activation!r}, which the graph does not write "
            f"(allowed: {', '.join(ACTIVATIONS)}); take a checkpoint with one of these"
        )
    if getattr(config, "is_decoder", False):
        raise SpecError(
            "model: its config has `is_decoder: true`, so every token attends to earlier ones alone; the graph masks "
            "padding only (allowed: false); take an encoder of this family"
        )
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        raise SpecError(
            f"model: its config has `position_embedding_type: {positions}`; the graph adds a row of a table to each "
            "token (allowed: absolute); take a checkpoint that was trained so"
        )
