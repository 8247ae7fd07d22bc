"""What a device's arithmetic allows at best: the yardstick beside every measured or modelled latency."""

from __future__ import annotations

from autocompress.core.cost import macs_by_arithmetic
from autocompress.core.device import KINDS, Block, Ceilings, KernelRow, KernelTable
from autocompress.core.encoders import STACK, attention, feed_forward
from autocompress.core.parts import ModelParts, Part, Pass
from autocompress.core.storage import Arithmetic, Bits, Storage
from autocompress.core.workload import Workload


def block_macs(table: KernelTable, block: Block, bits: Bits, size: int) -> dict[Arithmetic, int]:
    """Multiply-accumulates of one block under the table's workload, by the precision they run in; none for `base`."""
    part = _part(table, block, bits, size)
    if part is None:
        return {8: 0, 32: 0}
    return part_macs(part, table.workload, read=1 if block.startswith("last_") else None)


def part_macs(part: Part, load: Workload, *, read: int | None = None) -> dict[Arithmetic, int]:
    """Multiply-accumulates of one block for a batch, by the precision they run in: at every position, or at those that
    are `read` alone."""
    alone = ModelParts("", part.matrices[0].inputs, (part,))
    return macs_by_arithmetic(alone, [Pass(part.stack or STACK, load.length, load.length, load.batch, read)])


def _part(table: KernelTable, block: Block, bits: Bits, size: int) -> Part | None:
    match KINDS.get(block):
        case "attention" | "cross_attention":
            return attention(0, table.hidden, size, table.head_size, Storage(bits))
        case "feed_forward" | "gated" as kind:
            return feed_forward(0, table.hidden, size, Storage(bits), gated=kind == "gated")
    return None


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
