"""What zeros are worth: the quickstart's teacher with layers in int8, in every pattern at three strengths, by what it
answers as it is pruned and, of some, after a short distillation from its answers before; its file, how long that takes
to load, and its latency beside the dense model's, in turns.

    python studies/benchmarks/sparsity.py [--steps 60] [--trained 4] [--print]

So many of `TRAINED` are trained, the first ones. What is kept of the same commit is not made again: the table can be
filled bit by bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from low_rank import LOAD, ready, right
from record import RESULTS, commit, keep, kept

from autocompress import operators
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.finalists.recovery import Recovery

DENSE: Final = "dense"
_LOADS: Final = 5
"""How often a file is opened; the median counts."""


def _of(pattern: str, share: float, importance: str = "wanda") -> tuple[str, Mapping[str, Setting]]:
    name = f"{pattern}, {share:.0%}" + (" by magnitude" if importance == "magnitude" else "")
    return name, {"pattern": pattern, "sparsity": share, "importance": importance}


FORMS: Final[Mapping[str, Mapping[str, Setting]]] = {
    DENSE: {},
    **dict(_of("unstructured", share) for share in (0.5, 0.7, 0.85)),
    **dict(_of("unstructured", share, "magnitude") for share in (0.5, 0.7, 0.85)),
    **dict(_of(pattern, share) for pattern, share in (("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.75))),
    **dict(_of(pattern, share) for pattern in ("1x4", "4x1", "16x16", "32x32") for share in (0.3, 0.5, 0.7)),
}
"""N:M patterns have one strength each."""

TRAINED: Final = (
    DENSE,
    "unstructured, 70%",
    "unstructured, 85%",
    "2:4, 50%",
    "1:4, 75%",
    "1x4, 50%",
    "16x16, 50%",
    "unstructured, 50%",
)


def policy_of(settings: Mapping[str, Setting], layers: int) -> CompressionPolicy:
    """The same in every layer; layers in int8, the table of words in 4 bits, so that layers are most of the file."""
    zeros = [Step("prune_weights", f"layers.{layer}", settings) for layer in range(layers) if settings]
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(layers)]
    return CompressionPolicy((*zeros, *rounded, Step("quantize", "embeddings", {"bits": 4})))


def in_words(setup: Setup, settings: Mapping[str, Setting]) -> CompressionPolicy:
    return operators.effective(policy_of(settings, setup.teacher().shape().depth), setup.teacher().shape())[0]


def files(setup: Setup, rows: list[dict[str, Any]]) -> None:
    """Size, seconds to load and latency of every form, as it is pruned; the dense one is timed first."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for place, row in enumerate(rows):
            path = Path(folder) / f"{place}.onnx"
            student = SliceEvaluator(setup).build(in_words(setup, FORMS[row["form"]]))
            path.write_bytes(write_graph(student.weights()).SerializeToString())
            row["mb"], taken = path.stat().st_size / 1e6, []
            for _ in range(_LOADS):
                began = time.perf_counter()
                session = Session(path)
                taken.append(time.perf_counter() - began)
            row["load_seconds"] = statistics.median(taken)
            sessions.append(session)
        runs = [workload_run(one, LOAD, rows=setup.teacher().shape().vocabulary) for one in sessions]
        with timing_lane():
            timed = time_side_by_side(runs, rounds=20, seconds=60)
    for row, one in zip(rows, timed, strict=True):
        row["ms"] = one.median
        row["of_dense"] = float(np.median(np.array(one.turns) / np.array(timed[0].turns)))


def table(rows: list[dict[str, Any]]) -> str:
    steps = next((row["steps"] for row in rows if "steps" in row), 0)
    lines = [
        f"| zeros of six layers in int8 | file | to load | latency | right: as pruned | right: after {steps} steps |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [row["form"], f"{row['mb']:.1f} MB", f"{row['load_seconds']:.2f} s", f"{row['of_dense']:.2f}x"]
        cells += [f"{row[when]:.1%}" if when in row else "" for when in ("before", "after")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def judged(setup: Setup, names: list[str]) -> list[dict[str, Any]]:
    """What each form answers as it is pruned, of all held-out questions."""
    rows = []
    for name in names:
        rows.append({"form": name, "before": right(setup, SliceEvaluator(setup).build(in_words(setup, FORMS[name])))})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, metavar="N")
    parser.add_argument("--trained", type=int, default=4, metavar="N")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept("sparsity", [])
    if not asked.print:
        setup = ready()
        if {row["form"] for row in rows} != set(FORMS) or any(row["commit"] != commit() for row in rows):
            rows = judged(setup, list(FORMS))
            files(setup, rows)
            rows = [{**row, "commit": commit()} for row in rows]
            written(rows)
        by_name = {row["form"]: row for row in rows}
        missing = [n for n in TRAINED[: asked.trained] if by_name[n].get("steps") != asked.steps]
        recovery = (
            Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), FinalistSpec(), seed=0) if missing else None
        )
        for name in missing:
            assert recovery is not None
            student = recovery.shortly(in_words(setup, FORMS[name]), steps=asked.steps)
            by_name[name] |= {"steps": asked.steps, "after": right(setup, student)}
            print(by_name[name], flush=True)
            written(rows)
    print(table(rows))


def written(rows: list[dict[str, Any]]) -> None:
    keep("sparsity", rows)
    (RESULTS / "sparsity.md").write_text(table(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
