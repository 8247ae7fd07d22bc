"""The uncompressed model, ready for its task: taken as it is when it was fine-tuned already, fine-tuned here otherwise.

A fine-tuned teacher is kept in the cache under the digest of everything it depends on, so that it is trained once.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.assets import atomic_folder, cache_folder, check_model_folder, data_digest, file_digest
from autocompress.assets.model_folders import tensor_shapes
from autocompress.core.policy import content_digest
from autocompress.core.spec import StudySpec
from autocompress.distill import Progress, answers, predict, train
from autocompress.errors import CandidateError, NotFoundError, SpecError, did_you_mean
from autocompress.importance import EVERYTHING, Importance, measure_importance
from autocompress.reading import read_labelled
from autocompress.tasks import TextClassification, batches, load_text_classification

logger = logging.getLogger(__name__)

_RECIPE: Final = 1
"""Raised whenever the fine-tuning loop changes what it produces."""

_IMPORTANCE_RECIPE: Final = 2
"""Raised whenever a criterion, or the file that scores are kept in, changes."""

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
    spec: StudySpec,
    model_folder: Path,
    data: Mapping[str, Path],
    *,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = logger.info,
) -> Teacher:
    """What there is to say of the texts goes to `on_note` before anything is trained.

    Raises SpecError when the model is of no known family, does not fit the data or cannot be trained, IntegrityError
    when its weights are damaged."""
    config = _checked_config(model_folder)
    if _has_head(model_folder, config.model_type):
        teacher = _taken_as_it_is(spec, model_folder, data, config)
        _tell(teacher.task, on_note)
        return teacher
    task = _task(spec, model_folder, data, config)
    _tell(task, on_note)
    digest = _trained_digest(spec, model_folder, data)
    folder = _place(digest)
    if not folder.exists():
        _fine_tune(spec, model_folder, folder, task, on_progress)
    return _opened(spec, folder, task, digest)


def cached_teacher(spec: StudySpec, model_folder: Path, data: Mapping[str, Path], *, digest: str = "") -> Teacher:
    """The teacher of a study, by the digest it had when the study ran, else by the one it would have now. Never trains;
    raises NotFoundError once it is gone."""
    config = _checked_config(model_folder)
    if _has_head(model_folder, config.model_type):
        return _taken_as_it_is(spec, model_folder, data, config)
    if not digest or not _place(digest).exists():
        digest = _trained_digest(spec, model_folder, data)
    folder = _place(digest)
    if not folder.exists():
        raise NotFoundError(
            f"{folder}: the teacher of study {spec.name!r} is not in the cache (any more); "
            f"`autocompress resume {spec.name}` trains that of a study that has not finished, and `autocompress "
            f"explain {spec.name} --train-teacher` that of any"
        )
    return _opened(spec, folder, _task(spec, model_folder, data, config), digest)


def _tell(task: TextClassification, on_note: Callable[[str], None]) -> None:
    for note in task.notes:
        on_note(note)


def _checked_config(model_folder: Path) -> Any:
    check_model_folder(model_folder)
    config = AutoConfig.from_pretrained(str(model_folder), trust_remote_code=False)
    if config.model_type not in FAMILIES:
        known = did_you_mean(config.model_type, FAMILIES)
        raise SpecError(f"{model_folder}: no anatomy for the family {config.model_type!r}; {known}")
    return config


def _inputs(spec: StudySpec, model_folder: Path, data: Mapping[str, Path]) -> dict[str, Any]:
    return {"model": file_digest(model_folder), "data": data_digest(data), "task": _task_identity(spec)}


def _trained_digest(spec: StudySpec, model_folder: Path, data: Mapping[str, Path]) -> str:
    training = {"training": asdict(spec.teacher), "seed": spec.seed, "recipe": _RECIPE}
    return content_digest(_inputs(spec, model_folder, data) | training)


def _place(digest: str) -> Path:
    return cache_folder() / "teachers" / digest


def _taken_as_it_is(spec: StudySpec, model_folder: Path, data: Mapping[str, Path], config: Any) -> Teacher:
    task = _task(spec, model_folder, data, config, labels=_known_labels(config, spec, data))
    return _opened(spec, model_folder, task, content_digest(_inputs(spec, model_folder, data)))


def _task(
    spec: StudySpec, model_folder: Path, data: Mapping[str, Path], config: Any, *, labels: list[str] | None = None
) -> TextClassification:
    """Raises SpecError when the model cannot read what the task gives it: texts longer than it has positions for, or
    the tokens of another model's tokenizer (see `tasks.tokenization`)."""
    places = int(config.max_position_embeddings) - FAMILIES[config.model_type].first_position(config)
    if spec.task.max_length > places:
        raise SpecError(
            f"task.max_length: must be <= {places}, the positions that {model_folder} has, got {spec.task.max_length}; "
            "a workload is no longer than that"
        )
    return load_text_classification(spec.task, data, model_folder, labels=labels, rows=int(config.vocab_size))


def _opened(spec: StudySpec, folder: Path, task: TextClassification, digest: str) -> Teacher:
    model = _load(folder, task)
    model.eval()
    validation = task.examples("validation")
    logits = predict(model, batches(validation, _BATCH), precision=spec.teacher.precision)
    score = task.score(logits.argmax(axis=1), validation.labels).value
    return Teacher(Anatomy(model, FAMILIES), folder, task, digest, score)


def _task_identity(spec: StudySpec) -> dict[str, Any]:
    identity = asdict(spec.task)
    identity["data"] = spec.task.data.identity  # the content of files counts beside it, not where they came from
    return identity


def _has_head(folder: Path, model_type: str) -> bool:
    last = FAMILIES[model_type].head[-1]
    return f"{last}.weight" in tensor_shapes(folder)


def _known_labels(config: Any, spec: StudySpec, data: Mapping[str, Path]) -> list[str]:
    """The names of a fine-tuned model's classes in the order of its outputs. A model that was saved without names
    (LABEL_0, LABEL_1, ...) fits data that number their classes, or name as many: then names are taken in order."""
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    found = list(read_labelled(spec.task.data, data).classes)
    if set(found) <= set(names):
        return names
    anonymous = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    if anonymous and len(found) == len(names):
        return found
    where = next(iter(data.values()))
    raise SpecError(f"{where}: the labels {found} are not those of the model, {names}; rename one or the other")


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
    try:
        trained = train(
            model,
            task.examples("train"),
            answers(
                lambda logits, batch: functional.cross_entropy(
                    logits, batch.labels, label_smoothing=spec.teacher.label_smoothing
                )
            ),
            spec=spec.teacher,
            score=score,
            seed=spec.seed,
            checkpoint=checkpoint,
            progress=on_progress,
        )
    except CandidateError as error:  # of a teacher it is no candidate's fault: there is no study without one
        raise SpecError(f"teacher: {error}") from error
    with atomic_folder(folder) as part, _quiet():
        model.save_pretrained(str(part))
        task.tokenizer.write(part)
        history = {"validation_scores": trained.scores, "kept_epoch": trained.kept_epoch}
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
    return _cached_importance(spec, teacher, criteria_of(spec))


def whole_importance(spec: StudySpec, teacher: Teacher) -> Importance:
    """The same under every criterion. Only explanations need them: a search that asks for gradients alone would take
    half as long again to read the maps (3.5 s after 6.2 s of one core for the quickstart's teacher)."""
    return _cached_importance(spec, teacher, EVERYTHING, known=prepare_importance(spec, teacher))


def _cached_importance(
    spec: StudySpec, teacher: Teacher, criteria: Collection[str], *, known: Importance | None = None
) -> Importance:
    wanted = sorted(criteria)
    inputs = {"teacher": teacher.digest, "criteria": wanted, "seed": spec.seed, "recipe": _IMPORTANCE_RECIPE}
    path = cache_folder() / "importance" / f"{content_digest(inputs)}.npz"
    if path.exists():
        return _read_importance(path)
    examples = teacher.task.examples("train")
    rows = np.random.default_rng(spec.seed).permutation(len(examples))[:_IMPORTANCE_TEXTS]
    sample = batches(examples.take(rows), _BATCH)
    importance = measure_importance(teacher.anatomy, sample, wanted, known=known or Importance({}, {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    tables: Mapping[str, Mapping[str, Mapping[int, Any]]] = {
        "heads": importance.heads,
        "channels": importance.channels,
        "layers": importance.layers,
    }
    arrays = {
        f"{part}/{criterion}/{layer}": scores
        for part, table in tables.items()
        for criterion, layers in table.items()
        for layer, scores in layers.items()
    }
    part = path.with_suffix(".part.npz")
    np.savez(part, allow_pickle=False, **arrays)
    part.replace(path)
    return importance


def _read_importance(path: Path) -> Importance:
    found: dict[str, dict[str, dict[int, Any]]] = {"heads": {}, "channels": {}, "layers": {}}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            part, criterion, layer = name.split("/")
            scores = arrays[name]
            found[part].setdefault(criterion, {})[int(layer)] = float(scores) if part == "layers" else scores
    return Importance(found["heads"], found["channels"], found["layers"])


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text as the model reads it: `words` are the tokens as people write them, `left_out` how many were cut off."""

    text: str
    tokens: NDArray[np.int64]
    words: tuple[str, ...]
    left_out: int


def tokenized(teacher: Teacher, text: str, *, longest: int) -> Sentence:
    """At most so many tokens of a text; the closing one stays. Raises SpecError when there is nothing to read."""
    reader = teacher.task.tokenizer.opened()
    whole = reader.whole(text)
    if len(whole) <= len(reader.whole("")):
        raise SpecError(f"--text: {text!r} holds no word that the model can read; give a sentence")
    (ids,) = replace(teacher.task.tokenizer, longest=longest).opened()([text])
    return Sentence(text, ids, reader.words(ids), len(whole) - len(ids))


def versions() -> Mapping[str, str]:
    """The libraries a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("autocompress", "torch", "transformers", "optuna", "ray")
    try:
        runtime = version("onnxruntime")
    except PackageNotFoundError:
        runtime = version("onnxruntime-gpu")  # the same module, from the package for GPUs
    return {**{name: version(name) for name in names}, "onnxruntime": runtime}
