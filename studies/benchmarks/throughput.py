"""Candidates a minute with one and with two workers, the driver's share, and its cost in a long study.

    python studies/benchmarks/throughput.py

The search of the quickstart, at its own budget: a smaller one has smaller generations, which repeat themselves, and
what is answered from the store costs the driver and no worker. One and two workers are run in turns, so that a slow
minute of the machine meets both. The driver's share is its processor time over the wall time of the search.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from prepared import prepare, search
from record import keep

from autocompress.core.outcome import RUNG_SLICED, Evaluated, Proposal
from autocompress.runners.cluster import cluster
from autocompress.samplers import OptunaSampler, population_for
from autocompress.store import Store
from autocompress.testing import OBJECTIVES, arithmetic_price, arithmetic_space, full_outcome

ROUNDS = 3
STORED = 10_000
MORE = 100


def searching() -> dict[str, Any]:
    prepared = prepare()
    rates: dict[int, list[float]] = {1: [], 2: []}
    shares = []
    with cluster(workers=2) as ray, tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            for workers in rates:
                database = Path(folder) / f"{workers}-{turn}.db"
                tally = search(prepared, ray, database, workers=workers, trials=prepared.spec.budget.trials)
                rates[workers].append(60 * tally.judged / tally.seconds)
                if workers == 2:
                    shares.append(tally.driver / tally.seconds)
    return {
        "candidates_a_minute": {workers: statistics.median(found) for workers, found in rates.items()},
        "two_workers_against_one": statistics.median(b / a for a, b in zip(*rates.values(), strict=True)),
        "drivers_share_with_two_workers": statistics.median(shares),
        "rounds": rates,
    }


def long_study() -> dict[str, float]:
    """Milliseconds of ask, price, propose, finish and tell for one more candidate in a study of 10,000."""
    space = arithmetic_space(layers=24)
    with tempfile.TemporaryDirectory() as folder, Store.open(str(Path(folder) / "long.db")) as store:
        store.create_study("long", given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES)
        with store.lease("long") as lease:
            sampler = OptunaSampler(
                "nsga2",
                knobs=space.knobs(),
                objectives=OBJECTIVES,
                constraints={},
                seed=0,
                population=population_for(STORED),
            )

            def one_more() -> float:
                started = time.perf_counter()
                proposal: Proposal = sampler.ask()
                priced = arithmetic_price(space.policy(lambda name, _: proposal.parameters[name]))
                proposed = store.propose(lease, proposal, priced.policy)
                outcome = full_outcome(priced.policy)
                assert isinstance(outcome, Evaluated)
                if proposed.is_new:
                    number = proposed.candidate.number
                    store.finish(
                        lease, number, attempt=1, outcome=outcome, rung=RUNG_SLICED, seconds=0.0, provenance={}
                    )
                sampler.tell(proposal.number, outcome)
                return 1e3 * (time.perf_counter() - started)

            times = [one_more() for _ in range(STORED + MORE)]
    return {
        "ms_a_candidate_at_100": statistics.median(times[:100]),
        f"ms_a_candidate_at_{STORED}": statistics.median(times[-MORE:]),
    }


if __name__ == "__main__":
    figures = {"search": searching(), "long_study": long_study()}
    search_figures = figures["search"]
    print(f"candidates a minute: {search_figures['candidates_a_minute']}")
    print(f"two workers against one: {search_figures['two_workers_against_one']:.2f}x")
    print(f"the driver's share with two workers: {search_figures['drivers_share_with_two_workers']:.1%}")
    for name, value in figures["long_study"].items():
        print(f"{name}: {value:.1f}")
    print(f"kept in {keep('throughput', figures)}")
