"""What the time of a block depends on, and nothing else: blocks of one signature share the rows of a profile, so a
block of a new form is measured without a new table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.parts import Kind, Part
from autocompress.core.storage import PLAIN, Storage, arithmetic


@dataclass(frozen=True, slots=True)
class Signature:
    """A block's kind, the width of the stream that it reads, the channels of its heads and the queries that share a
    key (0 where it has none), and how it is held, as far as that takes time. `few` where it computes the targets that
    are read alone, over all sources: in the last layer. `positions` are the products that an attention has for
    positions beside those for what is said there; `rank` is that of all its matrices, 0 where they are whole; `form` is
    that of its attention."""

    kind: Kind
    width: int
    head_size: int = 0
    queries_per_key: int = 0
    storage: Storage = PLAIN
    few: bool = False
    positions: int = 0
    rank: int = 0
    form: AttentionForm = FULL_ATTENTION

    @property
    def sizes(self) -> str:
        """`attention of 12 heads`: what the size of such a block counts."""
        return "heads" if self.head_size else "channels"


def signature(part: Part, *, few: bool = False) -> tuple[Signature, int]:
    """A block's signature and its size: heads, or channels between its products.

    Raises ValueError for a block of another form than any that is measured: with other matrices than its kind has, or
    with some of them held otherwise than the others, or in another rank. That an attention keeps some of its positions
    alone is not told here: finding them takes as long whatever it is held in.
    """
    if len(part.storages) != 1:
        raise ValueError(f"{part.name}: its matrices are held in several ways, which was not measured")
    ranks = {one.rank or 0 for one in part.matrices}
    if len(ranks) != 1:
        held = ", ".join(f"{one.name} {one.rank or 'whole'}" for one in part.matrices)
        raise ValueError(f"{part.name}: its matrices have several ranks ({held}), which was not measured")
    (rank,) = ranks
    storage, width = timed(part.storages[0]), part.matrices[0].inputs
    if part.mixing is not None:
        heads, keys, size = part.mixing.heads, part.mixing.key_value_heads, part.mixing.head_size
        query, key = (width, heads * size), (width, keys * size)
        form: tuple[tuple[int, int], ...] = (query, key, key, (heads * size, width))
        found, count = Signature(part.kind, width, size, heads // keys, storage, few, rank=rank), heads
        if part.mixing.form != FULL_ATTENTION:
            mixed = part.mixing.form.at_the_end if few else part.mixing.form
            found = replace(found, form=mixed.timed)
        if len(part.matrices) > len(form):  # positions have products of their own
            by_name = dict(zip(("query", "key", "value", "output"), form, strict=True))
            by_name |= {"position_query": query, "position_key": key}
            form = tuple(by_name[one.name] for one in part.matrices if one.name in by_name)
            found = replace(found, positions=len(form) - 4)
    else:
        count = part.matrices[-1].inputs
        form = (*((width, count),) * (2 if part.kind == "gated" else 1), (count, width))
        found = Signature(part.kind, width, 0, 0, storage, few, rank=rank)
    if tuple((one.inputs, one.outputs) for one in part.matrices) != form:
        raise ValueError(f"{part.name}: a block of {len(part.matrices)} products of its sizes was not measured")
    return found, count


def timed(storage: Storage) -> Storage:
    """A storage as far as it takes time: packed numbers are unpacked before, and how ranges were found is past."""
    if storage.bits == 32 and storage == PLAIN:
        return storage
    return replace(storage, bits=arithmetic(storage), calibration=None, smoothing=None)
