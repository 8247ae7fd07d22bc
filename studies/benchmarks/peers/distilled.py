"""The quickstart's teacher, data and way of training students, for peers that need a distillation and bring none.

Runs where autocompress is installed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contract import SPLITS, Clock, Deployed, Job
from ort_quantization import dynamic_int8

from autocompress import config
from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import FinalistSpec
from autocompress.deploy.export import export_stock
from autocompress.distill import Objective, predict, train
from autocompress.importance import Importance
from autocompress.operators import OPERATORS
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import batches
from autocompress.teacher.teacher import Teacher, prepare_teacher

_QUICK_TEXTS = 256


def study_teacher(study: str) -> tuple[StudySpec, Teacher]:
    """From the cache, if it is there."""
    spec = config.load_study(study, operators=OPERATORS)
    inputs = gather(spec, SilentObserver())
    return spec, prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)


def write_inputs(study: str, teacher_folder: Path, data: Path) -> dict[str, Any]:
    """Writes the teacher as a Hugging Face folder and the splits as plain files, once; what they are."""
    _, teacher = study_teacher(study)
    about = {"teacher": teacher.digest, "labels": list(teacher.task.labels)}
    said = data / "about.json"
    if said.exists() and json.loads(said.read_text(encoding="utf-8")) == about:
        return about
    shutil.copytree(teacher.folder, teacher_folder, dirs_exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        examples = teacher.task.examples(split)
        rows = zip(examples.texts, examples.labels.tolist(), examples.tokens, strict=True)
        lines = (json.dumps({"text": text, "label": label, "ids": ids.tolist()}) for text, label, ids in rows)
        (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said.write_text(json.dumps(about), encoding="utf-8")
    return about


@dataclass(frozen=True)
class School:
    """What students learn from, and by which recipe: that of the study's finalists."""

    spec: FinalistSpec
    setup: Setup
    lessons: Lessons
    seed: int

    @staticmethod
    def of(job: Job) -> School:
        study, teacher = study_teacher(job.study)
        spec, task = study.finalists, teacher.task
        setup = Setup.of(teacher.anatomy.model, Importance({}, {}), task, precision=study.teacher.precision)
        if job.quick:
            spec = replace(spec, training=replace(spec.training, epochs=1))
            rows = np.arange(_QUICK_TEXTS)
            own = setup.task.examples("train").take(rows)
            logits = predict(setup.teacher().model, batches(own, 32), precision=setup.precision)
            return School(spec, setup, Lessons(own, logits), study.seed)
        return School(spec, setup, Lessons.of(setup, spec.transfer, seed=study.seed), study.seed)

    def teach(self, student: Anatomy) -> None:
        """Trains a student in place, from the teacher's answers."""
        student.model.requires_grad_(True)
        if self.spec.freeze_embeddings:
            student.word_embeddings.requires_grad_(False)
        task, precision = self.setup.task, self.setup.precision
        validation = task.examples("validation")
        judged = batches(validation, 32)

        def score(model: torch.nn.Module) -> float:
            return task.score(predict(model, judged, precision=precision), validation).value

        objective = Objective.of(
            student,
            self.setup.teacher() if self.spec.distillation.looks_inside else None,
            torch.from_numpy(self.lessons.logits),
            self.spec.distillation,
            task=task,
            label_smoothing=self.spec.training.label_smoothing,
        )
        train(
            student.model,
            self.lessons.examples,
            objective,
            spec=self.spec.training,
            score=score,
            seed=self.seed,
            keep=self.spec.keep,
        )


def deployed_twice(job: Job, model: Any, name: str, stem: str, clock: Clock) -> list[Deployed]:
    """A student as its makers would ship it: the stock export, and ONNX Runtime's dynamic int8 of that."""
    plain, small = job.folder / f"{stem}.onnx", job.folder / f"{stem}-int8.onnx"
    model.eval()
    with clock.running():
        export_stock(model, plain)
    found = [Deployed(f"{name}, fp32", "onnxruntime", plain.name, clock.seconds)]
    with clock.running():
        dynamic_int8(plain, small)
    return [*found, Deployed(f"{name}, dynamic int8", "onnxruntime", small.name, clock.seconds)]
