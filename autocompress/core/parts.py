"""A transformer as parts made of matrices: one description for every family, from which every cost follows.

A matrix multiplies rows, and rows stand at positions. Keys and values are computed at the positions that are attended
to, the *sources*; queries, outputs and feed-forward blocks at those whose answer is needed, the *targets*. An encoder
has as many of one as of the other, but for its last layer where the head reads one token alone; a decoder that writes
token by token has one target and many sources, of which all but one were computed before (`Pass`).

Nothing here knows a tensor; `core.cost` counts.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.sparsity import Sparsity
from autocompress.core.storage import PLAIN as PLAIN
from autocompress.core.storage import Storage as Storage  # a part is read together with how it is held

WHOLE: Final = "*"
"""The target of a step that is about the model as a whole."""

Place = Literal["sources", "targets"]
"""The positions that a matrix is computed at."""

Kind = Literal[
    "embedding",
    "patches",
    "conv_front",
    "attention",
    "cross_attention",
    "feed_forward",
    "gated",
    "common",
    "head",
]
"""What a part does. `gated` feed-forward blocks multiply two products of their input (Shazeer 2020, "GLU variants");
a `cross_attention` attends to another stack's output; `common` is what all layers of a stack share or end in."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """`inputs` x `outputs` weights, computed `at` sources or targets, `each` times for one of them: a convolution is
    the matrix of its window, and those of a front end have more positions than the stack behind them. One of a `rank`
    is held, and computed, as two: `inputs` x `rank` and `rank` x `outputs`. With a `sparsity` many of its weights are
    zero, which are not held, but computed."""

    name: str
    inputs: int
    outputs: int
    at: Place = "targets"
    bias: bool = True
    storage: Storage = PLAIN
    each: int = 1
    rank: int | None = None
    sparsity: Sparsity | None = None

    def __post_init__(self) -> None:
        least = min(self.inputs, self.outputs, self.each)
        if least >= 1 and (self.rank is None or self.rank >= 1):  # asked thousands of times a search
            return
        name = "rank" if least >= 1 else next(one for one in ("inputs", "outputs", "each") if getattr(self, one) < 1)
        raise ValueError(f"`{name} >= 1` must hold, got {getattr(self, name)} of matrix {self.name!r}")

    @property
    def factors(self) -> tuple[tuple[int, int], ...]:
        """What is held and multiplied, one after the other: inputs and outputs of each."""
        if self.rank is None:
            return ((self.inputs, self.outputs),)
        return ((self.inputs, self.rank), (self.rank, self.outputs))


@dataclass(frozen=True, slots=True)
class Uses:
    """What texts use of a table of words. `always` many of its rows stay whatever they say, and `used` many are these
    and those of tokens of the training texts. With the `shares[p]` most used rows left, at least p percent of the
    tokens of held-out texts have theirs."""

    always: int
    used: int
    shares: tuple[int, ...]

    @property
    def least(self) -> int:
        """As few rows as may be left: with fewer, texts would be read by characters more than by words."""
        return max(self.always, self.shares[len(self.shares) // 2])

    def share(self, rows: int) -> float:
        """Of the tokens of held-out texts, those that have their row among so many."""
        return sum(needed <= rows for needed in self.shares[1:]) / 100


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` of `width` numbers that are looked up, not multiplied; `uses` where somebody counted them."""

    name: str
    rows: int
    width: int
    storage: Storage = PLAIN
    uses: Uses | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Mixing:
    """What flows between positions: `heads` queries of `head_size` channels over `key_value_heads` keys and values,
    which several queries share where there are fewer (Ainslie et al. 2023, "GQA"); which of them see which its `form`
    says. Where it `keeps` some positions, the others go no further than this block: of full attention alone, as other
    forms have no map that would rank them. What a last layer keeps means nothing: it computes what is read."""

    heads: int
    head_size: int
    key_value_heads: int
    form: AttentionForm = FULL_ATTENTION
    keeps: KeptTokens | None = None

    def __post_init__(self) -> None:
        if self.keeps is not None and self.form != FULL_ATTENTION:
            raise ValueError(
                f"tokens are kept by the map of full attention, and {self.form} attention has none; give the layer "
                "full attention, or let another one keep tokens"
            )
        if not 1 <= self.key_value_heads <= self.heads or self.heads % self.key_value_heads:
            raise ValueError(
                f"`key_value_heads` must divide `heads`, got {self.key_value_heads} of {self.heads}; each key is "
                "shared by equally many queries"
            )

    @property
    def is_usual(self) -> bool:
        """Whether every position sees all, and all go on."""
        return self.form == FULL_ATTENTION and self.keeps is None


@dataclass(frozen=True, slots=True)
class Part:
    """One block. Its name begins with its layer's (`layer_name`), where it lies in one. `vectors` counts the numbers
    held singly in fp32 (normalisation, layer scales, special tokens), of which nothing is compressed. A part with an
    `owner` computes with the weights of the part of that name and has none of its own; `layer` is its place in the
    uncompressed `stack`."""

    name: str
    kind: Kind
    matrices: tuple[Matrix, ...] = ()
    vectors: int = 0
    tables: tuple[Table, ...] = ()
    mixing: Mixing | None = None
    owner: str | None = None
    stack: str = ""
    layer: int | None = None

    @property
    def units(self) -> dict[str, int]:
        """What can be taken away from it, by axis: heads, or channels between its products."""
        if self.mixing is not None:
            return {"heads": self.mixing.heads, "key_value_heads": self.mixing.key_value_heads}
        if self.kind in ("feed_forward", "gated"):
            return {"channels": self.matrices[-1].inputs}
        return {}

    @property
    def storages(self) -> tuple[Storage, ...]:
        """The ways in which it is held (see `with_storage`): one, unless somebody mixed them."""
        looked_up = self.tables and not self.layer_name
        return tuple(dict.fromkeys(one.storage for one in (self.tables[:1] if looked_up else self.matrices)))

    @property
    def layer_name(self) -> str:
        """What a step calls the layer that it lies in: `layers.3`; empty outside of layers."""
        return "" if self.layer is None else f"{self.stack}.{self.layer}"

    def with_storage(self, storage: Storage) -> Part:
        """All of its matrices held so; of a part that is looked up, its first table."""
        if self.tables and not self.layer_name:
            first, *others = self.tables
            return replace(self, tables=(replace(first, storage=storage), *others))
        return replace(self, matrices=tuple(replace(one, storage=storage) for one in self.matrices))


@dataclass(frozen=True, slots=True)
class ModelParts:
    """A model of a `family`: its parts in the order in which data flows, with a stream of `width` numbers a position.

    `runtime` is a name of `core.runtimes`, what it is deployed in. Its head reads the answer at `read` positions, and
    its last layer computes no others (None: at all of them).
    Raises ValueError for two parts of one name, and for an owner that is not there.
    """

    family: str
    width: int
    parts: tuple[Part, ...]
    runtime: str = DEFAULT_RUNTIME
    read: int | None = 1

    def __post_init__(self) -> None:
        names = {part.name for part in self.parts}
        if len(names) < len(self.parts):
            counted = collections.Counter(part.name for part in self.parts)
            twice = [name for name, times in counted.items() if times > 1]
            raise ValueError(f"parts must have names of their own, got {', '.join(twice)} more than once")
        if lost := [part for part in self.parts if part.owner is not None and part.owner not in names]:
            raise ValueError(f"{lost[0].name}: its owner {lost[0].owner!r} is no part of the model")

    def __getitem__(self, name: str) -> Part:
        """Raises KeyError for a part that is not there, or no longer."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return any(part.name == name for part in self.parts)

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.stack for part in self.parts if part.stack))

    @property
    def depth(self) -> int:
        """How many layers it has, of all stacks."""
        return len({(part.stack, part.layer) for part in self.parts if part.layer is not None})

    @property
    def head_size(self) -> int:
        """Channels of a head, of the first part that has any. Raises ValueError where none has."""
        for part in self.parts:
            if part.mixing is not None:
                return part.mixing.head_size
        raise ValueError("the model has no attention")

    @property
    def vocabulary(self) -> int:
        """Rows of its first table, which words are looked up in; 0 where there is none."""
        return next((table.rows for part in self.parts for table in part.tables), 0)

    @property
    def classes(self) -> int:
        """How many numbers its head answers with; 0 without one."""
        return next((part.matrices[-1].outputs for part in reversed(self.parts) if part.kind == "head"), 0)

    def layers(self, stack: str) -> tuple[int, ...]:
        """The layers that a stack has left, by their places in the uncompressed model."""
        found = (part.layer for part in self.parts if part.stack == stack and part.layer is not None)
        return tuple(dict.fromkeys(found))

    def blocks(self, stack: str | None = None) -> Iterator[Part]:
        """The parts of a stack's layers, or of all, in order."""
        return (part for part in self.parts if part.layer is not None and stack in (None, part.stack))

    def of_layer(self, stack: str, layer: int) -> tuple[Part, ...]:
        """The parts of one layer; none once it is removed."""
        return tuple(part for part in self.parts if part.layer == layer and part.stack == stack)

    def targeted(self, target: str) -> tuple[Part, ...]:
        """The parts that a step's target names: one, those of a layer, or with `*` all; none once they are removed."""
        if target == WHOLE:
            return self.parts
        begun = (part for part in self.parts if part.name.startswith(target))
        return tuple(part for part in begun if target in (part.name, part.layer_name))

    def names(self) -> tuple[str, ...]:
        """Every layer and part a step may target, in the order in which data flows."""
        both = ((part.layer_name, part.name) for part in self.parts)
        return tuple(dict.fromkeys(name for names in both for name in names if name))

    def with_part(self, name: str, change: Callable[[Part], Part]) -> ModelParts:
        """The model with one part changed; the same model where there is no such part."""
        return replace(self, parts=tuple(change(part) if part.name == name else part for part in self.parts))

    def without(self, names: frozenset[str]) -> ModelParts:
        """The model without these parts. The first part left of those that shared a removed one's weights owns them
        from then on."""
        kept: list[Part] = []
        heirs: dict[str, str] = {}
        for part in self.parts:
            if part.name in names:
                continue
            if part.owner is not None and part.owner in names:
                heir = heirs.setdefault(part.owner, part.name)
                part = replace(part, owner=None if part.name == heir else heir)
            kept.append(part)
        return replace(self, parts=tuple(kept))


@dataclass(frozen=True, slots=True)
class Pass:
    """One walk through a `stack` and what stands before and behind it: `batch` texts, `sources` positions attended to,
    of which `cached` have their keys and values already, and `targets` positions computed. The stack's last layer and
    the head compute `read` of these alone where the head reads no more; in a `whole` pass the last layer computes all
    of them, as in graphs that nobody rewrote. A stack with cross-attention attends to `memory` positions of another, of
    which `memory_cached` were seen before. It happens `times` times an inference.

    An encoder under a classifier that reads one token: Pass("layers", sources=128, targets=128, read=1).
    A decoder's 100th token: Pass("layers", sources=100, cached=99, targets=1, read=1).
    """

    stack: str
    sources: int
    targets: int
    batch: int = 1
    read: int | None = None
    cached: int = 0
    memory: int = 0
    memory_cached: int = 0
    times: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("sources", "targets", "batch", "times"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {getattr(self, name)}")
        for name, most in (("cached", self.sources), ("memory_cached", self.memory), ("read", self.targets)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"`{name}` must lie between 0 and {most}, got {value}")
