"""How far a candidate's cheap score can be trusted: against what becomes of it once it is trained.

    python studies/benchmarks/ladder.py [--study quickstart] [--policies 16] [--seed 0] [--from-teacher]

Policies that the study may choose, over the whole range of latency, are scored as a search scores them: with the
weights they inherit from the teacher as it is, and with those of the elastic model. Then each is trained by the study's
recipe for finalists, from the elastic model's weights; with `--from-teacher` once more from the teacher's, which takes
as long again and shows what the origin is worth. Printed are Kendall's tau and Spearman's rho between the cheap scores
and the trained ones, on validation data and on validation and test data together, and what choosing by the cheap score
loses (regret: the best trained score less that of the policy with the best cheap score).

No score ranks better than what it is compared with is known: the trained models' own two scores, on validation and on
test data, are ranked against each other too. Where their tau is low the models are too alike for these texts to tell.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from prepared import Prepared, prepare
from record import keep
from scipy import stats

from autocompress.core.cores import usable_cores
from autocompress.core.outcome import values
from autocompress.core.policy import CompressionPolicy
from autocompress.distill import CHECKPOINT, kept_weights, predict
from autocompress.elastic import sample_policies
from autocompress.evaluate import Setup, SliceEvaluator, quality
from autocompress.finalists import Recovery, deployed_student
from autocompress.tasks import batches

ORIGINS = ("elastic", "teacher")


def stratified(prepared: Prepared, count: int, seed: int) -> list[CompressionPolicy]:
    """Policies over the whole range of latency: of many, the nearest to the middle of each of `count` parts of equal
    ratio."""
    drawn = sample_policies(prepared.space, prepared.pricing, 40 * count, seed=1000 + seed)
    pool = {policy.digest: (math.log(latency(prepared, policy)), policy) for policy in drawn}
    low, high = min(cost for cost, _ in pool.values()), max(cost for cost, _ in pool.values())
    found = []
    for place in range(count):
        middle = low + (place + 0.5) * (high - low) / count
        nearest = min(pool, key=lambda digest: abs(pool[digest][0] - middle))
        found.append(pool.pop(nearest)[1])
    return sorted(found, key=lambda policy: latency(prepared, policy))


def latency(prepared: Prepared, policy: CompressionPolicy) -> float:
    return values(prepared.pricing(policy).measurements)["latency_ms"]


def scored(recovery: Recovery, policy: CompressionPolicy) -> dict[str, float]:
    """The cheap score alone."""
    torch.set_num_threads(1)
    return {"cheap": values(SliceEvaluator(recovery.setup)(policy).measurements)["quality"]}  # type: ignore[union-attr]


def judge(recovery: Recovery, policy: CompressionPolicy) -> dict[str, float]:
    """Cheap and trained scores of one policy from one origin."""
    cheap = scored(recovery, policy)
    setup: Setup = recovery.setup
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        recovery(policy, folder=Path(folder))
        seconds = time.monotonic() - started
        weights, _ = kept_weights(Path(folder) / CHECKPOINT)
    student = deployed_student(setup, policy, weights)
    trained = {}
    for split in ("validation", "test"):
        logits = predict(student.model, batches(setup.task.examples(split), 32), precision="fp32")
        trained[split] = quality(setup.task, logits, split).value
    return {**cheap, **trained, "seconds": seconds}


def trust(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How well each origin's cheap scores rank what the elastic model's students became, and how well these are known
    themselves."""
    trained = [row["elastic"] for row in rows]
    validation, test = ([one[split] for one in trained] for split in ("validation", "test"))
    both = [sum(pair) for pair in zip(validation, test, strict=True)]
    found = {"validation against test, once trained": {"tau": _tau(validation, test)}}
    for origin in ORIGINS:
        scores = [row[origin]["cheap"] for row in rows]
        chosen = max(range(len(rows)), key=scores.__getitem__)
        found[f"{origin} weights"] = {
            "tau": _tau(scores, validation),
            "tau on both": _tau(scores, both),
            "rho": float(stats.spearmanr(scores, validation).statistic),
            "regret": max(validation) - validation[chosen],
        }
    return found


def _tau(a: list[float], b: list[float]) -> float:
    return float(stats.kendalltau(a, b).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--policies", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from-teacher", action="store_true", help="train from the teacher's weights as well")
    asked = parser.parse_args()
    prepared = prepare(asked.study, seed=asked.seed)
    policies = stratified(prepared, asked.policies, asked.seed)
    elastic = Recovery(prepared.setup, prepared.lessons(), prepared.spec.finalists, asked.seed)
    plain = replace(elastic, setup=replace(prepared.setup, elastic=None))
    rows: list[dict[str, Any]] = [{"latency_ms": latency(prepared, policy)} for policy in policies]
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for origin, recovery in (("elastic", elastic), ("teacher", plain)):
            how = judge if origin == "elastic" or asked.from_teacher else scored
            judged = pool.map(how, [recovery] * len(policies), reversed(policies))  # the longest first
            for row, found in zip(reversed(rows), judged, strict=True):
                row[origin] = found
                shown = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
                print(f"{origin}: {row['latency_ms']:.2f} ms: {shown}", flush=True)
    figures = trust(rows)
    for name, found in figures.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in found.items()))
    for key in ("validation", "seconds"):
        trained = ORIGINS if asked.from_teacher else ("elastic",)
        means = {origin: sum(row[origin][key] for row in rows) / len(rows) for origin in trained}
        print(f"mean {key} once trained: " + ", ".join(f"from the {name} {value:.4g}" for name, value in means.items()))
    print(f"kept in {keep('ladder', {'study': asked.study, 'seed': asked.seed, 'trust': figures, 'policies': rows})}")


if __name__ == "__main__":
    main()
