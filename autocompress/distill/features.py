"""What a model computes on the way to its answer, taken down as it passes by.

The fused attention implementation returns no maps and the eager one is slow; queries and keys are enough to compute the
scores from, whatever implementation the model runs with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor, nn

from autocompress.anatomy import Anatomy
from autocompress.anatomy.finding import LayerParts
from autocompress.errors import SpecError

Part = Literal["query", "key", "value", "hidden", "embeddings"]
PARTS: tuple[Part, ...] = get_args(Part)


class Features:
    """The tensors of one forward pass. Layers are named by their place in the model as it is now."""

    def __init__(self, head_sizes: tuple[int, ...]) -> None:
        self._head_sizes = head_sizes
        self._tensors: dict[tuple[Part, int], Tensor] = {}
        self._scores: dict[int, Tensor] = {}

    def of(self, part: Part, layer: int = 0) -> Tensor:
        """The queries, keys or values [texts, length, heads * head size] of a layer, its output or, of no layer, that
        of the embeddings [texts, length, hidden]. Raises KeyError for what was not recorded."""
        return self._tensors[part, layer]

    def scores(self, layer: int) -> Tensor:
        """Attention scores before the softmax in fp32, [texts, heads, length, length], padding included."""
        if layer not in self._scores:
            query, key = (self._by_head(self.of(part, layer), layer) for part in ("query", "key"))
            self._scores[layer] = query @ key.transpose(-1, -2) * self._head_sizes[layer] ** -0.5
        return self._scores[layer]

    def _by_head(self, vectors: Tensor, layer: int) -> Tensor:
        texts, length, _ = vectors.shape
        return vectors.float().reshape(texts, length, -1, self._head_sizes[layer]).transpose(1, 2)

    def _take(self, part: Part, layer: int, _: nn.Module, __: Any, output: Any) -> None:
        self._tensors[part, layer] = output[0] if isinstance(output, tuple) else output


@contextmanager
def recorded(
    anatomy: Anatomy, parts: Collection[Part] = PARTS, *, layers: Collection[int] | None = None
) -> Iterator[Features]:
    """Fills `Features` during the forward pass made inside, of the wanted `parts` and `layers` (all, by default): what
    is recorded stays in memory. Gradients flow through recorded tensors."""
    _refuse_unlike_layers(anatomy, parts)
    features = Features(tuple(layer.mixes.head_size if layer.mixes else 0 for layer in anatomy.layers))
    wanted = range(len(anatomy.layers)) if layers is None else sorted(layers)
    with ExitStack() as stack:
        for place in wanted:
            for part, module in _modules(anatomy.layers[place]).items():
                if part in parts:
                    _hook(stack, module, partial(features._take, part, place))
        if "embeddings" in parts:
            _hook_embedded(stack, anatomy, features)
        yield features


def _refuse_unlike_layers(anatomy: Anatomy, parts: Collection[Part]) -> None:
    """Raises SpecError where what is to be recorded is not there for every layer by itself."""
    layers, name = anatomy.layers, anatomy.family.model_type
    joined = [layer.mixes for layer in layers if layer.mixes and layer.mixes.query == layer.mixes.key]
    if not {"query", "key", "value"}.isdisjoint(parts) and joined:
        raise SpecError(
            f"distillation: {name} computes queries, keys and values in one product, so `attention` and `relations` "
            "find none to compare (allowed: hidden, embeddings); leave them out"
        )
    if set(parts) - {"embeddings"} and len({id(layer.module) for layer in layers}) < len(layers):
        raise SpecError(
            f"distillation: the layers of {name} are one module computed several times, so none can be compared by "
            "itself (allowed: embeddings); leave `attention`, `relations` and `hidden` out"
        )


def _modules(layer: LayerParts) -> dict[Part, nn.Module]:
    hidden: dict[Part, nn.Module] = {"hidden": layer.module}
    if (block := layer.mixes) is None:
        return hidden
    return hidden | {"query": block.query.module, "key": block.key.module, "value": block.value.module}


def _hook_embedded(stack: ExitStack, anatomy: Anatomy, features: Features) -> None:
    """What goes into the first layer, where no module puts it out."""
    if (module := anatomy.embedded) is not None:
        _hook(stack, module, partial(features._take, "embeddings", 0))
        return

    def take(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        features._take("embeddings", 0, layer, None, given)

    stack.callback(anatomy.layers[0].module.register_forward_pre_hook(take).remove)


def _hook(stack: ExitStack, module: nn.Module, take: Callable[..., None]) -> None:
    stack.callback(module.register_forward_hook(take).remove)
