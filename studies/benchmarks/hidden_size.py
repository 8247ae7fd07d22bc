"""What a narrower stream is worth beside fewer layers, or fewer heads and channels, at about the same latency: students
of the quickstart's teacher, all in int8, by what they answer as they are cut, and after equally many steps of
distillation from the teacher's answers; their files' size and latency, in turns.

    python studies/benchmarks/hidden_size.py [--steps 120] [--students 7] [--print]

The last row is the narrower stream without its guess of the channels that went. Kept rows of as many
steps are not trained again; with fewer `--students` the first of them are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from low_rank import LOAD, right
from record import RESULTS, keep, kept

from autocompress import config, operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.finalists.recovery import Recovery
from autocompress.importance import VARIANCE, measure_importance
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import batches
from autocompress.teacher.teacher import prepare_teacher

_SCORED: Final = 512
"""Training texts that heads, channels and the stream are scored on."""


def without(*layers: int) -> tuple[Step, ...]:
    return tuple(Step("remove_layer", f"layers.{layer}") for layer in layers)


def sizes(heads: int, channels: int, *, layers: tuple[int, ...] = tuple(range(6))) -> tuple[Step, ...]:
    pairs = (("prune_heads", "attention", "heads", heads), ("prune_channels", "feed_forward", "channels", channels))
    return tuple(
        Step(operator, f"layers.{layer}.{block}", {name: size, "importance": "fisher"})
        for operator, block, name, size in pairs
        for layer in layers
    )


def hidden(size: int) -> tuple[Step, ...]:
    return (Step("prune_hidden", "*", {"hidden_size": size}),)


STUDENTS: Mapping[str, tuple[Step, ...]] = {
    "whole": (),
    "hidden size 192": hidden(192),
    "3 of 6 layers": without(0, 2, 5),
    "6 of 12 heads, 768 of 1,536 channels": sizes(6, 768),
    "hidden size 192, 6 heads, 768 channels": (*sizes(6, 768), *hidden(192)),
    "3 layers, 6 heads, 768 channels": (*without(0, 2, 5), *sizes(6, 768, layers=(1, 3, 4))),
    "hidden size 192, unguessed": hidden(192),
}
"""Of three layers those of the 20 choices that answers best as it is cut."""


def policy_of(steps: tuple[Step, ...], layers: int) -> CompressionPolicy:
    """All of it in int8."""
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(layers)]
    return CompressionPolicy((*steps, *rounded, Step("quantize", "embeddings", {"bits": 8})))


class Unguessed(Setup):
    """One whose models have no texts to guess channels on; int8 is dynamic here, and needs none."""

    def _model(self, arrays: Mapping[str, Any]) -> Anatomy:
        return anatomy_of(super()._model(arrays).model)


def ready() -> Setup:
    """The quickstart's teacher, from the cache if it is there."""
    spec = config.load_study("quickstart", operators=operators.OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    torch.set_num_threads(1)
    some = teacher.task.examples("train").take(range(_SCORED))
    importance = measure_importance(teacher.anatomy, batches(some, 32), ["fisher", VARIANCE])
    return Setup.of(teacher.anatomy.model, importance, teacher.task, precision=spec.teacher.precision)


def setup_of(setup: Setup, name: str) -> Setup:
    if not name.endswith("unguessed"):
        return setup
    return Unguessed(setup.config, setup.tensors, setup.importance, setup.task, setup.precision)


def judged(setup: Setup, lessons: Lessons, name: str, steps: int) -> dict[str, Any]:
    whole, own = setup.teacher().shape(), setup_of(setup, name)
    policy, shape = operators.effective(policy_of(STUDENTS[name], whole.depth), whole)
    return {
        "student": name,
        "steps": steps,
        "macs": macs(shape, passes(shape, LOAD)) / macs(whole, passes(whole, LOAD)),
        "before": right(setup, SliceEvaluator(own).build(policy)),
        "after": right(setup, Recovery(own, lessons, FinalistSpec(), seed=0).shortly(policy, steps=steps)),
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
        "| student, all in int8 | multiply-accumulates | file | 128 tokens | right: as cut | right: after "
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
    rows: list[dict[str, Any]] = kept("hidden_size", [])
    if not asked.print:
        setup = ready()
        known = {row["student"]: row for row in rows if row["steps"] == asked.steps}
        missing = [name for name in list(STUDENTS)[: asked.students] if name not in known]
        lessons = Lessons.of(setup, TransferSpec(), seed=0) if missing else None
        for name in missing:
            assert lessons is not None
            known[name] = judged(setup, lessons, name, asked.steps)
            print(known[name], flush=True)
            keep("hidden_size", list(known.values()))
        rows = [known[name] for name in STUDENTS if name in known]
        files(setup, rows)
        keep("hidden_size", rows)
        (RESULTS / "hidden_size.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
