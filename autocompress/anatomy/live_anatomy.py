"""The parts of a model whose layers are other than BERT's: found and cut through `LiveModel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast, final

from torch import Tensor, nn

from autocompress.anatomy.anatomy import Anatomy, Block
from autocompress.anatomy.blueprint import at, base_of, head_size_of, stacks_of
from autocompress.anatomy.calibration import Batches
from autocompress.anatomy.factored import Factoring
from autocompress.anatomy.family import Family
from autocompress.anatomy.finding import AttentionSlots, FeedForwardSlots, LayerParts, Slot
from autocompress.anatomy.heads import reads_of
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.refusing import family_of
from autocompress.anatomy.sparse import Criterion
from autocompress.anatomy.weights import EncoderWeights
from autocompress.anatomy.written import why_not_written, written_weights
from autocompress.core.encoders import STACK, with_stack
from autocompress.core.parts import ModelParts, Storage
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import Calibration, Rounded
from autocompress.errors import CandidateError, SpecError

_ATTENTION: Final = ("query", "key", "value", "output")


@final
class LiveAnatomy(Anatomy):
    """An `Anatomy` of any family that `LiveModel` knows, of one stack of layers with an attention and a feed-forward
    block each, which are called `layers` here whatever the family calls its stack. Products that are one in the model
    are one slot under several names."""

    def __init__(
        self,
        model: nn.Module,
        families: dict[str, Family],
        *,
        linked: bool = False,
        texts: Batches = (),
        settled: Mapping[str, Tensor] | None = None,
    ) -> None:
        """As of `Anatomy`."""
        self.family = family_of(str(model.config.model_type), families)  # type: ignore[union-attr]
        self.model, self.reads = model, reads_of(model)
        self.live = LiveModel(model, linked=linked, batches=texts, known=settled)
        self._families, self._linked = families, linked
        self._texts, self._settled = texts, settled
        self.runtime = DEFAULT_RUNTIME
        self._stack_name = self._only_stack()
        self.layers = self._find_layers()

    def _over(self, model: nn.Module, *, linked: bool = False) -> Anatomy:
        copied = LiveAnatomy(model, self._families, linked=linked, texts=self._texts, settled=self._settled)
        copied.runtime = self.runtime
        return copied

    def _only_stack(self) -> str:
        """What its family calls the stack. Raises SpecError where there are several."""
        names = tuple(stacks_of(self.model, self.live.family))
        if len(names) > 1:
            raise SpecError(
                f"model: a {type(self.model).__name__} has {len(names)} stacks of layers ({', '.join(names)}); a study "
                "takes a classifier of one"
            )
        return names[0]

    def _find_layers(self) -> list[LayerParts]:
        name = self._stack_name
        modules = stacks_of(self.model, self.live.family)[name]
        (stack,) = (one for one in self.live.family.stacks if one.name == name)
        size = head_size_of(self.model.config, stack)
        return [self._layer(index, module, size) for index, module in zip(self.live.layers(name), modules, strict=True)]

    def _layer(self, index: int, module: nn.Module, head_size: int) -> LayerParts:
        name = f"{self._stack_name}.{index}"
        attention = self.live.products(f"{name}.attention")
        both = [*attention, *self.live.products(f"{name}.feed_forward")]
        slots = {role: product.slot for product in both for role in product.roles}
        query, key, value, output = (slots[role] for role in _ATTENTION)
        norm = nn.LayerNorm(1)  # which nobody reads: the written graph has its own from the family's data
        heads, keys = self.live.head_counts(attention, head_size)
        mixes = AttentionSlots(query, key, value, output, norm, head_size, heads // keys)
        return LayerParts(index, module, mixes, FeedForwardSlots(slots["up"], slots["down"], norm))

    # What it is

    @property
    def word_embeddings(self) -> nn.Embedding:
        if not self.reads_words:
            raise SpecError(f"model: a {self.family.model_type} reads no words, so it has no table of them")
        return cast(nn.Embedding, next(iter(self.live.token_tables().values())).module)

    @property
    def reads_words(self) -> bool:
        return bool(self.live.token_tables())

    @property
    def embedded(self) -> nn.Module | None:
        base = base_of(self.model)
        fronts = [front for front in self.live.family.fronts if front.kind == "embedding"]
        found = [module for front in fronts for path in front.products if (module := at(base, path)) is not None]
        return cast(nn.Module | None, found[-1] if found else at(base, "embeddings"))

    def shape(self) -> ModelParts:
        return replace(with_stack(self.live.parts(), STACK), runtime=self.runtime, read=self.live.read)

    def settled(self) -> dict[str, Tensor]:
        return self.live.settled()

    @property
    def is_written(self) -> bool:
        return not why_not_written(self.live)

    def weights(self) -> EncoderWeights:
        """Raises SpecError where its blocks are none that we write."""
        return written_weights(self.live)

    # What is done to it

    def keep_layers(self, indices: Sequence[int]) -> None:
        self.live.keep_layers(self._stack_name, indices)
        self.layers = self._find_layers()

    def remove_block(self, index: int, block: Block) -> None:
        raise CandidateError(f"model: the blocks of a {self.family.model_type} cannot go by themselves")

    def keep_heads(self, index: int, heads: Sequence[int]) -> None:
        self.live.keep_heads(f"{self._stack_name}.{index}.attention", heads)

    def keep_channels(self, index: int, channels: Sequence[int]) -> None:
        self.live.keep_channels(f"{self._stack_name}.{index}.feed_forward", channels)

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.live.hidden

    def keep_hidden(self, channels: Sequence[int]) -> None:
        self.live.keep_hidden(channels)

    def keep_rows(self, tokens: Sequence[int]) -> None:
        self.live.keep_rows(tokens)

    def factor(self, slots: Sequence[Slot], method: Factoring) -> None:
        self.live.factor(self._names(slots), method)

    def make_sparse(self, slots: Sequence[Slot], sparsity: Sparsity, criterion: Criterion) -> None:
        self.live.make_sparse(self._names(slots), sparsity, criterion)

    def quantize_embeddings(self, *, bits: Rounded = 8) -> None:
        self.live.quantize_embeddings(bits)

    def quantize(
        self,
        slots: Sequence[Slot],
        *,
        bits: Rounded = 8,
        calibration: Calibration | None = None,
        smoothing: float | None = None,
    ) -> None:
        storage = Storage(bits, "static" if calibration else "dynamic", calibration, smoothing)
        self.live.quantize(self._names(slots), storage)

    def _names(self, slots: Sequence[Slot]) -> list[str]:
        """Of the blocks that hold any of these."""
        asked = set(slots)
        return [
            f"{self._stack_name}.{layer.index}.{block}"
            for layer in {layer.module: layer for layer in reversed(self.layers)}.values()  # the first of shared ones
            for block, of_it in (("attention", layer.attention), ("feed_forward", layer.feed_forward))
            if asked.intersection(of_it)
        ]
