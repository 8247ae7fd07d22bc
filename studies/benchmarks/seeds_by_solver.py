"""What starting points by integer programming are worth to a search, on a table that holds every point of its space.

    python studies/benchmarks/seeds_by_solver.py ../shared/data/tables/nas-bench-macro_cifar10.json

The table is NAS-Bench-Macro (Su et al. 2021, github.com/xiusu/NAS-Bench-Macro): 6,561 convolutional networks of eight
blocks, each skipped, thin or wide, all trained on CIFAR-10. Nothing is trained here. Each search judges the same number
of points and is scored by its share of the hypervolume of the whole table: accuracy in points, from five below that of
the network with all blocks wide, times doublings of FLOPs below that network's.

FLOPs are exactly a sum over blocks. The library of losses is read from the 16 networks that differ from the whole one
in one block. Where it is `judged`, these and the whole one are the first 17 points of the search; where it is `free`,
they were scored before it and are no points of it, as divergences in an elastic model are.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import RESULTS, keep, mean_with_interval, spread

from autocompress.core.outcome import Evaluated, Measurement
from autocompress.core.pareto import hypervolume
from autocompress.core.space import Choice
from autocompress.pricing.solver import Library, Variant
from autocompress.samplers import OptunaSampler, population_for

BLOCKS = 8
KINDS = (0, 1, 2)
WHOLE = (2,) * BLOCKS
TOLERABLE = 5.0
"""Points below the whole network's accuracy at which the hypervolume begins."""
RUNGS = 16
EVALUATIONS = (50, 100, 200)
OBJECTIVES: dict[str, Any] = {"quality": "maximize", "latency_ms": "minimize"}

Network = tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Accuracy in percent, the mean of three trainings, and FLOPs, of every network."""

    rows: dict[Network, tuple[float, float]]

    @staticmethod
    def read(path: Path) -> Table:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Table({tuple(map(int, name)): (row["mean_acc"], row["flops"]) for name, row in found.items()})

    def volume(self, networks: Sequence[Network]) -> float:
        accuracy, flops = self.rows[WHOLE]
        points = [(accuracy - self.rows[one][0], math.log2(self.rows[one][1] / flops)) for one in networks]
        return hypervolume(points, (TOLERABLE, 0.0))

    def alone(self) -> list[Network]:
        """The whole network, and those that differ from it in one block."""
        others = [(block, kind) for block in range(BLOCKS) for kind in KINDS[:-1]]
        return [WHOLE, *((*WHOLE[:block], kind, *WHOLE[block + 1 :]) for block, kind in others)]

    def library(self) -> Library:
        accuracy, flops = self.rows[WHOLE]

        def variant(block: int, kind: int) -> Variant:
            found = self.rows[(*WHOLE[:block], kind, *WHOLE[block + 1 :])]
            return Variant(kind, accuracy - found[0], {"flops": found[1] - flops + flops / BLOCKS})

        return Library({f"blocks.{block}": [variant(block, kind) for kind in KINDS] for block in range(BLOCKS)})


def searched(table: Table, sampler: str, first: Sequence[Network], evaluations: int, seed: int) -> list[Network]:
    """The distinct networks that one search judges: `first`, and then what the sampler proposes."""
    asked = OptunaSampler(
        sampler,
        knobs={f"blocks.{block}": Choice(KINDS) for block in range(BLOCKS)},
        objectives=OBJECTIVES,
        constraints={},
        seed=seed,
        population=population_for(evaluations),
    )
    judged: dict[Network, None] = {}
    waiting = list(dict.fromkeys(first))
    while len(judged) < evaluations:
        point = {f"blocks.{at}": kind for at, kind in enumerate(waiting.pop(0))} if waiting else None
        proposal = asked.ask(point)
        network = tuple(int(proposal.parameters[f"blocks.{block}"]) for block in range(BLOCKS))
        accuracy, flops = table.rows[network]
        asked.tell(
            proposal.number,
            Evaluated(
                (
                    Measurement("quality", accuracy / 100, "accuracy", "measured"),
                    Measurement("latency_ms", flops / 1e6, "ms", "predicted"),
                )
            ),
        )
        judged[network] = None
    return list(judged)


def seeds(table: Table) -> list[Network]:
    return [tuple(int(kind) for kind in one.values.values()) for one in table.library().ladder("flops", RUNGS)]


Way = tuple[str, Callable[[Table], list[Network]]]
WAYS: dict[str, Way] = {
    "random search": ("random", lambda _: [WHOLE]),
    "NSGA-II": ("nsga2", lambda _: [WHOLE]),
    "NSGA-II after the 17 networks of the library": ("nsga2", lambda table: table.alone()),
    "NSGA-II after seeds, library judged": ("nsga2", lambda table: [*table.alone(), *seeds(table)]),
    "NSGA-II after seeds, library free": ("nsga2", lambda table: [WHOLE, *seeds(table)]),
    "random search after seeds, library free": ("random", lambda table: [WHOLE, *seeds(table)]),
}
"""Whom to ask, and what is judged before that."""
PLAIN = "NSGA-II"


def told(figures: dict[str, Any]) -> str:
    """Shares of the whole hypervolume in percent, and paired differences from NSGA-II without seeds."""
    rows = figures["shares"]
    head = " | ".join(f"{n} evaluations | against {PLAIN}" for n in EVALUATIONS)
    lines = [f"| first points and search | {head} |", "|---" * (1 + 2 * len(EVALUATIONS)) + "|"]
    for name in WAYS:
        cells = []
        for number in map(str, EVALUATIONS):
            shares, plain = rows[name][number], rows[PLAIN][number]
            paired = [a - b for a, b in zip(shares, plain, strict=True)]
            cells += [f"{spread(shares, 1)} %", "" if name == PLAIN else mean_with_interval(paired)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    alone = f"{figures['seeds_alone']:.1f} %"
    return "\n".join(
        [*lines, "", f"The {figures['seeds']} seeds alone: {alone}. {figures['random_seeds']} random seeds."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    if not asked.table.is_file():
        parser.error(f"{asked.table} is no file; give nas-bench-macro_cifar10.json of github.com/xiusu/NAS-Bench-Macro")
    table = Table.read(asked.table)
    whole, started = table.volume(list(table.rows)), seeds(table)
    shares: dict[str, dict[str, list[float]]] = {}
    for name, (sampler, first) in WAYS.items():
        shares[name] = {}
        for number in EVALUATIONS:
            runs = [searched(table, sampler, first(table), number, seed) for seed in range(asked.seeds)]
            shares[name][str(number)] = [100 * table.volume(run) / whole for run in runs]
            print(f"{name}, {number}: {spread(shares[name][str(number)], 1)} %", flush=True)
    alone = 100 * table.volume([WHOLE, *started]) / whole
    figures = {"random_seeds": asked.seeds, "seeds": len(started), "seeds_alone": alone, "shares": shares}
    keep("seeds_by_solver", figures)
    (RESULTS / "seeds_by_solver.md").write_text(told(figures) + "\n", encoding="utf-8")
    print(told(figures))


if __name__ == "__main__":
    main()
