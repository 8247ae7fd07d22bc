"""What a family of models looks like, as data: where its parts lie and what each of their tensors is for.

Sizes are read off the model; a family says only what introspection cannot know. All paths are of the installed
transformers' modules, those inside a layer relative to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autocompress.core.parts import Kind
from autocompress.core.task_kinds import Modality

Order = Literal["pre", "post"]
"""Whether a block normalises what goes in, or the sum of that and what comes out."""

Counts = Literal["heads", "channels", "queries"]
"""What an attention module counts in an attribute of its own: its heads, their channels together, the queries that
share a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a layer. `products` are its matrices in the order they are computed, role -> path: `query`, `key`,
    `value`, `output`; `up`, `down`; `gate`, `up`, `down`. Several roles in one module are joined with a plus:
    `query+key+value`. The parameters of `vectors` are held singly: norms, layer scales; those of `tables` are looked
    up. `optional` products are those that some configs have. Of several blocks of one name a model has the first whose
    products are all there.
    """

    name: str
    kind: Kind
    products: Mapping[str, str]
    vectors: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    optional: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[str, Counts] = field(default_factory=dict)
    position_bias: Literal["given", "found"] | None = None
    bias_table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Layers of the same blocks. `heads` names the config's attribute with their number; `head_size` and
    `key_value_heads` theirs, where they do not follow from it. With `shared`, the list at `path` holds fewer modules
    than the config's `shared` attribute says there are layers: each stands for equally many. `listed` is an attribute
    of the config with one entry a layer that is read by their places. `masked_by` is the model's argument that says
    which of the stack's positions are real, `memory_masked_by` which of those that its cross-attention attends to.
    """

    name: str
    path: str
    blocks: tuple[Block, ...]
    order: Order
    heads: str = "num_attention_heads"
    head_size: str | None = None
    key_value_heads: str | None = None
    shared: str | None = None
    listed: str = ""
    masked_by: str = "attention_mask"
    memory_masked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What stands before a stack: tables that tokens are looked up in, patches of an image, convolutions over sound.

    `products` are computed at every source; the first of them are convolutions that shrink their input where `strides`
    say by how much, or name the config's attribute that does. A star in a path stands for every module of a list. What
    a checkpoint's config leaves out may be missing.
    """

    name: str
    kind: Kind
    stack: str = ""
    tables: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    strides: str | tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What it takes beside its parts to write the graph of a family's classifiers node by node: for one stack of blocks
    that `deploy.blocks` knows. `activation` names the config's attribute with that of the layers, `pre_norm` the one
    that turns a post-norm stack into a pre-norm one. `rotary` is the path of the module that holds frequencies by kind
    of layer, for families whose attention turns by them; layers of several kinds say by `attention_type` which they
    are, and attend to the config's `sliding_window` where that is `sliding_attention`.

    `head` are dense layers by path from the whole model, `head_activation` the config's attribute with what bends the
    results of all but the last, or where none says it `head_bent` does, and `head_norm` what normalises them then.
    Whether they stand on the first position, on the mean of all or on each the model says. Norms that are `by_square`
    divide by the root of the mean square alone.
    """

    activation: str = "hidden_act"
    pre_norm: str = ""
    rotary: str = ""
    head: tuple[str, ...] = ()
    head_activation: str = ""
    head_bent: str = ""
    head_norm: str = ""
    by_square: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`model_type` is the config's. `fronts` and `ends` lie outside of the stacks: `ends` are norms and tables that
    belong to all layers, by stack, and `heads` everything behind, a pooler among it. What a task adds to the base model
    is found there and needs no name. A classifier whose head `reads_first` has its answer from the first position of
    the last layer alone. Without a `writing` it is deployed by tracing.
    What it `reads` is said where patches are none of images.
    """

    model_type: str
    stacks: tuple[Stack, ...]
    fronts: tuple[Front, ...]
    ends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    reads_first: bool = False
    writing: Writing | None = None
    reads: Modality | None = None

    @property
    def modality(self) -> Modality:
        """What it reads: what stands before its first stack tells, where nothing else does."""
        kinds: dict[Kind, Modality] = {"patches": "image", "conv_front": "audio"}
        return self.reads or kinds.get(self.fronts[0].kind, "text")
