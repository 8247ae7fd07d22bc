"""Which sub-networks the elastic model should be trained on: how well its slices answer, by what each step trains.

    python studies/benchmarks/elastic.py [--seeds 0 1 2] [--only NAME ...] [--steps N]

The quickstart's teacher is trained to an elastic model in each way: random feasible sub-networks (the quickstart's own
recipe); the largest, the smallest and random ones in every step; widths first, then depth too; and with one more loss
(attention relations, hidden states). All train equally many sub-networks, whatever a step holds of them, however long
that takes. Judged are slices for 16 policies, one from each part of the range of latency, on validation data. Kept rows
are replaced one by one, so that parts may be run on different days; with `--steps` less is trained, and nothing kept.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ladder import stratified
from prepared import Prepared, prepare
from record import keep, kept, spread

from autocompress.candidates.elastic import ElasticTraining, curriculum
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.core.cores import usable_cores
from autocompress.core.outcome import values
from autocompress.core.policy import CompressionPolicy
from autocompress.core.training_spec import DistillationSpec, ElasticSpec

POLICIES = 16
ENDS = 4
"""So many of the cheapest and of the dearest policies are told apart: a way of sampling may favour one end."""

AMPLE = 240.0
"""Minutes that no variant needs: steps decide."""

Variant = tuple[ElasticSpec, DistillationSpec]


def variants(spec: ElasticSpec, distillation: DistillationSpec) -> dict[str, Variant]:
    two = replace(spec, subnetworks=2, minutes=AMPLE)
    four = replace(two, subnetworks=4, steps=max(1, two.steps // 2))
    return {
        "the teacher as it is": (replace(two, steps=0), distillation),
        "random": (two, distillation),
        "random, 4 a step": (four, distillation),
        "sandwich, 4 a step": (replace(four, sampling="sandwich"), distillation),
        "progressive": (replace(two, progressive=True), distillation),
        "sandwich, 4 a step, progressive": (replace(four, sampling="sandwich", progressive=True), distillation),
        "+ attention relations": (two, replace(distillation, relations=1.0)),
        "+ hidden states": (two, replace(distillation, hidden=1.0)),
    }


def trained(prepared: Prepared, variant: Variant, seed: int) -> Setup:
    spec, distillation = variant
    if not spec.steps:
        return prepared.setup
    taught = curriculum(spec, prepared.space, prepared.pricing, seed=seed)
    training = ElasticTraining(
        prepared.setup, prepared.lessons(), taught, spec, distillation, seed=seed, workers=usable_cores()
    )
    with tempfile.TemporaryDirectory() as folder:
        return replace(prepared.setup, elastic=training.run(Path(folder) / "training"))


def judged(prepared: Prepared, variant: Variant, policies: list[CompressionPolicy], seed: int) -> dict[str, Any]:
    """The scores of its slices in the order of `policies`, and how long it took to train."""
    started = time.monotonic()
    evaluate = SliceEvaluator(trained(prepared, variant, seed))
    seconds = time.monotonic() - started
    scores = [values(evaluate(policy).measurements)["quality"] for policy in policies]  # type: ignore[union-attr]
    return {"scores": scores, "seconds": seconds}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| sub-networks of a step | seeds | mean score | {ENDS} cheapest | {ENDS} dearest | seconds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]
        parts = (slice(None), slice(ENDS), slice(-ENDS, None))
        cells = [spread([statistics.fmean(row["scores"][part]) for row in own]) for part in parts]
        seconds = statistics.fmean(row["seconds"] for row in own)
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants alone")
    parser.add_argument("--steps", type=int, help="so many instead of the study's; what comes of it is not kept")
    asked = parser.parse_args()
    prepared = prepare(elastic=False)
    own = prepared.spec.elastic
    ways = variants(replace(own, steps=asked.steps or own.steps), prepared.spec.finalists.distillation)
    policies = stratified(prepared, POLICIES, 0)
    prepared.lessons()  # made once, and no part of what is timed
    rows: list[dict[str, Any]] = [] if asked.steps else kept("elastic", [])
    for seed in asked.seeds:
        for name in asked.only or ways:
            if not ways[name][0].steps and seed != asked.seeds[0]:
                continue  # nothing is drawn
            found: dict[str, Any] = {"variant": name, "seed": seed, **judged(prepared, ways[name], policies, seed)}
            rows = [row for row in rows if (row["variant"], row["seed"]) != (name, seed)] + [found]
            rows.sort(key=lambda row: ([*ways].index(row["variant"]), row["seed"]))
            if not asked.steps:
                keep("elastic", rows)
            print(f"{name}, seed {seed}: {statistics.fmean(found['scores']):.4f}, {found['seconds']:.0f} s", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
