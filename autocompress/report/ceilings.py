"""What a device's arithmetic allows at best: the yardstick beside every measured or modelled latency."""

from __future__ import annotations

from dataclasses import replace

from autocompress.core.device import Block, Ceilings, KernelRow, KernelTable
from autocompress.core.shape import (
    Arithmetic,
    AttentionShape,
    Bits,
    FeedForwardShape,
    LayerShape,
    ModelShape,
    macs_by_bits,
)
from autocompress.core.workload import Workload

_NOTHING = ModelShape("", hidden=1, word_rows=0, other_rows=0, lookups=0, layers=(), head_widths=())


def layer_alone(hidden: int, attention: AttentionShape | None, feed_forward: FeedForwardShape | None) -> ModelShape:
    """A model of one layer, or of one of its blocks, and nothing else."""
    layer = LayerShape(0, attention or AttentionShape(0, 1), feed_forward or FeedForwardShape(0))
    return replace(_NOTHING, hidden=hidden, layers=(layer,))


def block_macs(table: KernelTable, block: Block, bits: Bits, size: int) -> dict[Arithmetic, int]:
    """Multiply-accumulates of one block under the table's workload, by the precision they run in; none for `base`."""
    load = table.workload
    attention = AttentionShape(size, table.head_size, bits) if block.endswith("attention") else None
    feed_forward = FeedForwardShape(size, bits) if block.endswith("feed_forward") else None
    layer = layer_alone(table.hidden, attention, feed_forward)
    return macs_by_bits(layer, batch=load.batch, length=load.length, every_token=not block.startswith("last_"))


def least_ms(table: KernelTable, ceilings: Ceilings, block: Block, bits: Bits, size: int) -> float:
    """Milliseconds that a block's arithmetic takes at the ceiling of the workload's threads."""
    counted = block_macs(table, block, bits, size)
    return sum(count / rate(ceilings, precision, table.workload) for precision, count in counted.items())


def share_of_ceiling(table: KernelTable, ceilings: Ceilings | None, row: KernelRow) -> float | None:
    """Achieved over possible multiply-accumulates a second; None for what does no arithmetic, or without ceilings."""
    if ceilings is None or row.milliseconds == 0:
        return None
    return least_ms(table, ceilings, row.block, row.bits, row.size) / row.milliseconds or None


def rate(ceilings: Ceilings, bits: Bits, workload: Workload) -> float:
    """Multiply-accumulates a millisecond at the ceiling: one is two operations, and each thread has a core."""
    return 0.5e6 * workload.threads * (ceilings.gops_int8 if bits == 8 else ceilings.gflops_fp32)
