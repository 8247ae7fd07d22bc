"""Studies, candidates and outcomes to test a store with."""

from __future__ import annotations

import logging
from pathlib import Path

from autocompress.core.metrics import Direction
from autocompress.core.outcome import RUNG_SLICED, Candidate, Evaluated, Measurement, Measurements, Outcome, Proposal
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.store import Lease, Store

OBJECTIVES: dict[str, Direction] = {"quality": "maximize", "latency_ms": "minimize"}


def study(store: Store, name: str = "trec") -> str:
    """A study with nothing in it."""
    store.create_study(
        name,
        given={"name": name, "budget": {"trials": 10}},
        resolved={"name": name, "budget": {"trials": 10}, "seed": 0},
        fingerprint={"model": "sha256:00"},
        objectives=OBJECTIVES,
    )
    return name


def policy(heads: int) -> CompressionPolicy:
    return CompressionPolicy((Step("prune_heads", "layers.0.attention", {"heads": heads}),))


def proposal(number: int) -> Proposal:
    return Proposal(number, {"prune_heads/heads": number, "apply": True}, {"generation": number // 4})


def measured(quality: float, latency_ms: float) -> Measurements:
    return (
        Measurement("quality", quality, "share", "measured", interval=(quality - 0.01, quality + 0.01)),
        Measurement("latency_ms", latency_ms, "ms", "predicted", samples=(latency_ms, latency_ms + 0.5), device="d1"),
    )


def evaluated(quality: float, latency_ms: float) -> Evaluated:
    return Evaluated(measured(quality, latency_ms))


def finished(store: Store, lease: Lease, number: int, outcome: Outcome, *, rung: int = RUNG_SLICED) -> Candidate:
    """Propose and finish the candidate with this many heads."""
    proposed = store.propose(lease, proposal(number), policy(number))
    finish(store, lease, proposed.candidate.number, outcome, rung=rung)
    return proposed.candidate


def finish(
    store: Store, lease: Lease, number: int, outcome: Outcome, *, attempt: int = 1, rung: int = RUNG_SLICED
) -> bool:
    return store.finish(
        lease, number, attempt=attempt, outcome=outcome, rung=rung, seconds=0.5, provenance={"torch": "2.15"}
    )


def value_of(heads: int) -> float:
    """What an evaluation of `policy(heads)` always finds."""
    return round(1 / (1 + heads % 17), 6)


def write_until_killed(address: str, acknowledged: Path) -> None:
    """A controller: finish what was left over, then one candidate after another, each third one a repetition.

    A line of `acknowledged` is written after the store said that a finish is stored.
    """
    logging.disable(logging.CRITICAL)
    with Store.open(address) as store, store.lease("trec") as lease, acknowledged.open("a", buffering=1) as said:

        def judge(number: int, heads: int, attempt: int) -> None:
            if finish(store, lease, number, evaluated(value_of(heads), heads), attempt=attempt):
                said.write(f"{number} {heads} {attempt}\n")

        for record in store.records("trec"):
            if record.outcome is None:
                heads = record.candidate.policy.steps[0].settings["heads"]
                assert isinstance(heads, int)
                judge(record.candidate.number, heads, store.restart(lease, record.candidate.number))
        number = len(store.proposals("trec"))
        while True:
            heads = number if number % 3 else number // 2
            proposed = store.propose(lease, proposal(number), policy(heads))
            if proposed.is_new:
                judge(proposed.candidate.number, heads, 1)
            number += 1
