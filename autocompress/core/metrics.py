"""The metrics a study may optimise, bound or report: name, unit, which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`worst` is what a sampler is told for a candidate that was rejected before this metric was known."""

    name: str
    unit: str
    direction: Direction
    worst: float
    meaning: str


_PEAK_MEMORY: Final = (
    "MiB that serving adds to a process at its peak: measured of a verified file; before that its weights and the "
    "activations alive at once are counted, which is less"
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("quality", "share", "maximize", 0.0, "the task's score on validation data, e.g. accuracy"),
        Metric("latency_ms", "ms", "minimize", 1e6, "median time of one inference under the study's workload"),
        Metric("size_mb", "MB", "minimize", 1e6, "the exported file on disk, 1 MB = 10^6 bytes"),
        Metric("parameters", "count", "minimize", 1e12, "number of weights, embeddings included"),
        Metric("macs", "count", "minimize", 1e15, "multiply-accumulates of one inference; 1 MAC = 2 FLOPs"),
        Metric("energy_mj", "mJ", "minimize", 1e9, "energy of one inference; modelled unless a meter was read"),
        Metric("throughput", "1/s", "maximize", 0.0, "inputs a second, one batch after another"),
        Metric("peak_memory_mib", "MiB", "minimize", 1e6, _PEAK_MEMORY),
    )
}
