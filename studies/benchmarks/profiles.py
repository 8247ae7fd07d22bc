"""How far predictions lie from measurements here, how fast they are, and how long a retargeted study takes.

    python studies/benchmarks/profiles.py [--quick] [--models 60]
    python studies/benchmarks/profiles.py --others [NAME ...]     # other runtimes, batches, threads; kept one by one

Profiles this machine, deploys fresh random policies (fp32 and int8 mixed, 1 to 6 layers) at lengths 32 and 128 and
measures them; predicts 10,000 policies; solves a stored study of 1,000 candidates again for a Raspberry Pi 4. The
qualities of that study are made up: only its time is of interest.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record import keep, kept

from autocompress import config, operators
from autocompress.core.cores import usable_cores
from autocompress.core.device import DeviceProfile
from autocompress.core.outcome import Candidate, Evaluated, Measurement, Record
from autocompress.core.prediction import predictor_of
from autocompress.core.runtimes import DEFAULT_RUNTIME, RuntimeName
from autocompress.core.stored_parts import parts_to_json
from autocompress.core.workload import Workload
from autocompress.devices.profiles import profile_to, validate_file
from autocompress.devices.profiling import FULL, QUICK, bert_shape
from autocompress.devices.validation import random_shapes
from autocompress.operators import OPERATORS
from autocompress.pricing import Pricing, draw
from autocompress.store import Store
from autocompress.study.retarget import retarget

LARGEST = bert_shape(hidden=384, heads=12, head_size=32, width=1536, layers=6)
LOADS = (Workload(1, 32, 1), Workload(1, 128, 1))
PREDICTIONS = 10_000
CANDIDATES = 1_000


OTHERS: Mapping[str, tuple[Sequence[Workload], RuntimeName]] = {
    "all threads": ((Workload(1, 32, usable_cores()), Workload(1, 128, usable_cores())), "onnxruntime"),
    "batches": ((Workload(8, 128, 1), Workload(32, 128, 1)), "onnxruntime"),
    "batches, all threads": ((Workload(8, 128, usable_cores()), Workload(32, 128, usable_cores())), "onnxruntime"),
    "with static int8": (LOADS, "onnxruntime"),
    "OpenVINO": (LOADS, "openvino"),
    "OpenVINO in bf16": (LOADS, "openvino-bf16"),
}


def errors(
    folder: Path,
    *,
    quick: bool,
    models: int,
    loads: Sequence[Workload] = LOADS,
    runtime: RuntimeName = DEFAULT_RUNTIME,
    static: bool = False,
) -> tuple[dict[str, Any], DeviceProfile]:
    path, started = folder / "bench.yaml", time.monotonic()
    effort = QUICK if quick else FULL
    profile_to(path, LARGEST, loads, effort=effort, runtimes=(runtime,), static=static, progress=lambda *_: None)
    seconds = time.monotonic() - started
    profile = validate_file(path, models=models)
    judged = {str(table.workload): dataclasses.asdict(table.accuracy) for table in profile.tables if table.accuracy}
    found = [table.accuracy for table in profile.tables if table.accuracy]
    together = {
        name: sum(getattr(one, name) * one.n for one in found) / sum(one.n for one in found)
        for name in ("mape", "within_5", "within_10")
    }
    worst = {name: min(getattr(one, name) for one in found) for name in ("spearman", "kendall")}
    told = {"seconds_to_profile": round(seconds, 1), "by_workload": judged, "together": together, "lowest": worst}
    return {**told, "notes": list(profile.notes)}, profile


def speed(profile: DeviceProfile) -> dict[str, float]:
    shapes = random_shapes(LARGEST, count=PREDICTIONS, seed=3)
    predict = predictor_of(profile, hidden=384, head_size=32, workload=LOADS[1])
    started = time.perf_counter()
    for shape in shapes:
        predict(shape)
    return {f"seconds_for_{PREDICTIONS}_predictions": time.perf_counter() - started}


def retargeting(folder: Path, profile: DeviceProfile) -> dict[str, float]:
    spec = config.load_study("quickstart", operators=OPERATORS)
    space = operators.bound(spec.space, LARGEST)
    pricing = Pricing.of(profile, LARGEST, workload=spec.workload, objectives=spec.objectives, constraints={})
    generator = random.Random(0)
    resolved = config.spec_to_json(spec)
    with Store.open(str(folder / "bench.db")) as store:
        store.create_study("big", given={}, resolved=resolved, fingerprint={}, objectives=spec.objectives)
        with store.lease("big") as lease:
            store.set_fact(lease, "shape", parts_to_json(LARGEST))
            found: dict[str, Record] = {}
            while len(found) < CANDIDATES:
                point = {name: draw(knob, generator) for name, knob in space.knobs().items()}
                priced = pricing(space.policy(lambda name, _: point[name]))  # noqa: B023 - called at once
                quality = Measurement("quality", generator.random(), "accuracy", "measured")
                outcome = Evaluated((*priced.measurements, quality))
                found[priced.policy.digest] = Record(Candidate(len(found), priced.policy), outcome)
            store.adopt(lease, found.values())
        started = time.monotonic()
        done = retarget(store, "big", device="raspberry-pi-4")
        seconds = time.monotonic() - started
        return {"candidates": done.kept + done.broken, "seconds": seconds, "front": len(store.front(done.name, rung=1))}


def others(names: Sequence[str], *, quick: bool, models: int) -> None:
    figures: dict[str, Any] = kept("profiles-others", {})
    for name in names:
        loads, runtime = OTHERS[name]
        with tempfile.TemporaryDirectory() as folder:
            found, _ = errors(
                Path(folder), quick=quick, models=models, loads=loads, runtime=runtime, static="static" in name
            )
        figures[name] = {**found, "effort": "quick" if quick else "full"}
        keep("profiles-others", figures)
        for load, one in found["by_workload"].items():
            told = f"within 10 % {one['within_10']:.1%}, Spearman {one['spearman']:.4f}"
            print(f"{name}, {load}: error {one['mape']:.2%}, {told}; {one['how']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the effort of `autocompress profile --quick`")
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--others", nargs="*", choices=[*OTHERS], metavar="NAME", help=", ".join(OTHERS))
    given = parser.parse_args()
    if given.others is not None:
        others(given.others or list(OTHERS), quick=given.quick, models=given.models)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, profile = errors(folder, quick=given.quick, models=given.models)
        figures = {"errors": found, "speed": speed(profile), "retarget": retargeting(folder, profile)}
    for load, one in found["by_workload"].items():
        print(f"{load}: error {one['mape']:.2%}, within 10 % {one['within_10']:.1%}, Spearman {one['spearman']:.4f}")
    print(f"together: { {name: round(value, 4) for name, value in found['together'].items()} }")
    print(f"profiled in {found['seconds_to_profile']} s; {figures['speed']}; retarget: {figures['retarget']}")
    print(f"kept in {keep('profiles-quick' if given.quick else 'profiles', figures)}")


if __name__ == "__main__":
    main()
