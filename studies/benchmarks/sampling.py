"""What finds better slices in a short search: the sampler, its population, or a smaller space.

    python studies/benchmarks/sampling.py [--study quickstart] [--seeds 0 1 2] [--trials 150] [--only NAME ...]

Every search has the same elastic model, workers and number of trials, and nothing is trained after it. Compared is the
hypervolume of (quality, log2 of latency, log2 of size), in points times doublings times doublings, of what was found:
from ten points below the elastic model's full size on, which is what training heals at most, and from the
uncompressed model's costs. The uniform space asks for one size in all layers.

Tried and dropped: a first generation whose every second member has one size in all layers: 124.2, 121.3 and 109.7 with
seeds 0 to 2 where a random one (population 33) led to 121.6, 119.5 and 110.1. A percent, less than seeds differ by.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prepared import LAYER_BY_LAYER, Prepared, prepare, search
from record import RESULTS, keep, kept, spread

from autocompress import config, operators
from autocompress.candidates.evaluate import SliceEvaluator
from autocompress.core.cores import usable_cores
from autocompress.core.nomination import HEALED
from autocompress.core.outcome import Evaluated, values
from autocompress.core.pareto import hypervolume
from autocompress.core.policy import BASELINE
from autocompress.core.spec import SamplerName
from autocompress.operators import OPERATORS
from autocompress.runners.cluster import cluster
from autocompress.store import Store


@dataclass(frozen=True)
class Search:
    """What is varied."""

    space: str = ""
    sampler: SamplerName = "nsga2"
    population: int = 33


SEARCHES = {
    "random search": Search(sampler="random"),
    "NSGA-II, population 33": Search(),
    "NSGA-II, population 16": Search(population=16),
    "NSGA-II, uniform space": Search(space="bert-uniform"),
}


def found(prepared: Prepared, ray: Any, how: Search, trials: int, whole: tuple[float, ...]) -> dict[str, float]:
    """One search, and the volume that its slices fill."""
    if how.space:
        space = config.load_space(how.space, operators=OPERATORS)
        prepared = replace(prepared, space=operators.bound(space, prepared.pricing.shape))
    prepared = replace(prepared, spec=replace(prepared.spec, sampler=how.sampler))
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "search.db"
        tally = search(prepared, ray, database, workers=usable_cores(), trials=trials, population=how.population)
        with Store.open(str(database)) as store:
            outcomes = [r.outcome for r in store.records("benchmark") if isinstance(r.outcome, Evaluated)]
    points = [point(values(outcome.measurements)) for outcome in outcomes]
    reference = (whole[0] + 100 * HEALED, *whole[1:])
    return {"volume": hypervolume(points, reference), "evaluated": tally.evaluated}


def point(of: Any) -> tuple[float, ...]:
    return -100 * of["quality"], math.log2(of["latency_ms"]), math.log2(of["size_mb"])


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| search | hypervolume of slices | seed by seed |", "|---|---:|---|"]
    for name in dict.fromkeys(row["search"] for row in rows):
        volumes = [row["volume"] for row in rows if row["search"] == name]
        lines.append(f"| {name} | {spread(volumes, 1)} | {', '.join(f'{v:.1f}' for v in volumes)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--only", nargs="+", choices=[*SEARCHES], default=[*SEARCHES])
    asked = parser.parse_args()
    prepared = prepare(asked.study, space=LAYER_BY_LAYER)
    prepared = replace(prepared, pricing=replace(prepared.pricing, constraints={}))
    prepared = replace(prepared, spec=replace(prepared.spec, constraints={}))
    priced = values(prepared.pricing(BASELINE).measurements)
    scored = values(SliceEvaluator(prepared.setup)(BASELINE).measurements)  # type: ignore[union-attr]
    whole = point({**priced, **scored})
    rows: list[dict[str, Any]] = kept("sampling", {"rows": []})["rows"]
    with cluster(workers=usable_cores()) as ray:
        for seed in asked.seeds:
            seeded = replace(prepared, spec=replace(prepared.spec, seed=seed))
            for name in asked.only:
                row = {"search": name, "seed": seed, **found(seeded, ray, SEARCHES[name], asked.trials, whole)}
                print(row, flush=True)
                rows = [old for old in rows if (old["search"], old["seed"]) != (name, seed)] + [row]
                keep("sampling", {"study": asked.study, "trials": asked.trials, "rows": rows})
    rows.sort(key=lambda row: ([*SEARCHES].index(row["search"]), row["seed"]))
    told = table(rows) + "\n"
    (RESULTS / "sampling.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
