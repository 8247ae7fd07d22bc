"""What few bits are worth, and zeros, once students have learned with them: the quickstart's teacher with its table of
words and its layers in 8 bits down to one, as it is rounded and after equally many steps of distillation with its
roundings; files' size and latency, in turns.

    python studies/benchmarks/few_bits.py [--steps 120] [--minutes 20] [--print]

Rows are kept as they come, and those that the same code made are not made again: the table can be filled bit by bit, in
`--minutes` of training at a time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from low_rank import LOAD, SPLITS
from record import RESULTS, commit, keep, kept
from sparsity import is_current

from autocompress import config, operators
from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import weight_bytes
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.ports import Phase
from autocompress.core.storage import Bits
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.distill import predict
from autocompress.finalists.recovery import Recovery, trainable_student
from autocompress.importance import Importance
from autocompress.inputs.vocabulary import row_scores, uses_of
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import batches
from autocompress.teacher.teacher import prepare_teacher

NAME: Final = "few_bits"
_TOKENS: Final = 2000
"""Texts that are timed are made of the first tokens, which every table has."""


@dataclass(frozen=True, slots=True)
class Form:
    """How words and layers are held; `zeros` of all blocks, `used` words alone, the layers that `go`."""

    words: Bits
    layers: Bits
    zeros: Mapping[str, Setting] | None = None
    used: bool = False
    go: tuple[int, ...] = ()

    def policy(self, whole: ModelParts, rows: int) -> CompressionPolicy:
        """With so many rows of words where the others go."""
        left = [layer for layer in range(whole.depth) if layer not in self.go]
        steps = [Step("remove_layer", f"layers.{layer}", {}) for layer in self.go]
        steps += [Step("prune_vocabulary", "embeddings", {"rows": rows})] if self.used else []
        steps += [Step("prune_weights", f"layers.{layer}", self.zeros) for layer in left if self.zeros]
        steps += [Step("quantize", f"layers.{layer}", {"bits": self.layers}) for layer in left]
        steps.append(Step("quantize", "embeddings", {"bits": self.words}))
        return operators.effective(CompressionPolicy(tuple(steps)), whole)[0]


_HALF: Final[Mapping[str, Setting]] = {"pattern": "unstructured", "sparsity": 0.5}

PLAIN: Final = "8 bits"

FORMS: Final[Mapping[str, Form]] = {
    PLAIN: Form(8, 8),
    "2 bits": Form(2, 2),
    "words 2": Form(2, 8),
    "ternary": Form("ternary", "ternary"),
    "words 4, half of the weights zero": Form(4, 8, _HALF),
    "1 bit": Form(1, 1),
    "words 4, zeros 2:4": Form(4, 8, {"pattern": "2:4"}),
    "used words 2, layers 4": Form(2, 4, used=True),
    "used words 2, layers 2": Form(2, 2, used=True),
    "used words 2, four layers 2": Form(2, 2, used=True, go=(1, 4)),
    "words 4, layers 2": Form(4, 2),
    "4 bits": Form(4, 4),
    "words 1": Form(1, 8),
}
"""Those that tell most come first."""


def quickstart() -> tuple[Setup, int, FinalistSpec]:
    """Its teacher, from the cache if it is there; how many words its texts use; how its finalists are trained."""
    spec = config.load_study("quickstart", operators=operators.OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    torch.set_num_threads(1)
    task = teacher.task
    seen = row_scores(task.tokenizer, teacher.anatomy.shape().vocabulary, [task.examples("train")])
    used = uses_of(task.tokenizer, seen, task.examples("validation")).used
    importance = Importance({}, {}, rows=seen)
    setup = Setup.of(teacher.anatomy.model, importance, task, precision=spec.teacher.precision)
    return setup, used, spec.finalists


def trained(recovery: Recovery, policy: CompressionPolicy, steps: int) -> Anatomy:
    """A student that learns with the roundings that it is deployed with, from its first of so many steps on."""
    recovery = recovery.reading(policy)
    setup, training = recovery.setup, recovery.spec.training
    frozen = not operators.in_few_bits(policy, "embeddings")
    student = trainable_student(setup, policy, freeze_embeddings=frozen)
    operators.apply(policy, student, setup.importance, since=Phase.PRECISION)
    if steps:
        chosen = np.random.default_rng(0).permutation(len(recovery.lessons.examples))[: steps * training.batch_size]
        once = replace(recovery.spec, training=replace(training, epochs=1, steps=None))
        recovery._train(student, recovery.lessons.take(chosen), once)
    return student


def scores(setup: Setup, student: Anatomy) -> dict[str, float]:
    """The share of right answers, by split, as the deployed file computes."""
    found = {}
    for split in SPLITS:
        examples = setup.task.examples(split)
        answers = predict(student.model, batches(examples, 32), precision="fp32").argmax(1)
        found[split] = float((answers == examples.labels).mean())
    return found


def file_of(student: Anatomy, path: Path) -> float:
    """Writes it; its megabytes."""
    student.renumber()
    path.write_bytes(write_graph(student.weights()).SerializeToString())
    return path.stat().st_size / 1e6


def time_files(setup: Setup, recovery: Recovery, rows: list[dict[str, Any]], used: int) -> None:
    """Latency of the first, and of the others as a share of it: nodes are the same whatever was learned."""
    sessions = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            path = Path(folder) / "model.onnx"
            row["mb"] = file_of(trained(recovery, FORMS[row["form"]].policy(setup.teacher().shape(), used), 0), path)
            sessions.append(Session(path))
    with timing_lane():
        timed = time_side_by_side([workload_run(one, LOAD, rows=_TOKENS) for one in sessions], rounds=12, seconds=40)
    for row, one in zip(rows, timed, strict=True):
        row["ms"] = one.median
        row["of_int8"] = float(np.median(np.array(one.turns) / np.array(timed[0].turns)))


def table(rows: list[dict[str, Any]]) -> str:
    steps = next((row["steps"] for row in rows if "steps" in row), None)
    names = ["words and layers in", "weights", "latency", "as rounded: validation / test"]
    names += [] if steps is None else [f"after {steps} steps", "points lost then"]
    lines = [f"| {' | '.join(names)} |", "|---|" + "---:|" * (len(names) - 1)]
    for row in rows:
        cells = [row["form"], f"{row['counted_mb']:.1f} MB", f"{row['of_int8']:.2f}x" if "of_int8" in row else ""]
        cells.append(" / ".join(f"{row['before'][split]:.1%}" for split in SPLITS))
        if steps is not None and "after" in row:
            cells.append(" / ".join(f"{row['after'][split]:.1%}" for split in SPLITS))
            cells.append(" / ".join(f"{100 * (rows[0]['before'][one] - row['after'][one]):+.1f}" for one in SPLITS))
        cells += [""] * (len(names) - len(cells))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def written(rows: list[dict[str, Any]]) -> None:
    keep(NAME, rows)
    (RESULTS / f"{NAME}.md").write_text(table(rows) + "\n", encoding="utf-8")


def make(rows: list[dict[str, Any]], *, steps: int, until: float) -> None:
    """Adds what is missing, and keeps it as it comes."""
    setup, used, spec = quickstart()
    recovery = Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), spec, seed=0)
    known, whole = {row["form"]: row for row in rows}, setup.teacher().shape()
    for name, form in FORMS.items():
        policy, row = form.policy(whole, used), known.setdefault(name, {"form": name, "commit": commit()})
        row |= {"counted_mb": weight_bytes(operators.effective(policy, whole)[1]) / 1e6}
        read = recovery.reading(policy).setup
        if "before" not in row:
            row |= {"before": scores(read, trained(recovery, policy, 0))}
        if form != FORMS[PLAIN] and row.get("steps") != steps and time.monotonic() < until:
            began = time.monotonic()
            student = trained(recovery, policy, steps)
            row |= {"steps": steps, "after": scores(read, student), "seconds": time.monotonic() - began}
        print(row, flush=True)
        rows[:] = [known[name] for name in FORMS if name in known]
        written(rows)
    if any("of_int8" not in row for row in rows):
        time_files(setup, recovery, rows, used)
        written(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, metavar="N")
    parser.add_argument("--minutes", type=float, default=20, metavar="N", help="of training; begun rows are ended")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = [row for row in kept(NAME, []) if asked.print or is_current(row, NAME)]
    if not asked.print:
        make(rows, steps=asked.steps, until=time.monotonic() + 60 * asked.minutes)
    print(table(rows))


if __name__ == "__main__":
    main()
