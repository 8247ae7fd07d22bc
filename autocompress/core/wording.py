"""A model in words."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Final

from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.parts import ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.storage import PRECISION, Bits, width

NOT_FASTER: Final = (
    "zeros are not stored, but put back as a file is loaded and computed like other weights: they make it smaller, and "
    "are not faster here"
)
"""What must be said wherever a sparse model's latency is."""

BITS_NOT_FASTER: Final = (
    "fewer bits than 8 are unpacked as a file is loaded, rows of embeddings as they are looked up, and computed like "
    "8: they make it smaller, and are not faster here"
)
"""What must be said wherever the latency of a model in so few bits is."""


def describe(model: ModelParts) -> str:
    """In one line: `4 layers (0, 1, 3, 5), heads 6 6 3 9, feed-forward 768 384 768 1536, int8`."""
    bits = {one.storage.bits for part in model.blocks() for one in part.matrices}
    layers = "/".join(PRECISION[b] for b in sorted(bits, key=width)) or "fp32"
    if any(one.storage.activations == "static" for part in model.blocks() for one in part.matrices):
        layers += " (static)"
    table = "" if {table_bits(model)} == bits else f", {PRECISION[table_bits(model)]} embeddings"
    runtime = "" if model.runtime == DEFAULT_RUNTIME else f", in {model.runtime}"
    heads, channels = (_sizes(units(model, axis)) for axis in ("heads", "channels"))
    said = halves(model), attention_forms(model), kept_tokens(model), ranks(model), zeros(model)
    more = "".join(f", {told}" for told in said if told)
    return f"{_kept(model)}, heads {heads}, feed-forward {channels}{more}, {layers}{table}{runtime}"


def units(model: ModelParts, axis: str) -> list[int]:
    """How many heads or channels each block has that has any, in order."""
    return [part.units[axis] for part in model.blocks() if axis in part.units]


def halves(model: ModelParts) -> str:
    """`2 layers without attention, 1 without feed-forward`; empty where every layer has both."""
    kinds = [
        {part.kind for part in model.of_layer(stack, one)} for stack in model.stacks for one in model.layers(stack)
    ]
    without = {
        "attention": sum("attention" not in found for found in kinds),
        "feed-forward": sum(found.isdisjoint(("feed_forward", "gated")) for found in kinds),
    }
    told = [f"{count} {{}}without {name}" for name, count in without.items() if count]
    if not told:
        return ""
    named = "layer " if told[0].startswith("1 ") else "layers "
    return ", ".join([told[0].format(named), *(one.format("") for one in told[1:])])


def attention_forms(model: ModelParts) -> str:
    """`attention local, window 64, 1 global in 5 of 6 layers`; empty where every position sees all."""
    blocks = [part.mixing.form for part in model.blocks() if part.mixing is not None]
    counted = collections.Counter(str(form) for form in blocks if form != FULL_ATTENTION)
    told = (f"{form} in {times} of {len(blocks)} layers" for form, times in sorted(counted.items()))
    return f"attention {'; '.join(told)}" if counted else ""


def kept_tokens(model: ModelParts) -> str:
    """`50 % of tokens kept behind layers.2, 8 tokens kept behind layers.4`; empty where all go on."""
    kept = ((part.layer_name, part.mixing.keeps) for part in model.blocks() if part.mixing is not None)
    return ", ".join(f"{one} kept behind {layer}" for layer, one in kept if one is not None)


def ranks(model: ModelParts) -> str:
    """`rank 48 to 96 in 6 of 12 blocks`; empty where no matrix is held as two factors."""
    blocks = list(model.blocks())
    found = [[one.rank for one in part.matrices if one.rank is not None] for part in blocks]
    every = sorted({rank for block in found for rank in block})
    if not every:
        return ""
    span = str(every[0]) if len(every) == 1 else f"{every[0]} to {every[-1]}"
    return f"rank {span} in {sum(map(bool, found))} of {len(blocks)} blocks"


def zeros(model: ModelParts) -> str:
    """`50 to 75 % zeros (2:4, unstructured) in 6 of 12 blocks`; empty where no matrix is sparse."""
    blocks = list(model.blocks())
    found = [{one.sparsity for one in part.matrices if one.sparsity is not None} for part in blocks]
    every = {sparsity for block in found for sparsity in block}
    if not every:
        return ""
    shares = sorted({f"{100 * sparsity.share:.3g}" for sparsity in every}, key=float)
    patterns = ", ".join(sorted({sparsity.pattern for sparsity in every}))
    span = " to ".join(dict.fromkeys((shares[0], shares[-1])))
    return f"{span} % zeros ({patterns}) in {sum(map(bool, found))} of {len(blocks)} blocks"


def table_bits(model: ModelParts) -> Bits:
    """Of the first table, 32 where there is none."""
    return next((part.tables[0].storage.bits for part in model.parts if part.tables), 32)


def _kept(model: ModelParts) -> str:
    one, *others = [(stack, model.layers(stack)) for stack in model.stacks] or [("", ())]
    found = [f"{len(layers)} layers ({', '.join(map(str, layers))})" for _, layers in (one, *others)]
    named = (f"{stack} {text}" for (stack, _), text in zip((one, *others), found, strict=True))
    return ", ".join(named) if others else found[0]


def _sizes(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else " ".join(map(str, values)) or "none"
