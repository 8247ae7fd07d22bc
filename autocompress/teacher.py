"""The uncompressed model, ready for its task: taken as it is when it was fine-tuned already, fine-tuned here otherwise.

A fine-tuned teacher is kept in the cache under the digest of everything it depends on, so that it is trained once.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.assets import atomic_folder, cache_folder, check_model_folder, file_digest
from autocompress.assets.model_folders import tensor_shapes
from autocompress.core.policy import content_digest
from autocompress.core.spec import StudySpec
from autocompress.distill import Progress, predict, train
from autocompress.errors import SpecError, did_you_mean
from autocompress.importance import Importance, measure_importance
from autocompress.tasks import TextClassification, batches, load_text_classification

logger = logging.getLogger(__name__)

_RECIPE: Final = 1
"""Raised whenever the fine-tuning loop changes what it produces."""

_IMPORTANCE_TEXTS: Final = 1024
_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Teacher:
    """A fine-tuned classifier, its folder (config, weights, tokenizer), its task and a digest of all three."""

    anatomy: Anatomy
    folder: Path
    task: TextClassification
    digest: str
    validation: float


def prepare_teacher(
    spec: StudySpec, model_folder: Path, data: Path, *, on_progress: Callable[[Progress], None]
) -> Teacher:
    """Raises SpecError when the model is of no known family or does not fit the data, IntegrityError when its weights
    are damaged."""
    check_model_folder(model_folder)
    config = AutoConfig.from_pretrained(str(model_folder), trust_remote_code=False)
    if config.model_type not in FAMILIES:
        known = did_you_mean(config.model_type, FAMILIES)
        raise SpecError(f"{model_folder}: no anatomy for the family {config.model_type!r}; {known}")
    inputs = {"model": file_digest(model_folder), "data": file_digest(data), "task": _task_identity(spec)}
    if _has_head(model_folder, config.model_type):
        task = load_text_classification(spec.task, data, model_folder, labels=_known_labels(config, spec, data))
        return _opened(spec, model_folder, task, content_digest(inputs))
    task = load_text_classification(spec.task, data, model_folder)
    digest = content_digest(inputs | {"training": asdict(spec.teacher), "seed": spec.seed, "recipe": _RECIPE})
    folder = cache_folder() / "teachers" / digest
    if not folder.exists():
        _fine_tune(spec, model_folder, folder, task, on_progress)
    return _opened(spec, folder, task, digest)


def _opened(spec: StudySpec, folder: Path, task: TextClassification, digest: str) -> Teacher:
    model = _load(folder, task)
    model.eval()
    validation = task.examples("validation")
    logits = predict(model, batches(validation, _BATCH), precision=spec.teacher.precision)
    score = task.score(logits.argmax(axis=1), validation.labels).value
    return Teacher(Anatomy(model, FAMILIES), folder, task, digest, score)


def _task_identity(spec: StudySpec) -> dict[str, Any]:
    identity = asdict(spec.task)
    identity["data"].pop("source")  # its content counts, not where it came from
    return identity


def _has_head(folder: Path, model_type: str) -> bool:
    last = FAMILIES[model_type].head[-1]
    return f"{last}.weight" in tensor_shapes(folder)


def _known_labels(config: Any, spec: StudySpec, data: Path) -> list[str]:
    """The names of a fine-tuned model's classes in the order of its outputs. A model that was saved without names
    (LABEL_0, LABEL_1, ...) fits data that number their classes, or name as many: then names are taken in order."""
    from autocompress.tasks.reading import read_rows

    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    found = sorted({label for _, label in read_rows(spec.task.data, data)})
    if set(found) <= set(names):
        return names
    anonymous = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    if anonymous and len(found) == len(names):
        return sorted(found, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label))
    raise SpecError(f"{data}: the labels {found} are not those of the model, {names}; rename one or the other")


def _load(folder: Path, task: TextClassification) -> Any:
    """Raises SpecError when weights of the encoder are missing or of another size."""
    names = dict(enumerate(task.labels))
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(0)  # a new head starts the same way every time
        model, info = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            num_labels=len(names),
            id2label=names,
            label2id={name: i for i, name in names.items()},
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    head = Anatomy(model, FAMILIES).family.head
    missing = [key for key in info["missing_keys"] if not key.startswith(head)]
    wrong = [f"{entry[0]} {list(entry[1])} instead of {list(entry[2])}" for entry in info["mismatched_keys"]]
    if missing or wrong:
        shown = ", ".join([*sorted(missing), *wrong][:5])
        raise SpecError(f"{folder}: {len(missing) + len(wrong)} weights do not fit the model's config: {shown}")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own bars and reports: a missing head is what fine-tuning is for."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        transformers_logging.enable_progress_bar()


def _fine_tune(
    spec: StudySpec,
    model_folder: Path,
    folder: Path,
    task: TextClassification,
    on_progress: Callable[[Progress], None],
) -> None:
    model = _load(model_folder, task)
    model.requires_grad_(True)
    validation = task.examples("validation")
    judged = batches(validation, _BATCH)

    def score(candidate: torch.nn.Module) -> float:
        logits = predict(candidate, judged, precision=spec.teacher.precision)
        return task.score(logits.argmax(axis=1), validation.labels).value

    checkpoint = folder.with_suffix(".training")
    trained = train(
        model,
        task.examples("train"),
        lambda logits, batch: functional.cross_entropy(
            logits, batch.labels, label_smoothing=spec.teacher.label_smoothing
        ),
        spec=spec.teacher,
        score=score,
        seed=spec.seed,
        checkpoint=checkpoint,
        progress=on_progress,
    )
    with atomic_folder(folder) as part, _quiet():
        model.save_pretrained(str(part))
        AutoTokenizer.from_pretrained(str(model_folder), trust_remote_code=False).save_pretrained(str(part))
        history = {"validation_scores": trained.scores, "best_epoch": trained.best_epoch}
        (part / "training.json").write_text(json.dumps(history), encoding="utf-8")
    shutil.rmtree(checkpoint, ignore_errors=True)


def criteria_of(spec: StudySpec) -> frozenset[str]:
    """The importance criteria a space may ask for."""
    found: set[str] = set()
    for step in spec.space.steps:
        if "importance" in step.settings:
            found.add(str(step.settings["importance"]))
        elif "importance" in step.knobs:
            found.update(map(str, getattr(step.knobs["importance"], "choices", ())))
        elif step.operator in {"prune_heads", "prune_channels"}:
            found.add("fisher")
    return frozenset(found)


def prepare_importance(spec: StudySpec, teacher: Teacher) -> Importance:
    """The scores a space needs, from a fixed sample of training texts; cached by content."""
    criteria = sorted(criteria_of(spec))
    key = content_digest({"teacher": teacher.digest, "criteria": criteria, "seed": spec.seed, "recipe": _RECIPE})
    path = cache_folder() / "importance" / f"{key}.npz"
    if path.exists():
        return _read_importance(path)
    examples = teacher.task.examples("train")
    rows = np.random.default_rng(spec.seed).permutation(len(examples))[:_IMPORTANCE_TEXTS]
    importance = measure_importance(teacher.anatomy, batches(examples.take(rows), _BATCH), criteria)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{part}/{criterion}/{layer}": scores
        for part, table in (("heads", importance.heads), ("channels", importance.channels))
        for criterion, layers in table.items()
        for layer, scores in layers.items()
    }
    part = path.with_suffix(".part.npz")
    np.savez(part, allow_pickle=False, **arrays)
    part.replace(path)
    return importance


def _read_importance(path: Path) -> Importance:
    found: dict[str, dict[str, dict[int, Any]]] = {"heads": {}, "channels": {}}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            part, criterion, layer = name.split("/")
            found[part].setdefault(criterion, {})[int(layer)] = arrays[name]
    return Importance(found["heads"], found["channels"])


def versions() -> Mapping[str, str]:
    """The libraries a result depends on."""
    from importlib.metadata import version

    names = ("autocompress", "torch", "transformers", "onnxruntime", "optuna", "ray")
    return {name: version(name) for name in names}
