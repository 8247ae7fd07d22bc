"""A finished study in a real database: what reports and commands are tested on."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.metrics import Direction
from autocompress.core.outcome import (
    RUNG_SLICED,
    Evaluated,
    Failed,
    Infeasible,
    Measurement,
    Measurements,
    Outcome,
    Proposal,
)
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.stored_parts import parts_to_json
from autocompress.store import Artifact, Lease, Store

OBJECTIVES: Mapping[str, Direction] = {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"}
SHAPE = encoder(
    384,
    [encoder_layer(index, 384, heads=12, head_size=32, channels=1536) for index in range(6)],
    words=30522,
    others=514,
    head=(384, 6),
)
FACTS: Mapping[str, Any] = {
    "shape": parts_to_json(SHAPE),
    "reachable": {"latency_ms": [0.6, 14.1], "size_mb": [12.0, 91.0]},
    "search_seconds": 71.5,
    "reference_point": {"quality": 0.0, "latency_ms": 20.0, "size_mb": 100.0},
    "device": {"name": "host", "fingerprint": {"cpu": "Xeon <b>8488C</b>", "cores": "2", "isa": "avx512_vnni"}},
    "task": {"metric": "accuracy", "labels": ["ABBR", "DESC", "ENTY"], "sizes": {"training": 4305, "test": 538}},
    "timings": {"teacher": 61.2, "search": 71.5, "finalists": 204.0},
}

BASELINE = (0.9610, 0.9554, 14.06, 90.9)
"""Quality, test quality, milliseconds, megabytes."""
FINALISTS: Sequence[tuple[float, float, float, float]] = (
    (0.9628, 0.9480, 5.21, 23.4),
    (0.9573, 0.9517, 2.31, 18.1),
    (0.9536, 0.9442, 2.28, 17.6),
    (0.9406, 0.9331, 1.12, 15.2),
    (0.8998, 0.9052, 0.61, 13.0),
)


def policy(layers: int, heads: int, *, bits: int = 8) -> CompressionPolicy:
    """Keep the first layers, each with so many heads; int8 throughout unless told otherwise."""
    steps = [Step("remove_layer", f"layers.{index}") for index in range(layers, 6)]
    steps += [Step("prune_heads", f"layers.{i}.attention", {"heads": heads, "importance": "fisher"})
              for i in range(layers if heads < 12 else 0)]  # fmt: skip
    if bits == 8:
        steps += [Step("quantize", f"layers.{index}", {"bits": 8}) for index in range(layers)]
        steps.append(Step("quantize", "embeddings", {"bits": 8}))
    return CompressionPolicy(tuple(steps))


def modelled(latency_ms: float) -> Measurement:
    """30 W while it lasts."""
    energy = 30 * latency_ms
    return Measurement("energy_mj", energy, "mJ", "modelled", interval=(0.5 * energy, 1.5 * energy))


def predicted(latency_ms: float) -> Measurement:
    return Measurement("latency_ms", latency_ms, "ms", "predicted", interval=(0.9 * latency_ms, 1.1 * latency_ms))


def searched(quality: float, latency_ms: float, size_mb: float) -> Measurements:
    return (
        Measurement("quality", quality, "accuracy", "measured", interval=(quality - 0.02, quality + 0.02)),
        predicted(latency_ms),
        modelled(latency_ms),
        Measurement("size_mb", size_mb, "MB", "counted"),
        Measurement("parameters", size_mb * 1e6, "count", "counted"),
    )


def exported(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
    samples = tuple(latency_ms * (1 + 0.001 * i) for i in range(-20, 21))
    median = (latency_ms * 0.98, latency_ms * 1.03)
    return (
        Measurement("quality", quality, "accuracy", "measured", interval=(quality - 0.018, min(1.0, quality + 0.014))),
        Measurement("test_quality", test, "accuracy", "measured", interval=(test - 0.02, min(1.0, test + 0.016))),
        Measurement("latency_ms", latency_ms, "ms", "measured", median, samples, "host"),
        Measurement("latency_p90_ms", latency_ms * 1.1, "ms", "measured"),
        Measurement("size_mb", size_mb, "MB", "measured"),
        Measurement("parameters", size_mb * 1e6, "count", "counted"),
        Measurement("macs", latency_ms * 1e8, "count", "counted"),
        Measurement("parity", 3.2e-6, "", "measured"),
        modelled(latency_ms),
    )


def drops(quality: float, test: float) -> Measurements:
    """Below the baseline, give or take a point and a half."""
    found = {"quality_drop": BASELINE[0] - quality, "test_quality_drop": BASELINE[1] - test}
    return tuple(
        Measurement(name, drop, "accuracy", "measured", (drop - 0.015, drop + 0.015)) for name, drop in found.items()
    )


def study(
    store: Store,
    name: str = "quickstart",
    *,
    description: str = "MiniLM-L6 on TREC questions, six classes, on this machine.",
    constraints: Mapping[str, Mapping[str, float]] | None = None,
    objectives: Mapping[str, Direction] = OBJECTIVES,
) -> str:
    """A study with nothing in it."""
    resolved = {"name": name, "description": description, "constraints": constraints or {}}
    store.create_study(name, given=resolved, resolved=resolved, fingerprint={"model": "00"}, objectives=objectives)
    return name


def search(store: Store, lease: Lease) -> None:
    """The baseline, the finalists-to-be as numbers 1 to 5, further estimates, one infeasible and one failed."""
    store.insert_baseline(lease)
    judge(store, lease, 0, Evaluated(searched(0.961, 14.1, 90.9)))
    for number, (quality, _, latency, size) in enumerate(FINALISTS, start=1):
        found = searched(quality - 0.11 * (1 + number / 5), latency * 1.05, size)
        propose(store, lease, number, policy(7 - number, 12 - number), Evaluated(found))
    for number in range(6, 16):
        found = searched(0.2 + 0.05 * number, 0.5 + 0.16 * (number - 5) ** 1.7, 11.0 + number / 4)
        propose(store, lease, number, policy(1 + number % 5, number - 5, bits=32), Evaluated(found))
    propose(store, lease, 16, policy(6, 11, bits=32), Infeasible("size_mb <= 60", searched(0.9, 9.0, 80.0)[2:]))
    failed = Failed("score", "RuntimeError", "\x1b[31mboom\x1b[0m [bold]", "Traceback: \x1b[2Jboom")
    propose(store, lease, 17, policy(5, 11, bits=32), failed)


Measured = Callable[[float, float, float, float], Measurements]
"""Quality, test quality, milliseconds, megabytes -> what is known of an exported file."""


def finish(
    store: Store,
    lease: Lease,
    *,
    measured: Measured = exported,
    paired: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Verify the baseline and all finalists but number 5, which is rejected."""
    known = dict(provenance or {})
    store.conclude(
        lease, 0, verified=False, reason="", measurements=measured(*BASELINE), artifacts=[], provenance=known
    )
    store.nominate(lease, [1, 2, 3, 4, 5])
    for number, numbers in enumerate(FINALISTS, start=1):
        digest = store.record(lease.study, number).candidate.digest
        verified = number != 5
        store.conclude(
            lease,
            number,
            verified=verified,
            reason="" if verified else "quality of the exported file is 4.1 points below the trained model",
            measurements=(*measured(*numbers), *(drops(*numbers[:2]) if paired else ())),
            artifacts=[artifact(f"{lease.study}/{digest}/model.onnx")] if verified else [],
            provenance={"epochs": 5, "torch": "2.13", **known},
        )
    for key, value in FACTS.items():
        store.set_fact(lease, key, value)
    store.set_state(lease, "complete")


def elsewhere(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
    """What is known of a file that was timed nowhere: its device is another machine."""
    found = {one.metric: one for one in exported(quality, test, latency_ms, size_mb)}
    del found["latency_p90_ms"]
    return tuple((found | {"latency_ms": predicted(latency_ms)}).values())


def finished(
    store: Store,
    name: str = "quickstart",
    *,
    measured: Measured = exported,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """A study that ran to its end."""
    study(store, name, **options)
    with store.lease(name) as lease:
        search(store, lease)
        finish(store, lease, measured=measured, provenance=provenance)
    return name


def write_finished(file: Path) -> None:
    """A database with one study that ran to its end, `quickstart`. It is made once a process, and copied."""
    file.touch(0o600)
    file.write_bytes(_finished())


@functools.cache
def _finished() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "studies.db"
        with Store.open(str(file)) as store:
            finished(store)
        return file.read_bytes()


def propose(store: Store, lease: Lease, number: int, policy: CompressionPolicy, outcome: Outcome) -> None:
    proposed = store.propose(lease, Proposal(number, {"heads": number}), policy)
    assert proposed.is_new, f"policy {number} stands for a candidate that is there already"
    judge(store, lease, proposed.candidate.number, outcome, attempt=1)


def judge(store: Store, lease: Lease, number: int, outcome: Outcome, *, attempt: int | None = None) -> None:
    attempt = attempt or store.restart(lease, number)
    store.finish(lease, number, attempt=attempt, outcome=outcome, rung=RUNG_SLICED, seconds=0.5, provenance={})


def artifact(path: str) -> Artifact:
    content = path.encode()
    return Artifact("onnx", path, hashlib.sha256(content).hexdigest(), len(content))
