"""How a search should begin: fronts of slices that short searches find, by how their sampler starts.

    python studies/benchmarks/sampling.py [--study quickstart] [--seeds 0 1 2] [--trials 150] [--only NAME ...]

Every search has the same elastic model, workers and number of trials, and nothing is trained after it. Compared is the
hypervolume of (quality, log2 of latency, log2 of size), in points times doublings times doublings, of what was found:
from ten points below the elastic model's full size on, which is what training heals at most, and from the
uncompressed model's costs. `even` starts: every second proposal of the first generation has the same sizes in all
layers. `uniform` searches the space in which all policies are so.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prepared import Prepared, prepare, search
from record import RESULTS, keep

from autocompress import config
from autocompress.core.cores import usable_cores
from autocompress.core.outcome import Evaluated, values
from autocompress.core.pareto import hypervolume
from autocompress.core.policy import BASELINE
from autocompress.evaluate import SliceEvaluator
from autocompress.finalists import HEALED
from autocompress.operators import OPERATORS
from autocompress.runners.cluster import cluster
from autocompress.store import Store


@dataclass(frozen=True)
class Start:
    """How a search begins."""

    space: str = ""
    sampler: str = "nsga2"
    population: int = 33
    even: bool = True


STARTS = {
    "random search": Start(sampler="random", even=False),
    "33 at random": Start(even=False),
    "33, half of them even": Start(),
    "16, half of them even": Start(population=16),
    "uniform space": Start(space="bert-uniform", even=False),
}


def found(prepared: Prepared, ray: Any, start: Start, trials: int, whole: tuple[float, ...]) -> dict[str, float]:
    """One search, and the volume that its slices fill."""
    if start.space:
        space = config.load_space(start.space, operators=OPERATORS)
        shape = prepared.pricing.shape
        bound = space.bind(
            shape.names(), lambda operator, target, knob: OPERATORS[operator].size_of(shape, target, knob)
        )
        prepared = replace(prepared, space=bound)
    prepared = replace(prepared, spec=replace(prepared.spec, sampler=start.sampler))
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "search.db"
        tally = search(
            prepared, ray, database, workers=usable_cores(), trials=trials, population=start.population, even=start.even
        )
        with Store.open(str(database)) as store:
            outcomes = [r.outcome for r in store.records("benchmark") if isinstance(r.outcome, Evaluated)]
    points = [point(values(outcome.measurements)) for outcome in outcomes]
    reference = (whole[0] + 100 * HEALED, *whole[1:])
    return {"volume": hypervolume(points, reference), "evaluated": tally.evaluated}


def point(of: Any) -> tuple[float, ...]:
    return -100 * of["quality"], math.log2(of["latency_ms"]), math.log2(of["size_mb"])


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| start | hypervolume of slices | seed by seed |", "|---|---:|---|"]
    for name in dict.fromkeys(row["start"] for row in rows):
        volumes = [row["volume"] for row in rows if row["start"] == name]
        spread = f" ± {statistics.stdev(volumes):.1f}" if len(volumes) > 1 else ""
        lines.append(f"| {name} | {statistics.fmean(volumes):.1f}{spread} | {', '.join(f'{v:.1f}' for v in volumes)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--only", nargs="+", choices=[*STARTS], default=[*STARTS])
    asked = parser.parse_args()
    prepared = prepare(asked.study)
    prepared = replace(prepared, pricing=replace(prepared.pricing, constraints={}))
    prepared = replace(prepared, spec=replace(prepared.spec, constraints={}))
    priced = values(prepared.pricing(BASELINE).measurements)
    scored = values(SliceEvaluator(prepared.setup)(BASELINE).measurements)  # type: ignore[union-attr]
    whole = point({**priced, **scored})
    path = RESULTS / "sampling.json"
    rows: list[dict[str, Any]] = (
        json.loads(path.read_text(encoding="utf-8"))["figures"]["rows"] if path.exists() else []
    )
    with cluster(workers=usable_cores()) as ray:
        for seed in asked.seeds:
            seeded = replace(prepared, spec=replace(prepared.spec, seed=seed))
            for name in asked.only:
                row = {"start": name, "seed": seed, **found(seeded, ray, STARTS[name], asked.trials, whole)}
                print(row, flush=True)
                rows = [old for old in rows if (old["start"], old["seed"]) != (name, seed)] + [row]
                keep("sampling", {"study": asked.study, "trials": asked.trials, "rows": rows})
    rows.sort(key=lambda row: ([*STARTS].index(row["start"]), row["seed"]))
    told = table(rows) + "\n"
    (RESULTS / "sampling.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
