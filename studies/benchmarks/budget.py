"""Does a study keep the minutes that it was given, whatever the number of its rows, and how much memory does it take?

    python studies/benchmarks/budget.py [--rows 67000] [--minutes 15] [--workers 2]
    python studies/benchmarks/budget.py --print

The quickstart's questions are made into a csv of so many rows, each of them the beginning of one question and the end
of another of its class; every thousandth is a question as it is. The study is the quickstart's with `budget: {minutes}`
and without constraints. It runs as users run it, in a process of its own, beside which the memory of driver and workers
is read every second: of workers what is theirs alone (USS), as what they share is counted with the driver.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import yaml
from record import RESULTS, keep, kept

from autocompress import config
from autocompress.operators import OPERATORS
from autocompress.planning.stages import PLAN_FACT
from autocompress.store import Store
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import task_named

NAME = "budget"
AS_IT_IS = 1000


def questions() -> dict[str, list[str]]:
    """The quickstart's training questions, by class."""
    spec = config.load_study("quickstart", operators=OPERATORS)
    inputs = gather(spec, SilentObserver())
    task = task_named(spec.task.kind).load(spec.task, inputs.data, inputs.model)
    examples = task.examples("train")
    found: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(examples.texts, examples.labels, strict=True):
        found[task.labels[int(label)]].append(text)
    return found


def write_rows(path: Path, rows: int, *, seed: int = 0) -> None:
    """A csv of `text` and `label`, no row twice."""
    generator, known = random.Random(seed), questions()
    seen: set[str] = set()
    labels = [label for label, texts in known.items() for _ in texts]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        while len(seen) < rows:
            label = generator.choice(labels)
            first, second = (generator.choice(known[label]).split() for _ in range(2))
            cut = generator.randint(1, len(first)) if len(seen) % AS_IT_IS else len(first)
            text = " ".join([*first[:cut], *(second[len(second) // 2 :] if cut < len(first) else [])])
            if text not in seen:
                seen.add(text)
                writer.writerow([text, label])


def study_file(folder: Path, minutes: float) -> Path:
    """The quickstart over that csv, with an end of its own."""
    shipped = yaml.safe_load((Path(__file__).parent.parent / "quickstart.yaml").read_text(encoding="utf-8"))
    shipped |= {"name": NAME, "budget": {"trials": 200, "minutes": minutes}}
    del shipped["constraints"]
    shipped["task"]["data"] = {"source": {"path": "rows.csv"}, "format": "csv", "split": [0.8, 0.1, 0.1]}
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(shipped, sort_keys=False), encoding="utf-8")
    return path


class Memory:
    """The most that a process and each of its workers held at any second, in GiB."""

    def __init__(self, process: psutil.Process) -> None:
        self.driver = self.worker = 0.0
        self._process, self._over = process, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            try:
                self.driver = max(self.driver, self._process.memory_info().rss / 2**30)
                for child in self._process.children(recursive=True):
                    if "ray::" in " ".join(child.cmdline()):
                        self.worker = max(self.worker, child.memory_full_info().uss / 2**30)
            except psutil.Error:
                continue  # it ended between two looks


def judged(rows: int, minutes: float, workers: int) -> dict[str, Any]:
    """One study from its file to its end; what it planned and took, in minutes, and its memory in GiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.csv", rows)
        asked = [
            sys.executable,
            "-m",
            "autocompress",
            "run",
            str(study_file(folder, minutes)),
            "--workers",
            str(workers),
        ]
        database = folder / "autocompress.db"
        began = time.monotonic()
        running = subprocess.Popen([*asked, "--storage", str(database)], cwd=folder)
        memory = Memory(psutil.Process(running.pid))
        code = running.wait()
        took = (time.monotonic() - began) / 60
        memory.end()
        if code:
            raise SystemExit(f"the study ended with {code}")
        with Store.open(str(database), create=False) as store:
            facts = store.study(NAME).facts
            verified = store.counts(NAME).verified
    planned, spent = facts[PLAN_FACT]["planned"], facts["timings"]
    return {
        "rows": rows,
        "minutes": minutes,
        "workers": workers,
        "took": round(took, 2),
        "verified": verified,
        "driver": round(memory.driver, 2),
        "worker": round(memory.worker, 2),
        "stages": {stage: [round(planned[stage] / 60, 2), round(spent.get(stage, 0.0) / 60, 2)] for stage in planned},
    }


def table(figures: list[dict[str, Any]]) -> str:
    lines = [
        "| rows | minutes asked for | taken, start to end | finalists verified | driver, GiB | a worker, GiB | "
        "stages, minutes planned and taken |",
        "|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in figures:
        stages = ", ".join(f"{stage} {planned:.1f}/{took:.1f}" for stage, (planned, took) in one["stages"].items())
        lines.append(
            f"| {one['rows']:,} | {one['minutes']:g} | {one['took']:.1f} ({one['took'] / one['minutes'] - 1:+.0%}) | "
            f"{one['verified']} | {one['driver']:.1f} | {one['worker']:.1f} | {stages} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[67_000])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--print", action="store_true", dest="printed")
    asked = parser.parse_args()
    figures: list[dict[str, Any]] = kept(NAME, [], anywhere=asked.printed)
    if not asked.printed:
        for rows in asked.rows:
            found = judged(rows, asked.minutes, asked.workers)
            others = [one for one in figures if (one["rows"], one["minutes"]) != (rows, asked.minutes)]
            figures = sorted([*others, found], key=lambda one: (one["rows"], one["minutes"]))
            keep(NAME, figures)
    print(table(figures))
    if not asked.printed:
        (RESULTS / f"{NAME}.md").write_text(table(figures) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
