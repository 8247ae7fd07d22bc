"""What zeros are worth: the quickstart's teacher with layers in int8, in every pattern at three strengths, by what it
answers as it is pruned and, of some, after a short distillation from its answers before; its file, how long that takes
to load, and its latency beside the dense model's, in turns.

    python studies/benchmarks/sparsity.py [--steps 60] [--trained 4] [--files FOLDER] [--print]

So many of `TRAINED` are trained, the first ones. What the same code made is not made again, if it was timed or its file
is still in FOLDER: the table can be filled bit by bit.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from documents import ROOT, UNDER
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
_LOADS: Final = 3
"""How often all files are opened."""


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


def policy_of(setup: Setup, settings: Mapping[str, Setting]) -> CompressionPolicy:
    """The same in every layer; layers in int8, the table of words in 4 bits, so that layers are most of the file."""
    whole = setup.teacher().shape()
    zeros = [Step("prune_weights", f"layers.{layer}", settings) for layer in range(whole.depth) if settings]
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(whole.depth)]
    policy = CompressionPolicy((*zeros, *rounded, Step("quantize", "embeddings", {"bits": 4})))
    return operators.effective(policy, whole)[0]


def pruned(setup: Setup, path: Path, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Writes its file; what it answers of all held-out questions, and how large it is."""
    student = SliceEvaluator(setup).build(policy_of(setup, settings))
    path.write_bytes(write_graph(student.weights()).SerializeToString())
    return {"before": right(setup, student), "mb": path.stat().st_size / 1e6}


def time_files(setup: Setup, paths: list[Path], rows: list[dict[str, Any]]) -> None:
    """Processor seconds to load, the least of a few rounds over all files, and latency: that of the first, which is
    dense, and of the others as a share of it."""
    taken: list[list[float]] = []
    for _ in range(_LOADS):
        sessions, seconds = [], []
        for path in paths:
            began = time.process_time()
            sessions.append(Session(path))
            seconds.append(time.process_time() - began)
        taken.append(seconds)
    for row, of_one in zip(rows, zip(*taken, strict=True), strict=True):
        row["load_cpu_seconds"] = min(of_one)
    runs = [workload_run(one, LOAD, rows=setup.teacher().shape().vocabulary) for one in sessions]
    with timing_lane():
        timed = time_side_by_side(runs, rounds=20, seconds=60)
    for row, one in zip(rows, timed, strict=True):
        row["ms"] = one.median
        row["of_dense"] = float(np.median(np.array(one.turns) / np.array(timed[0].turns)))


def table(rows: list[dict[str, Any]]) -> str:
    steps = next((row["steps"] for row in rows if "steps" in row), None)
    whens = ("before",) if steps is None else ("before", "after")
    names = ["zeros of six layers in int8", "file", "to load", "latency", "right: as pruned", f"after {steps} steps"]
    lines = [f"| {' | '.join(names[: 4 + len(whens)])} |", "|---|" + "---:|" * (3 + len(whens))]
    for row in rows:
        cells = [row["form"], f"{row['mb']:.1f} MB"]
        cells += (
            [f"{row['load_cpu_seconds']:.2f} s", f"{row['of_dense']:.2f}x"] if "load_cpu_seconds" in row else ["", ""]
        )
        cells += [f"{row[when]:.1%}" if when in row else "" for when in whens]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def written(rows: list[dict[str, Any]]) -> None:
    keep("sparsity", rows)
    (RESULTS / "sparsity.md").write_text(table(rows) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, metavar="N")
    parser.add_argument("--trained", type=int, default=4, metavar="N")
    parser.add_argument("--files", type=Path, help="a folder where files stay until all are there to be timed")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = [row for row in kept("sparsity", []) if asked.print or is_current(row)]
    if not asked.print:
        with tempfile.TemporaryDirectory() as folder:
            make(ready(), rows, asked.files or Path(folder), steps=asked.steps, trained=asked.trained)
    print(table(rows))


def is_current(row: dict[str, Any], name: str = "sparsity") -> bool:
    """Whether a row was made by the code of today, of the package's rooms that it comes from."""
    paths = (f"autocompress/{room}" for room in UNDER[name])
    compared = ["git", "diff", "--quiet", row["commit"], "--", *paths]
    return subprocess.run(compared, cwd=ROOT, capture_output=True, check=False).returncode == 0


def make(setup: Setup, rows: list[dict[str, Any]], folder: Path, *, steps: int, trained: int) -> None:
    """Adds what is missing, and keeps it as it comes."""
    if len(rows) < len(FORMS) or any("load_cpu_seconds" not in row for row in rows):
        paths = [folder / f"{place}.onnx" for place in range(len(FORMS))]
        for place, (name, settings) in enumerate(FORMS.items()):
            if place >= len(rows) or not paths[place].exists():
                rows[place:] = [{"form": name, "commit": commit(), **pruned(setup, paths[place], settings)}]
                print(rows[-1], flush=True)
                written(rows)
        time_files(setup, paths, rows)
        written(rows)
    by_name = {row["form"]: row for row in rows}
    missing = [by_name[name] for name in TRAINED[:trained] if by_name[name].get("steps") != steps]
    if not missing:
        return
    recovery = Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), FinalistSpec(), seed=0)
    for row in missing:
        student = recovery.shortly(policy_of(setup, FORMS[row["form"]]), steps=steps)
        row |= {"steps": steps, "after": right(setup, student)}
        print(row, flush=True)
        written(rows)


if __name__ == "__main__":
    main()
