"""Writes the profiles of the three devices that HAT measured: cost models fitted to its encoder latencies.

    python studies/benchmarks/fitted_profiles.py --data ../shared/data/hat

Each table holds 2,000 encoders of six layers, run in PyTorch (Wang et al., "HAT: Hardware-Aware Transformers", ACL
2020; mit-han-lab/hardware-aware-transformers: `latency_dataset.py` runs sentences of 30 tokens at batch 1, the configs
fix the width of q, k and v at 512 for any number of heads). An encoder costs its multiply-accumulates at a rate, and a
fixed time a layer; both are found by least absolute relative error, because every table has a stretch of rows from
minutes in which the machine was slow. What the data cannot tell is taken from the datasheet, and the notes say so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.config import dump_device
from autocompress.core.cost import macs, passes, weight_bytes
from autocompress.core.device import CostModel, DeviceProfile, EnergyModel, Runtime
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.parts import ModelParts
from autocompress.core.workload import Workload
from autocompress.devices.accuracy import accuracy
from autocompress.devices.energy_constants import OPERATIONS, PJ_PER_BYTE, PJ_PER_MAC_FP32, PJ_PER_MAC_INT8
from autocompress.devices.fitting import Array, Samples, read_samples

PROFILES: Final = Path(__file__).parent.parent.parent / "hardware_profiles"
FEATURES: Final = ("encoder_embed_dim", "encoder_layer_num", "encoder_ffn_embed_dim_avg")
TARGET: Final = "latency_mean_encoder"
LENGTH: Final = 30
QKV: Final = 512
FOLDS: Final = 10
PUBLISHED: Final = "2020-05-28"

SLOW: Final = 2.0
"""Rows that took this many times what is usual for their shape, or more, count as read on a machine in trouble."""

UNKNOWN: Final = 0.5
"""The least spread: other lengths, hidden sizes and another runtime than HAT measured. Nothing measured backs it."""


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of a device beside HAT's table; `most` is the highest rate that can be believed, in 10^9
    multiply-accumulates a second."""

    name: str
    file: str
    description: str
    cpu: str
    threads: int
    gbytes_per_second: float
    most: float
    energy: EnergyModel
    notes: tuple[str, ...]


def energy(idle: float, active: float, cores: int, spread: float, source: str) -> EnergyModel:
    pj = (PJ_PER_MAC_FP32, PJ_PER_MAC_INT8, PJ_PER_BYTE)
    return EnergyModel(idle, active, cores, *pj, source=f"{source}; {OPERATIONS}", spread=spread)


DEVICES: Final = (
    Device(
        "raspberry-pi-4",
        "wmt14ende_cpu_raspberrypi.csv",
        "Raspberry Pi 4, four ARM Cortex-A72, PyTorch in fp32; fitted to latencies published by HAT",
        "Broadcom BCM2711, 4 x Cortex-A72",
        threads=4,
        gbytes_per_second=12.8,
        most=24.0,
        energy=energy(
            2.7, 6.4, 4, 0.5, "board power measured at pidramble.com (Geerling): 2.7 W idle, 6.4 W with four busy cores"
        ),
        notes=(
            "gbytes_per_second: from the datasheet, LPDDR4-3200 on 32 bits (3200e6 x 4 bytes); the data cannot tell, "
            "no layer of HAT's is held up by it.",
            "threads: HAT does not say; PyTorch's default is every core.",
        ),
    ),
    Device(
        "xeon-e5-2640",
        "wmt14enfr_cpu_xeon.csv",
        "Intel Xeon E5-2640, PyTorch in fp32; fitted to latencies published by HAT",
        "Intel Xeon E5-2640 v4",
        threads=10,
        gbytes_per_second=68.3,
        most=384.0,
        energy=energy(
            30.0, 90.0, 10, 0.6, "90 W: TDP of the Xeon E5-2640 v4 (Intel ARK), a socket without memory or board; at "
            "rest a third of it, an assumption"
        ),
        notes=(
            "HAT says Xeon E5-2640 and no generation. v4 (10 cores at 2.4 GHz) is assumed: the fitted rate is beyond "
            "the peak of v1 and v2, which have no fused multiply-add.",
            "gbytes_per_second: from the datasheet of v4 (Intel ARK: 68.3 GB/s, four channels of DDR4-2133); the data "
            "cannot tell, no layer of HAT's is held up by it.",
            "threads: HAT does not say; PyTorch's default is a thread for every physical core.",
        ),
    ),
    Device(
        "titan-xp",
        "wmt14ende_gpu_titanxp.csv",
        "NVIDIA Titan Xp, PyTorch in fp32; fitted to latencies published by HAT",
        "NVIDIA Titan Xp (GPU)",
        threads=1,
        gbytes_per_second=547.7,
        most=3037.0,
        energy=energy(
            15.0, 250.0, 1, 1.0, "250 W: NVIDIA's figure for the board, an upper bound, as one sentence at a time does "
            "not keep it busy; 15 W at rest, an assumption"
        ),
        notes=(
            "gmacs_fp32: from the datasheet, half of the peak (12.15e12 operations a second / 2 operations a product "
            "x 0.5, the half an assumption). The data cannot tell: latency hardly depends on the shape, the time to "
            "launch a layer is all there is. Shapes with much more work than HAT's are predicted by this assumption.",
            "gbytes_per_second: from the datasheet (547.7 GB/s, GDDR5X on 384 bits); the data cannot tell.",
            "threads: the one that feeds the GPU.",
        ),
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/hat"), help="the folder of HAT's CSV files")
    data: Path = parser.parse_args().data
    if not data.is_dir():
        parser.error(f"--data: {data} is no folder; give the one that holds {', '.join(d.file for d in DEVICES)}")
    for device in DEVICES:
        path = data / device.file
        profile = fitted_profile(device, encoders(path), Workload(1, LENGTH, device.threads))
        (PROFILES / f"{device.name}.yaml").write_text(dump_device(profile), encoding="utf-8")
        assert profile.cost is not None
        assert profile.cost.accuracy is not None
        found = profile.cost.accuracy
        print(
            f"{device.name:16}{profile.cost.gmacs_fp32:8.1f} GMAC/s {profile.cost.ms_per_layer:6.2f} ms a layer, "
            f"spread {profile.cost.spread}; MAPE {found.mape:.1%}, median {found.median:.1%}, "
            f"Spearman {found.spearman:.3f}"
        )


def encoders(path: Path) -> Samples:
    header = path.read_text(encoding="utf-8").split("\n", 1)[0].strip().split(",")
    return read_samples(path, target=[TARGET], drop=[name for name in header if name not in {*FEATURES, TARGET}])


def fitted_profile(device: Device, samples: Samples, workload: Workload) -> DeviceProfile:
    shapes = [shape_of(dict(zip(samples.names, map(float, row), strict=True))) for row in samples.features]
    work = np.array(
        [macs(shape, passes(shape, workload, whole=True)) for shape in shapes],
        dtype=np.float64,
    )
    traffic = np.array([weight_bytes(shape, tables=False) for shape in shapes], dtype=np.float64)
    layers = np.array([shape.depth for shape in shapes], dtype=np.float64)
    measured = samples.milliseconds

    def fitted(rows: NDArray[np.intp]) -> CostModel:
        rate, a_layer = constants(work[rows], layers[rows], measured[rows], device.most)
        return CostModel(
            gmacs_fp32=float(f"{rate:.4g}"),
            gbytes_per_second=device.gbytes_per_second,
            spread=UNKNOWN,
            threads=device.threads,
            ms_per_layer=float(f"{a_layer:.4g}"),
        )

    def predicted(cost: CostModel, rows: NDArray[np.intp]) -> Array:
        """What `RooflinePredictor` says, but for the last layer, which HAT computes for every token."""
        arithmetic = work[rows] / cost.rate(32)
        assert (arithmetic > traffic[rows] / (1e6 * cost.gbytes_per_second)).all(), "held up by reading weights"
        return arithmetic + layers[rows] * cost.ms_per_layer

    everything = np.arange(len(samples))
    order = np.random.default_rng(0).permutation(len(samples))
    unseen = np.empty(len(samples))
    for fold in np.array_split(order, FOLDS):
        unseen[fold] = predicted(fitted(np.setdiff1d(everything, fold)), fold)
    found = accuracy(unseen, measured, f"{FOLDS}-fold cross-validation of {len(samples)} encoders, 30 tokens, batch 1")

    usual = measured < SLOW * unseen
    reached = 0.0
    hidden, width = samples.features[:, 0], samples.features[:, 2]
    for inside in (hidden < 600, hidden > 600, width < np.median(width), width > np.median(width)):
        outside = everything[~inside & usual]
        off = np.abs(measured[outside] / predicted(fitted(everything[inside]), outside) - 1)
        reached = max(reached, float(np.quantile(off, 0.95)))
    slow = (
        f"{np.mean(~usual):.1%} of the rows took {SLOW:g} times their prediction or more, most of them in one stretch "
        "of the file: the machine was in trouble. They count in `accuracy`, and not in `spread`.",
    ) * bool((~usual).any())
    cost = fitted(everything)
    return DeviceProfile(
        name=device.name,
        version=1,
        source="fitted",
        description=device.description,
        fingerprint={"cpu": device.cpu},
        runtime=Runtime("pytorch", "of 2020; HAT does not say which"),
        measured_on=PUBLISHED,
        cost=CostModel(
            cost.gmacs_fp32,
            cost.gbytes_per_second,
            round(max(UNKNOWN, reached), 2),
            cost.threads,
            ms_per_layer=cost.ms_per_layer,
            accuracy=found,
        ),
        energy=device.energy,
        notes=(
            f"Fitted by studies/benchmarks/fitted_profiles.py to {len(samples):,} encoder latencies of HAT "
            f"(latency_dataset/{device.file}, MIT licence; Wang et al., ACL 2020).",
            "HAT measured hidden 512 and 640, feed-forward widths of 512 to 3072, 6 layers, 30 tokens, batch 1, fp32. "
            "Anything else, so also hidden 384 and 128 tokens, is extrapolated.",
            f"spread: fitted to one hidden size and asked for the other, or to narrow ones and asked for wide ones, "
            f"95 % of predictions were within {reached:.0%}; at least {UNKNOWN:.0%} is stated, as nobody measured "
            "other lengths or onnxruntime.",
            *slow,
            "ms_per_layer holds all that does not grow with the work, also what an inference costs once: every encoder "
            "of HAT's has 6 layers.",
            "gmacs_int8: nobody measured it; int8 parts are counted at fp32 speed.",
            *device.notes,
        ),
    )


def shape_of(features: dict[str, float]) -> ModelParts:
    """An encoder of HAT's; heads share 512 channels, so that their number does not matter here."""
    hidden, width = int(features["encoder_embed_dim"]), round(features["encoder_ffn_embed_dim_avg"])
    layers = (
        encoder_layer(index, hidden, heads=1, head_size=QKV, channels=width)
        for index in range(int(features["encoder_layer_num"]))
    )
    return encoder(hidden, layers, family="hat", words=1)


def constants(work: Array, layers: Array, measured: Array, most: float) -> tuple[float, float]:
    """(10^9 multiply-accumulates a second, milliseconds a layer) of least absolute relative error, by iterated weights
    (Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977).

    A rate beyond `most`, which also a slope of zero or less stands for, is one the data cannot tell: it is `most`.
    """
    slopes = np.stack([work / 1e6, layers], axis=1) / measured[:, None]  # shares of the measurement
    weight = np.ones(len(work))
    for _ in range(100):
        found = np.linalg.lstsq(slopes * np.sqrt(weight)[:, None], np.sqrt(weight), rcond=None)[0]
        weight = 1 / np.maximum(np.abs(slopes @ found - 1), 1e-3)
    if found[0] > 1 / most and found[1] >= 0:
        return 1 / float(found[0]), float(found[1])
    rest = (measured - work / (1e6 * most)) / layers
    return most, float(np.median(rest))


if __name__ == "__main__":
    main()
