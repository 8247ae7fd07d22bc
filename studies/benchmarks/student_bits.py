"""What few bits cost a trained student: the same weights, deployed in int8 and in 4 bits.

    python studies/benchmarks/student_bits.py [--seeds 0 1 2] [--print]

Six students of the quickstart's teacher , trained by its recipe; each then has its layers and
its embeddings in 8 bits or 4. What differs between the rows of one training is rounding alone, so that few runs tell
much. Kept runs are not made again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterator

from prepared import LAYER_BY_LAYER, Prepared, prepare
from record import RESULTS, keep, kept, mean_with_interval
from students import SIX, SPLITS, Job, Row, deployed_scores, mean_of_both, side_by_side, trained_weights

from autocompress import operators
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import weight_bytes
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.finalists.recovery import Recovery

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


def judged(recovery: Recovery, policy: CompressionPolicy) -> list[Row]:
    """Every way of rounding one training."""
    weights = trained_weights(recovery, policy)
    whole = recovery.setup.teacher().shape()
    found = []
    for way, bits in WAYS.items():
        smaller = rounded(policy, *bits)
        _, shape = operators.effective(smaller, whole)
        found.append({"way": way, "mb": weight_bytes(shape) / 1e6, **deployed_scores(recovery, smaller, weights)})
    return found


def table(rows: list[Row]) -> str:
    lines = [
        "| bits | validation / test | against int8, points on both | MB, smallest to largest student |",
        "|---|---:|---:|---:|",
    ]
    plain = {(row["student"], row["seed"]): mean_of_both(row) for row in rows if row["way"] == PLAIN}
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        means = " / ".join(f"{statistics.fmean(row[split] for row in own):.4f}" for split in SPLITS)
        gains = [mean_of_both(row) - plain[row["student"], row["seed"]] for row in own]
        against = "" if way == PLAIN else mean_with_interval(gains)
        sizes = [row["mb"] for row in own]
        lines.append(f"| {way} | {means} | {against} | {min(sizes):.1f} to {max(sizes):.1f} |")
    return "\n".join(lines)


def jobs(prepared: Prepared, seeds: list[int], known: set[tuple[str, int]]) -> Iterator[Job]:
    spec = prepared.spec.finalists
    for seed in seeds:
        recovery = Recovery(prepared.setup, Lessons.of(prepared.setup, spec.transfer, seed=seed), spec, seed)
        for name, policy in SIX.items():
            if (name, seed) not in known:
                yield {"student": name, "seed": seed}, recovery, policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rows: list[Row] = kept("student_bits", [])
    known = {(row["student"], row["seed"]) for row in rows}
    if not asked.only_print:
        todo = list(jobs(prepare(space=LAYER_BY_LAYER), asked.seeds, known))
        for about, found in side_by_side(todo, judged):
            rows = [*rows, *({**about, **row} for row in found)]
            keep("student_bits", rows)
            print(about, found, flush=True)
    told = f"{table(rows)}\n\n{len(rows) // len(WAYS)} trainings; 95 % intervals of paired differences.\n"
    (RESULTS / "student_bits.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
