"""How far a candidate's cheap score can be trusted: against what becomes of it once it is trained.

    python studies/benchmarks/ladder.py [--study quickstart] [--seed 0] [--policies 16]
    python studies/benchmarks/ladder.py --print

Policies that the study may choose, over the whole range of latency, are scored as a search scores them: with the
weights they inherit from the teacher as it is, and with those of the elastic model. Then each is trained by the study's
recipe for finalists. Compared are Kendall's tau between the cheap scores and the trained ones, on validation data and
on validation and test data together, and what choosing by the cheap score loses (regret: the best trained score less
that of the policy with the best cheap score). Beside them stands what needs no score: a policy's multiply-accumulates.

No score ranks better than what it is compared with is known: the trained models' own two scores, on validation and on
test data, are ranked against each other too. Where their tau is low the models are too alike for these texts to tell.
Kept policies are not trained again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prepared import Prepared, prepare
from record import RESULTS, keep, kept
from scipy import stats
from students import Job, Row, judge, scored, side_by_side

from autocompress.candidates.elastic import sample_policies
from autocompress.core.outcome import values
from autocompress.core.policy import CompressionPolicy
from autocompress.finalists.recovery import Recovery

CHEAP = {
    "slices of the elastic model": "cheap",
    "slices of the teacher as it is": "inherited",
    "multiply-accumulates alone": "macs",
}
"""What may rank candidates before they are trained."""


def stratified(prepared: Prepared, count: int, seed: int) -> list[CompressionPolicy]:
    """Policies over the whole range of latency: of many, the nearest to the middle of each of `count` parts of equal
    ratio."""
    drawn = sample_policies(prepared.space, prepared.pricing, 40 * count, seed=1000 + seed)
    pool = {policy.digest: (math.log(cost(prepared, policy)), policy) for policy in drawn}
    low, high = min(found for found, _ in pool.values()), max(found for found, _ in pool.values())
    found = []
    for place in range(count):
        middle = low + (place + 0.5) * (high - low) / count
        nearest = min(pool, key=lambda digest: abs(pool[digest][0] - middle))
        found.append(pool.pop(nearest)[1])
    return sorted(found, key=lambda policy: cost(prepared, policy))


def cost(prepared: Prepared, policy: CompressionPolicy, metric: str = "latency_ms") -> float:
    return values(prepared.pricing(policy).measurements)[metric]


def judged(recovery: Recovery, policy: CompressionPolicy) -> dict[str, float]:
    """All scores of one policy, before training and after it."""
    inherited = scored(replace(recovery, setup=replace(recovery.setup, elastic=None)), policy)
    return {**judge(recovery, policy), "inherited": inherited["cheap"]}


def table(rows: list[Row]) -> str:
    lines = [
        "| study | policies | ranked by | Kendall's tau: validation | validation and test | regret, points |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for study, seed in dict.fromkeys((row["study"], row["seed"]) for row in rows):
        own = [row for row in rows if (row["study"], row["seed"]) == (study, seed)]
        trained = [row["validation"] for row in own]
        both = [row["validation"] + row["test"] for row in own]
        about = f"| {study}, seed {seed} | {len(own)} |"
        for name, key in CHEAP.items():
            scores = [row[key] for row in own]
            chosen = max(range(len(own)), key=scores.__getitem__)
            regret = 100 * (max(trained) - trained[chosen])
            lines.append(f"{about} {name} | {tau(scores, trained):.2f} | {tau(scores, both):.2f} | {regret:.1f} |")
        tests = [row["test"] for row in own]
        lines.append(f"{about} the trained models' own test score | {tau(tests, trained):.2f} | | |")
    return "\n".join(lines)


def tau(a: Sequence[float], b: Sequence[float]) -> float:
    return float(stats.kendalltau(a, b).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--policies", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rows: list[Row] = kept("ladder", [])
    if not asked.only_print:
        rows = run(rows, asked.study, asked.policies, asked.seed)
    told = f"{table(rows)}\n"
    (RESULTS / "ladder.md").write_text(told, encoding="utf-8")
    print(told)


def run(rows: list[Row], study: str, count: int, seed: int) -> list[Row]:
    prepared = prepare(study, seed=seed)
    known = {(row["study"], row["seed"], row["policy"]) for row in rows}
    recovery = Recovery(prepared.setup, prepared.lessons(), prepared.spec.finalists, seed)
    todo: list[Job] = []
    for policy in reversed(stratified(prepared, count, seed)):  # the longest training first
        about: dict[str, Any] = {"study": study, "seed": seed, "policy": policy.digest}
        if tuple(about.values()) not in known:
            costs = {metric: cost(prepared, policy, metric) for metric in ("latency_ms", "macs")}
            todo.append(({**about, **costs}, recovery, policy))
    for about, found in side_by_side(todo, judged):
        rows = sorted([*rows, {**about, **found}], key=lambda row: (row["study"], row["seed"], row["latency_ms"]))
        keep("ladder", rows)
        print({**about, **found}, flush=True)
    return rows


if __name__ == "__main__":
    main()
