"""What ten times the steps, more teachers and averaged weights make of small students.

    python studies/benchmarks/effort.py [--seeds 0] [--only NAME ...] [--students NAME ...] [--print]

Students of the quickstart's teacher, cut from its elastic model, each trained alone on one thread: by the quickstart's
recipe; by about ten times its steps over ten variations and ten recombinations of each question; and by these with
answers that are the mean of three teachers (of other seeds). Of the long ones the moving averages of their weights are
judged too. Judged with the numbers of the deployed file on validation and test questions together, beside the one
teacher that the study has. Kept rows are replaced one by one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
import torch
from prepared import LAYER_BY_LAYER, Prepared, prepare
from record import RESULTS, keep, kept
from scipy.special import softmax
from students import SPLITS, THREE
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cores import usable_cores
from autocompress.core.policy import CompressionPolicy
from autocompress.core.training_spec import FinalistSpec
from autocompress.distill import Objective, Progress, predict, train
from autocompress.finalists.recovery import deployed_student, trainable_student
from autocompress.tasks import Examples, batches

QUICK, LONG, TEACHERS = "the recipe", "long", "long, three teachers"
AVERAGED: Final = ", averaged"
"""The same training, of which the averages of its weights are kept."""

MADE: Final = 10
"""Variations of each question, and as many recombinations."""

OTHERS: Final = (101, 102)
"""Seeds of further teachers."""

DECAY: Final = 0.9995
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    about: Row
    setup: Setup
    lessons: Lessons
    spec: FinalistSpec
    policy: CompressionPolicy
    seed: int

    def __call__(self) -> list[Row]:
        """The row of the last weights, and that of their averages where there are any."""
        torch.set_num_threads(1)
        student = trainable_student(self.setup, self.policy, freeze_embeddings=True)
        objective = Objective.of(
            student, None, torch.from_numpy(self.lessons.logits), self.spec.distillation, task=self.setup.task
        )
        how = get_ema_multi_avg_fn(DECAY)  # type: ignore[no-untyped-call]
        averages = AveragedModel(student.model, multi_avg_fn=how)

        def average(_: Progress) -> None:
            averages.update_parameters(student.model)

        started = time.monotonic()
        train(
            student.model,
            self.lessons.examples,
            objective,
            spec=self.spec.training,
            score=lambda _: 0.0,
            seed=self.seed,
            keep="last",
            progress=None if self.about["variant"] == QUICK else average,
        )
        seconds = time.monotonic() - started
        found = {"": student.model.state_dict()}
        if self.about["variant"] != QUICK:
            found[AVERAGED] = averages.module.state_dict()
        return [
            {**self.about, "variant": self.about["variant"] + name, "seconds": seconds, **self._judged(weights)}
            for name, weights in found.items()
        ]

    def _judged(self, weights: Mapping[str, torch.Tensor]) -> Row:
        model = deployed_student(self.setup, self.policy, weights).model
        return {split: right(model, self.setup.task.examples(split)) for split in SPLITS}


def right(model: torch.nn.Module, examples: Examples) -> str:
    """Which questions are answered rightly, as zeros and ones."""
    found = predict(model, batches(examples, 32), precision="fp32").argmax(axis=-1) == examples.labels
    return "".join("01"[int(one)] for one in found)


def jobs(prepared: Prepared, seed: int, names: Sequence[str], students: Sequence[str]) -> list[Job]:
    """The longest first."""
    quick = prepared.spec.finalists
    lessons = {QUICK: Lessons.of(prepared.setup, quick.transfer, seed=seed)}
    if any(name != QUICK for name in names):
        wide = replace(quick.transfer, copies=MADE, recombined=MADE)
        lessons[LONG] = Lessons.of(prepared.setup, wide, seed=seed)
    if TEACHERS in names:
        own = len(prepared.setup.task.examples("train"))
        lessons[TEACHERS] = taught_by_all(lessons[LONG], own, quick.distillation.temperature)
    found = []
    for name in (TEACHERS, LONG, QUICK):
        training = quick.training if name == QUICK else replace(quick.training, epochs=4)
        for student in students if name in names else ():
            about = {"variant": name, "student": student, "seed": seed}
            spec = replace(quick, training=training)
            found.append(Job(about, prepared.setup, lessons[name], spec, THREE[student], seed))
    return found


def taught_by_all(lessons: Lessons, own: int, temperature: float) -> Lessons:
    """With what the study's teacher and others say in the mean, as shares softened by the temperature that they are
    learned at."""
    logits = [lessons.logits]
    for seed in OTHERS:
        teacher = prepare(seed=seed, elastic=False).setup.teacher()
        logits.append(predict(teacher.model, batches(lessons.examples, 32)))
    mean = np.mean([softmax(one / temperature, axis=-1) for one in logits], axis=0)
    together = (temperature * np.log(mean)).astype(np.float32)
    labels = np.concatenate([lessons.examples.labels[:own], together[own:].argmax(axis=-1)])
    return Lessons(lessons.examples.relabelled(labels), together)


def table(rows: Sequence[Row], teacher: Mapping[str, str]) -> str:
    """Points below the teacher, of validation and test questions together."""
    students = [name for name in THREE if any(row["student"] == name for row in rows)]
    lines = [
        f"| training | {' | '.join(f'{name}: points [95 %], minutes' for name in students)} |",
        "|---|" + "---:|" * len(students),
    ]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for student in students:
            own = [row for row in rows if (row["variant"], row["student"]) == (name, student)]
            cells.append(_told(own, teacher) if own else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _told(rows: Sequence[Row], teacher: Mapping[str, str]) -> str:
    """The mean over seeds, with the interval of paired rows: their mean over seeds first."""
    bits = {split: np.array([list(row[split]) for row in rows], dtype=float).mean(axis=0) for split in SPLITS}
    apart = np.concatenate([bits[split] - np.array(list(teacher[split]), dtype=float) for split in SPLITS])
    half = 1.96 * apart.std(ddof=1) / len(apart) ** 0.5
    minutes = np.mean([row["seconds"] for row in rows]) / 60
    mean = apart.mean()
    return f"{100 * mean:+.1f} [{100 * (mean - half):+.1f} to {100 * (mean + half):+.1f}], {minutes:.1f}"


def _run(job: Job) -> list[Row]:
    return job()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=[QUICK, LONG, TEACHERS], metavar="NAME")
    parser.add_argument("--students", nargs="+", choices=[*THREE], default=["2 layers", "3 layers"], metavar="NAME")
    parser.add_argument("--print", action="store_true", dest="only_print", help="the table of what is kept")
    asked = parser.parse_args()
    found = kept("effort", {"teacher": {}, "rows": []})
    if not asked.only_print:
        prepared = prepare(space=LAYER_BY_LAYER)
        task, model = prepared.setup.task, prepared.setup.teacher().model
        found["teacher"] = {split: right(model, task.examples(split)) for split in SPLITS}
        names = asked.only or [QUICK, LONG, TEACHERS]
        todo = [job for seed in asked.seeds for job in jobs(prepared, seed, names, asked.students)]
        with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
            for made in pool.map(_run, todo):
                for row in made:
                    key = {name: row[name] for name in ("variant", "student", "seed")}
                    found["rows"] = [one for one in found["rows"] if not key.items() <= one.items()] + [row]
                    print({**key, "minutes": round(row["seconds"] / 60, 1)}, flush=True)
                keep("effort", found)
    order = [QUICK, LONG, LONG + AVERAGED, TEACHERS, TEACHERS + AVERAGED]
    rows = sorted(found["rows"], key=lambda row: (order.index(row["variant"]), row["student"], row["seed"]))
    told = table(rows, found["teacher"])
    (RESULTS / "effort.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
