"""Device profiles with round numbers: one that was measured, one that somebody published figures of."""

from __future__ import annotations

from autocompress.core.device import (
    Accuracy,
    Block,
    Ceilings,
    Correction,
    CostModel,
    DeviceProfile,
    EnergyModel,
    KernelRow,
    KernelTable,
    Runtime,
)
from autocompress.core.storage import Bits
from autocompress.core.workload import Workload

CEILINGS = Ceilings(gflops_fp32=20.0, gops_int8=80.0, gbytes_per_second=5.0)


def row(block: Block, bits: Bits, size: int, milliseconds: float) -> KernelRow:
    return KernelRow(block, bits, size, milliseconds, milliseconds - 0.01, milliseconds + 0.01)


BOX = DeviceProfile(
    name="box",
    version=3,
    source="measured",
    description="A small box",
    fingerprint={"cpu": "Test CPU 3000", "cores": "4"},
    runtime=Runtime("onnxruntime", "1.30", {"provider": "CPUExecutionProvider"}),
    measured_on="2026-11-22",
    tables=(
        KernelTable(
            hidden=64,
            head_size=16,
            workload=Workload(length=32),
            rows=(
                row("base", 32, 0, 0.05),
                *(row("attention", 32, heads, 0.05 + 0.03 * heads) for heads in (1, 2, 4)),
                *(row("attention", 8, heads, 0.04 + 0.01 * heads) for heads in (1, 2, 4)),
                *(row("feed_forward", 32, width, width * 0.21 / 256) for width in (64, 128, 256)),
                row("last_attention", 32, 4, 0.08),
                row("last_feed_forward", 32, 256, 0.02),
            ),
            correction=Correction({"base": 1.1, "layers": 0.02}, spread=0.04, models=24, reference_ms=1.6),
            accuracy=Accuracy(40, 0.025, 0.02, 0.9, 1.0, 0.99, 0.95, "random policies"),
        ),
    ),
    ceilings=CEILINGS,
    energy=EnergyModel(5, 20, 4, 2.3, 0.6, 100, "Horowitz 2014, table 1", 0.5),
    notes=("Nobody else was on it.",),
)

BOARD = DeviceProfile(
    name="board",
    version=1,
    source="fitted",
    description="A board with four small cores",
    fingerprint={"cpu": "Cortex-A72"},
    runtime=Runtime("onnxruntime", "1.20"),
    measured_on="2024-05-01",
    cost=CostModel(9.5, 4.1, 0.2, 4, ms_per_layer=0.15, ms_base=0.8),
)
