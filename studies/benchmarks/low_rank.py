"""What low rank is worth beside cutting as many numbers out of whole products: students of the quickstart's teacher,
all in int8, by what they answer as they are cut, and after equally many steps of distillation from the teacher's
answers; their files' size and latency, in turns.

    python studies/benchmarks/low_rank.py [--steps 120] [--students 9] [--print]

Rows come in pairs of about as many multiply-accumulates in their products. Kept rows of as many steps are not trained
again; with fewer `--students` the first of them are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, keep, kept

from autocompress import config, operators
from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.distill import predict
from autocompress.finalists.recovery import Recovery
from autocompress.importance import measure_importance
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import batches
from autocompress.teacher.teacher import prepare_teacher

SPLITS = ("validation", "test")
LOAD = Workload(1, 128, 1)
_SCORED = 512
"""Training texts that heads and channels are scored on."""

Cuts = Mapping[str, Mapping[str, Setting]]
RANK, HEADS, CHANNELS = "low_rank", "prune_heads", "prune_channels"


def cut(attention: dict[str, Setting] | None = None, feed_forward: dict[str, Setting] | None = None) -> Cuts:
    return {"attention": attention or {}, "feed_forward": feed_forward or {}}


STUDENTS: Mapping[str, Cuts] = {
    "whole": cut(),
    "feed-forward in rank 25 %": cut(None, {"rank": 0.25}),
    "480 of 1,536 channels": cut(None, {"channels": 480}),
    "attention in rank 25 %": cut({"rank": 0.25}),
    "6 of 12 heads": cut({"heads": 6}),
    "both in rank 25 %": cut({"rank": 0.25}, {"rank": 0.25}),
    "6 heads, 480 channels": cut({"heads": 6}, {"channels": 480}),
    "feed-forward in rank 12.5 %": cut(None, {"rank": 0.125}),
    "240 channels": cut(None, {"channels": 240}),
}


def policy_of(cuts: Cuts, layers: int) -> CompressionPolicy:
    """The same in every layer; all in int8."""
    operator = {"heads": HEADS, "channels": CHANNELS, "rank": RANK}
    steps = [
        Step(
            operator[name],
            f"layers.{layer}.{block}",
            {name: value} if name == "rank" else {name: value, "importance": "fisher"},
        )
        for block, settings in cuts.items()
        for name, value in settings.items()
        for layer in range(layers)
    ]
    steps.sort(key=lambda step: operators.OPERATORS[step.operator].phase)
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(layers)]
    return CompressionPolicy((*steps, *rounded, Step("quantize", "embeddings", {"bits": 8})))


def ready() -> Setup:
    """The quickstart's teacher, from the cache if it is there."""
    spec = config.load_study("quickstart", operators=operators.OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    torch.set_num_threads(1)
    some = teacher.task.examples("train").take(range(_SCORED))
    importance = measure_importance(teacher.anatomy, batches(some, 32), ["fisher"])
    return Setup.of(teacher.anatomy.model, importance, teacher.task, precision=spec.teacher.precision)


def right(setup: Setup, student: Anatomy) -> float:
    """The share of right answers on validation and test texts together, as the deployed file computes."""
    counted = total = 0
    for split in SPLITS:
        examples = setup.task.examples(split)
        logits = predict(student.model, batches(examples, 32), precision="fp32")
        counted += int((logits.argmax(1) == examples.labels).sum())
        total += len(examples)
    return counted / total


def judged(setup: Setup, lessons: Lessons, name: str, steps: int) -> dict[str, Any]:
    whole = setup.teacher().shape()
    policy, shape = operators.effective(policy_of(STUDENTS[name], whole.depth), whole)
    recovery = Recovery(setup, lessons, FinalistSpec(), seed=0)
    return {
        "student": name,
        "steps": steps,
        "macs": macs(shape, passes(shape, LOAD)) / macs(whole, passes(whole, LOAD)),
        "before": right(setup, SliceEvaluator(setup).build(policy)),
        "after": right(setup, recovery.shortly(policy, steps=steps)),
    }


def files(setup: Setup, rows: list[dict[str, Any]]) -> None:
    """Size and latency of every student, their weights as they are cut."""
    whole, sessions = setup.teacher().shape(), []
    with tempfile.TemporaryDirectory() as folder:
        for place, row in enumerate(rows):
            policy, _ = operators.effective(policy_of(STUDENTS[row["student"]], whole.depth), whole)
            path = Path(folder) / f"{place}.onnx"
            path.write_bytes(write_graph(SliceEvaluator(setup).build(policy).weights()).SerializeToString())
            sessions.append(Session(path))
            row["mb"] = path.stat().st_size / 1e6
        runs = [workload_run(one, LOAD, rows=whole.vocabulary) for one in sessions]
        with timing_lane():
            timed = time_side_by_side(runs, rounds=20, seconds=30)
    for row, one in zip(rows, timed, strict=True):
        row["ms"] = one.median
        row["faster"] = float(np.median(np.array(timed[0].turns) / np.array(one.turns)))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| student, six layers in int8 | multiply-accumulates | file | 128 tokens | right: as cut | right: after "
        f"{rows[0]['steps']} steps |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        speed = f"{row['ms']:.2f} ms, {row['faster']:.2f}x"
        cells = [row["student"], f"{row['macs']:.0%}", f"{row['mb']:.1f} MB", speed, f"{row['before']:.1%}"]
        lines.append(f"| {' | '.join(cells)} | {row['after']:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, metavar="N")
    parser.add_argument("--students", type=int, default=len(STUDENTS), metavar="N")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept("low_rank", [])
    if not asked.print:
        setup = ready()
        lessons = Lessons.of(setup, TransferSpec(), seed=0)
        known = {row["student"]: row for row in rows if row["steps"] == asked.steps}
        for name in list(STUDENTS)[: asked.students]:
            if name not in known:
                known[name] = judged(setup, lessons, name, asked.steps)
                print(known[name], flush=True)
        rows = [known[name] for name in STUDENTS if name in known]
        files(setup, rows)
        keep("low_rank", rows)
        (RESULTS / "low_rank.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
