"""Whose weights a finalist should start from: the teacher's or the elastic model's, by the size of the student.

    python studies/benchmarks/origins.py [--seeds 0 1 2] [--print]

Six students of the quickstart's teacher, of a tenth to half of its multiply-accumulates, each trained alone on one
thread by the quickstart's recipe from either origin. Kept runs are not made again. The last column is what decides over
`finalists.from_teacher`.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from ladder import judge
from prepared import LAYER_BY_LAYER, prepare
from record import RESULTS, keep, kept
from recovery import STUDENTS, student
from scipy import stats

from autocompress import operators
from autocompress.core.cores import usable_cores
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.shape import ModelShape, macs
from autocompress.finalists import Recovery
from autocompress.lessons import Lessons

ORIGINS = {"teacher": 0.0, "elastic": 2.0}
"""The share of the work from which on a student starts from the teacher: all of them, or none."""


def narrow() -> CompressionPolicy:
    """Five layers, each narrow: what a search picked for its speed within one point."""
    sizes = {0: (6, 384), 1: (3, 384), 3: (6, 384), 4: (9, 768), 5: (3, 384)}
    how = {"importance": "fisher"}
    heads = (Step("prune_heads", f"layers.{i}.attention", {"heads": n, **how}) for i, (n, _) in sizes.items())
    channels = (
        Step("prune_channels", f"layers.{i}.feed_forward", {"channels": n, **how}) for i, (_, n) in sizes.items()
    )
    rounded = (Step("quantize", f"layers.{i}", {"bits": 8}) for i in sizes)
    return CompressionPolicy((Step("remove_layer", "layers.2"), *heads, *channels, *rounded))


ALL = {
    "1 layer": student((4,), 12, 768),
    **STUDENTS,
    "5 narrow layers": narrow(),
    "3 whole layers": student((0, 2, 4), 12, 1536),
}


def work(policy: CompressionPolicy, whole: ModelShape) -> float:
    """A student's multiply-accumulates, as a share of its teacher's."""
    _, shape = operators.effective(policy, whole)
    return macs(shape, batch=1, length=128) / macs(whole, batch=1, length=128)


def mean_of_both(row: dict[str, Any]) -> float:
    """Points on validation and test texts together: twice as many as either."""
    return 50 * float(row["validation"] + row["test"])


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept("origins", [])
    if not asked.only_print:
        rows = run(rows, asked.seeds)
    told = f"{table(rows)}\n\n{trend(rows)}\n"
    (RESULTS / "origins.md").write_text(told, encoding="utf-8")
    print(told)


def run(rows: list[dict[str, Any]], seeds: list[int]) -> list[dict[str, Any]]:
    prepared = prepare(space=LAYER_BY_LAYER)
    spec, whole = prepared.spec.finalists, prepared.setup.teacher().shape()
    known = {(row["student"], row["origin"], row["seed"]) for row in rows}
    todo, recoveries = [], []
    for seed in seeds:
        lessons = Lessons.of(prepared.setup, spec.transfer, seed=seed)
        for origin, least in ORIGINS.items():
            for name, policy in ALL.items():
                if (name, origin, seed) not in known:
                    about = {"student": name, "share": work(policy, whole), "origin": origin, "seed": seed}
                    todo.append((about, policy))
                    recoveries.append(Recovery(prepared.setup, lessons, replace(spec, from_teacher=least), seed))
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        judged = pool.map(judge, recoveries, [policy for _, policy in todo])
        for (about, _), found in zip(todo, judged, strict=True):
            rows = [*rows, {**about, **found}]
            keep("origins", rows)
            print({**about, **found}, flush=True)
    return rows


if __name__ == "__main__":
    main()
