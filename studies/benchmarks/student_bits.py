"""What few bits cost a trained student: the same weights, deployed in int8 and in 4 bits.

    python studies/benchmarks/student_bits.py [--seeds 0 1 2] [--print]

Six students of the quickstart's teacher (those of `origins.py`), trained by its recipe; each then has its layers and
its embeddings in 8 bits or 4. What differs between the rows of one training is rounding alone, so that few runs tell
much. Kept runs are not made again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from origins import ALL, mean_of_both
from prepared import LAYER_BY_LAYER, prepare
from record import RESULTS, keep, kept
from scipy import stats

from autocompress import operators
from autocompress.core.cores import usable_cores
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.shape import weight_bytes
from autocompress.distill import CHECKPOINT, kept_weights, predict
from autocompress.evaluate import quality
from autocompress.finalists import Recovery, deployed_student
from autocompress.lessons import Lessons
from autocompress.tasks import batches

WAYS = {
    f"layers int{layers}, embeddings int{rows}": (layers, rows) for layers, rows in itertools.product((8, 4), (8, 4))
}
PLAIN = "layers int8, embeddings int8"


def rounded(policy: CompressionPolicy, layers: int, rows: int) -> CompressionPolicy:
    """The policy with its layers and its embeddings in so many bits."""
    left = [step for step in policy.steps if step.operator != "quantize"]
    targets = [step.target for step in policy.steps if step.operator == "quantize"]
    bits = (Step("quantize", target, {"bits": layers}) for target in targets)
    return CompressionPolicy((*left, *bits, Step("quantize", "embeddings", {"bits": rows})))


def judged(recovery: Recovery, policy: CompressionPolicy) -> list[dict[str, Any]]:
    """Every way of rounding one training."""
    torch.set_num_threads(1)
    setup = recovery.setup
    with tempfile.TemporaryDirectory() as folder:
        recovery(policy, folder=Path(folder))
        weights, _ = kept_weights(Path(folder) / CHECKPOINT)
    found = []
    for way, bits in WAYS.items():
        student = deployed_student(setup, rounded(policy, *bits), weights)
        row: dict[str, Any] = {"way": way, "mb": weight_bytes(student.shape()) / 1e6}
        for split in ("validation", "test"):
            logits = predict(student.model, batches(setup.task.examples(split), 32), precision="fp32")
            row[split] = quality(setup.task, logits, split).value
        found.append(row)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| bits | validation / test | against int8, points on both | MB, smallest to largest student |",
        "|---|---:|---:|---:|",
    ]
    plain = {(row["student"], row["seed"]): mean_of_both(row) for row in rows if row["way"] == PLAIN}
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        means = " / ".join(f"{statistics.fmean(row[split] for row in own):.4f}" for split in ("validation", "test"))
        gains = [mean_of_both(row) - plain[row["student"], row["seed"]] for row in own]
        half = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / len(gains) ** 0.5
        against = "" if way == PLAIN else f"{statistics.fmean(gains):+.2f} ± {half:.2f}"
        sizes = [row["mb"] for row in own]
        lines.append(f"| {way} | {means} | {against} | {min(sizes):.1f} to {max(sizes):.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept("student_bits", [])
    if not asked.only_print:
        rows = run(rows, asked.seeds)
    told = f"{table(rows)}\n\n{len(rows) // len(WAYS)} trainings; 95 % intervals of paired differences.\n"
    (RESULTS / "student_bits.md").write_text(told, encoding="utf-8")
    print(told)


def run(rows: list[dict[str, Any]], seeds: list[int]) -> list[dict[str, Any]]:
    prepared = prepare(space=LAYER_BY_LAYER)
    known = {(row["student"], row["seed"]) for row in rows}
    todo = [(name, seed) for seed in seeds for name in ALL if (name, seed) not in known]
    lessons = {seed: Lessons.of(prepared.setup, prepared.spec.finalists.transfer, seed=seed) for _, seed in todo}
    recoveries = [Recovery(prepared.setup, lessons[seed], prepared.spec.finalists, seed) for _, seed in todo]
    policies = [operators.effective(ALL[name], prepared.pricing.shape)[0] for name, _ in todo]
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for (name, seed), found in zip(todo, pool.map(judged, recoveries, policies), strict=True):
            rows = [*rows, *({"student": name, "seed": seed, **row} for row in found)]
            keep("student_bits", rows)
            print(name, seed, found, flush=True)
    return rows


if __name__ == "__main__":
    main()
