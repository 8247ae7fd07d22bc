"""Whose weights a finalist should start from: the teacher's or the elastic model's, by the size of the student.

    python studies/benchmarks/origins.py [--seeds 0 1 2] [--print]

Six students of the quickstart's teacher, of a tenth to half of its multiply-accumulates, each trained alone on one
thread by the quickstart's recipe from either origin. Kept runs are not made again. The last column is what decides over
`finalists.from_teacher`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from prepared import LAYER_BY_LAYER, Prepared, prepare
from record import RESULTS, keep, kept
from scipy import stats
from students import SIX, Job, mean_of_both, side_by_side

from autocompress import operators
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.workload import Workload
from autocompress.finalists.recovery import Recovery

ORIGINS = {"teacher": 0.0, "elastic": 2.0}
"""The share of the work from which on a student starts from the teacher: all of them, or none."""


def work(policy: CompressionPolicy, whole: ModelParts) -> float:
    """A student's multiply-accumulates, as a share of its teacher's."""
    _, shape = operators.effective(policy, whole)
    load = Workload(length=128)
    return macs(shape, passes(shape, load, whole=True)) / macs(whole, passes(whole, load, whole=True))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| student | share of the work | elastic: validation / test | teacher: validation / test "
        "| teacher above elastic, points on both |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in sorted({row["student"] for row in rows}, key=lambda name: shares(rows)[name]):
        own = {(row["origin"], row["seed"]): row for row in rows if row["student"] == name}
        seeds = [seed for origin, seed in own if origin == "elastic" and ("teacher", seed) in own]
        cells = []
        for origin in ("elastic", "teacher"):
            means = (statistics.fmean(own[origin, seed][split] for seed in seeds) for split in ("validation", "test"))
            cells.append(" / ".join(f"{mean:.4f}" for mean in means))
        gains = [mean_of_both(own["teacher", seed]) - mean_of_both(own["elastic", seed]) for seed in seeds]
        each = ", ".join(f"{gain:+.2f}" for gain in gains)
        cells.append(f"{statistics.fmean(gains):+.2f} ({each})")
        lines.append(f"| {name} | {shares(rows)[name]:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["student"]: row["share"] for row in rows}


def trend(rows: list[dict[str, Any]]) -> str:
    """Whether the gain grows with the student."""
    found = {(row["student"], row["seed"], row["origin"]): mean_of_both(row) for row in rows}
    pairs = [
        (shares(rows)[name], value - found[name, seed, "elastic"])
        for (name, seed, origin), value in found.items()
        if origin == "teacher" and (name, seed, "elastic") in found
    ]
    rho = stats.spearmanr(*zip(*pairs, strict=True))
    return f"share of the work against gain, {len(pairs)} pairs: rho {rho.statistic:.2f} (p = {rho.pvalue:.3f})"


def jobs(prepared: Prepared, seeds: list[int], known: set[tuple[Any, ...]]) -> Iterator[Job]:
    spec, whole = prepared.spec.finalists, prepared.setup.teacher().shape()
    for seed in seeds:
        lessons = Lessons.of(prepared.setup, spec.transfer, seed=seed)
        for origin, least in ORIGINS.items():
            recovery = Recovery(prepared.setup, lessons, replace(spec, from_teacher=least), seed)
            for name, policy in SIX.items():
                if (name, origin, seed) not in known:
                    about = {"student": name, "share": work(policy, whole), "origin": origin, "seed": seed}
                    yield about, recovery, policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept("origins", [])
    known = {(row["student"], row["origin"], row["seed"]) for row in rows}
    if not asked.only_print:
        todo = list(jobs(prepare(space=LAYER_BY_LAYER), asked.seeds, known))
        for about, found in side_by_side(todo):
            rows = [*rows, {**about, **found}]
            keep("origins", rows)
            print({**about, **found}, flush=True)
    told = f"{table(rows)}\n\n{trend(rows)}\n"
    (RESULTS / "origins.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
