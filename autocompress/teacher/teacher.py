"""The uncompressed model, ready for its task: taken as it is when it was fine-tuned already, fine-tuned here otherwise.

A fine-tuned teacher is kept in the cache under the digest of everything it depends on, so that it is trained once.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.heads import EMBEDDING
from autocompress.anatomy.positions import places_of
from autocompress.assets import cache_folder, data_digest, file_digest, find_entry, new_entry
from autocompress.assets.hub import licence_of
from autocompress.core.policy import content_digest
from autocompress.core.positions import why_too_long
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import NOUNS, form_of
from autocompress.core.training_spec import EPOCH_ROWS
from autocompress.distill import Progress, answers, predict, train
from autocompress.errors import CandidateError, NotFoundError, SpecError
from autocompress.inputs.row_files import AudioFiles
from autocompress.tasks import (
    Outputs,
    Rows,
    Scoring,
    Task,
    batches,
    can_score,
    judging,
    task_named,
    with_score,
)
from autocompress.tasks.classes import OfClasses
from autocompress.tasks.folding import folding_problem
from autocompress.tasks.judgement import Tables, answer_tables, fitting_labels, order_problem
from autocompress.tasks.labels import Matched, Unmatched, is_confirmed, labels_block, match_labels
from autocompress.teacher.checkpoints import NEW_HEAD, Checkpoint, load_model, quiet, read_checkpoint

logger = logging.getLogger(__name__)

_RECIPE: Final = 1
"""Raised whenever the fine-tuning loop changes what it produces."""

_FOLDING: Final = 1
"""Raised whenever rows go to other folds."""

_SETTLING: Final = 1024
"""Training rows that thresholds and their like are settled by."""
_BATCH: Final = 32
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Teacher:
    """A fine-tuned classifier, its folder (config, weights, tokenizer), its task and a digest of all three. `notes` say
    what was made of the checkpoint, where that needs saying; `licence` is what the checkpoint's card says of it, see
    `assets.hub.licence_of`."""

    anatomy: Anatomy
    folder: Path
    task: Task
    digest: str
    validation: float
    notes: tuple[str, ...] = ()
    licence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FirstLook:
    """Model and task before anything is trained. `trains` where `prepare_teacher` would train the model; the weights
    may be those of a trained one otherwise, or of one with a new head."""

    model: Any
    task: Task
    trains: bool


def first_look(
    spec: StudySpec, model_folder: Path, data: Mapping[str, Path], *, scoring: Scoring | None = None
) -> FirstLook:
    """What a study can be timed with; `scoring` as in `prepare_teacher`.

    Raises SpecError and IntegrityError as `prepare_teacher` does."""
    checkpoint = read_checkpoint(model_folder, _head(spec))
    if _is_finished(spec, checkpoint):
        task, _ = _task_as_it_is(spec, checkpoint, data, scoring)
        return FirstLook(_model(spec, checkpoint, task, new_head=False), task, trains=False)
    task = _task(spec, checkpoint, data, scoring)
    _check_folds(spec, task)
    trained = find_entry(_place(_trained_digest(spec, model_folder, data)))
    return FirstLook(_model(spec, checkpoint, task, new_head=True), task, trains=not trained)


def prepare_teacher(
    spec: StudySpec,
    model_folder: Path,
    data: Mapping[str, Path],
    *,
    on_progress: Callable[[Progress], None],
    on_note: Callable[[str], None] = logger.info,
    scoring: Scoring | None = None,
) -> Teacher:
    """What there is to say of the texts goes to `on_note` before anything is trained, and what cannot be folded is
    refused. `scoring` is the function that the study is scored by, where that is one of the user's.

    Raises SpecError when the model is of no known family, does not fit the data, cannot be trained or answers no
    better than the commonest class, IntegrityError when its weights are damaged."""
    checkpoint = read_checkpoint(model_folder, _head(spec))
    if _is_finished(spec, checkpoint):
        teacher = _taken_as_it_is(spec, checkpoint, data, scoring, judge=True)
        _tell(teacher.task, on_note)
        return teacher
    task = _task(spec, checkpoint, data, scoring)
    _check_folds(spec, task)
    _tell(task, on_note)
    digest = _trained_digest(spec, model_folder, data)
    folder = _place(digest)
    if not find_entry(folder):
        _fine_tune(spec, checkpoint, folder, task, on_progress)
    teacher = _trained(spec, checkpoint, data, digest, scoring)
    training = spec.teacher.training
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
    epochs += "" if training.steps is None else f" of {training.steps_an_epoch(len(task.examples('train')))} steps"
    tried = f"it was trained for {epochs} with `teacher.learning_rate: {training.learning_rate:g}`"
    return _judged(spec, teacher, [], f"{tried}; raise the epochs, or try another learning rate")


def cached_teacher(spec: StudySpec, model_folder: Path, data: Mapping[str, Path], *, digest: str = "") -> Teacher:
    """The teacher of a study, by the digest it had when the study ran, else by the one it would have now. Never trains;
    raises NotFoundError once it is gone."""
    checkpoint = read_checkpoint(model_folder, _head(spec))
    if _is_finished(spec, checkpoint):
        return _taken_as_it_is(spec, checkpoint, data, None, judge=False)
    if not digest or not find_entry(_place(digest)):
        digest = _trained_digest(spec, model_folder, data)
    if not find_entry(_place(digest)):
        raise NotFoundError(
            f"{_place(digest)}: the teacher of study {spec.name!r} is not in the cache (any more); "
            f"`autocompress resume {spec.name}` trains that of a study that has not finished, and `autocompress "
            f"explain {spec.name} --train-teacher` that of any"
        )
    return _trained(spec, checkpoint, data, digest, None)


def is_at_hand(spec: StudySpec, model_folder: Path, data: Mapping[str, Path]) -> bool:
    """Whether `prepare_teacher` has nothing to train."""
    checkpoint = read_checkpoint(model_folder, _head(spec))
    return _is_finished(spec, checkpoint) or find_entry(_place(_trained_digest(spec, model_folder, data)))


def fold_teacher(
    spec: StudySpec,
    model_folder: Path,
    whole: Teacher,
    task: Task,
    fold: int,
    *,
    on_progress: Callable[[Progress], None],
) -> Teacher:
    """A teacher trained as `whole` was, by the seed of `spec`, on a `task` without a fold (`tasks.folding`); kept in
    the cache. Raises SpecError when it cannot be trained."""
    certify = spec.finalists.certify
    assert certify is not None, "folds are asked for"
    about = {"teacher": whole.digest, "fold": [fold, certify.folds], "seed": spec.seed, "folding": _FOLDING}
    digest = content_digest(about)
    if not find_entry(_place(digest)):
        _fine_tune(spec, read_checkpoint(model_folder, _head(spec)), _place(digest), task, on_progress)
    return _opened(spec, read_checkpoint(_place(digest), _head(spec)), task, digest, ())


def _check_folds(spec: StudySpec, task: Task) -> None:
    certify = spec.finalists.certify
    if certify is not None and (problem := folding_problem(task, certify.folds)):
        raise SpecError(f"finalists.certify.folds: {problem}")


def _head(spec: StudySpec) -> str:
    return task_named(spec.task.kind).head


def _tell(task: Task, on_note: Callable[[str], None]) -> None:
    for note in task.notes:
        on_note(note)


def _is_finished(spec: StudySpec, checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is taken as it is. Raises SpecError when it cannot be, when the study says what outputs
    mean that it will not have, and when it wants folds of what was learned already."""
    finished = _has_learned(spec, checkpoint)
    if finished and spec.finalists.certify is not None:
        way = "" if task_named(spec.task.kind).head == EMBEDDING else f", or {NEW_HEAD}"
        raise SpecError(
            f"finalists.certify: {checkpoint.folder} is taken as it is, and nobody knows which rows it learned from, "
            f"so no fold of the training split can be left out of them; leave `certify` out{way}"
        )
    return finished


def _has_learned(spec: StudySpec, checkpoint: Checkpoint) -> bool:
    kind = task_named(spec.task.kind)
    if kind.head == EMBEDDING:
        if spec.teacher.head == "new":
            raise SpecError(
                f"teacher.head: must be left out, as {kind.kind} has no head to train: a model is taken as it is"
            )
        return True
    finished = checkpoint.has_head and spec.teacher.head == "own"
    if finished:
        checkpoint.check_head(kind.problem)
    elif spec.task.labels:
        reason = "has no classifier yet" if not checkpoint.has_head else "gets a new head (`teacher.head`)"
        raise SpecError(
            f"task.labels: must be left out, as {checkpoint.folder} {reason}, whose outputs are the labels of the data"
        )
    return finished


def _inputs(spec: StudySpec, model_folder: Path, data: Mapping[str, Path]) -> dict[str, Any]:
    found = {"model": file_digest(model_folder), "data": data_digest(data), "task": _task_identity(spec)}
    return found if spec.model.positions is None else {**found, "positions": spec.model.positions}


def _trained_digest(spec: StudySpec, model_folder: Path, data: Mapping[str, Path]) -> str:
    training = {"training": spec.teacher.training.identity, "seed": spec.seed, "recipe": _RECIPE}
    return content_digest(_inputs(spec, model_folder, data) | training)


def _of_positions(spec: StudySpec, checkpoint: Checkpoint) -> Iterator[str]:
    """What is said of a model that is given more positions."""
    way, asked = spec.model.positions, spec.task.max_length
    if way is not None and asked > (places := places_of(checkpoint.config, checkpoint.family)):
        yield f"positions: {places} of the checkpoint, {asked} by `{way}`"


def _place(digest: str) -> Path:
    return cache_folder() / "teachers" / digest


def _trained(
    spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], digest: str, scoring: Scoring | None
) -> Teacher:
    """The teacher in the cache, with its labels in the order that it was trained with."""
    trained = read_checkpoint(_place(digest), _head(spec))
    task = _task(spec, checkpoint, data, scoring, labels=trained.names())
    notes = [f"{checkpoint.purpose or 'the checkpoint'}: its head was replaced"] if checkpoint.has_head else []
    teacher = _opened(spec, trained, task, digest, (*notes, *_of_positions(spec, checkpoint)))
    return replace(teacher, licence=licence_of(checkpoint.folder))


def _taken_as_it_is(
    spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], scoring: Scoring | None, *, judge: bool
) -> Teacher:
    task, matched = _task_as_it_is(spec, checkpoint, data, scoring)
    inputs = _inputs(spec, checkpoint.folder, data)
    if matched.how:  # the order of labels follows from names alone otherwise
        inputs["labels"] = list(matched.labels)
    notes = [matched.how] if matched.how else []
    notes += [f"{note}; it was not trained on so long texts" for note in _of_positions(spec, checkpoint)]
    teacher = _opened(spec, checkpoint, task, content_digest(inputs), tuple(notes))
    if not judge:
        return teacher
    if matched.is_guess and not spec.teacher.accept_poor and not _is_confirmed(spec, teacher):
        raise SpecError(_question(spec, checkpoint, data, "the model does not say what its outputs mean"))
    tried = matched.how or f"its outputs are {', '.join(matched.labels[:_SHOWN])}, as its config says"
    names = checkpoint.names() if matched.labels else ()
    return _judged(spec, teacher, names, f"{tried}; if it was fine-tuned for something else, {NEW_HEAD}")


def _task_as_it_is(
    spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], scoring: Scoring | None
) -> tuple[Task, Matched]:
    """The task of a checkpoint that is not trained, and how its outputs are matched to the labels of the data."""
    found = _labels_of(spec, data)
    matched = match_labels(checkpoint.names(), found, spec.task.label_names) if found else Matched(())
    if isinstance(matched, Unmatched):
        raise SpecError(_question(spec, checkpoint, data, matched.reason))
    return _task(spec, checkpoint, data, scoring, labels=matched.labels), matched


def _is_confirmed(spec: StudySpec, teacher: Teacher) -> bool:
    """Whether the model's answers bear a guess of its labels out; only those that are one class a row can."""
    return isinstance(teacher.task, OfClasses) and is_confirmed(_tables(spec, teacher).both)


def _tables(spec: StudySpec, teacher: Teacher) -> Tables:
    model = teacher.anatomy.model
    return answer_tables(teacher.task, lambda examples: _answers(spec, model, examples))


def _labels_of(spec: StudySpec, data: Mapping[str, Path]) -> list[str]:
    return list(task_named(spec.task.kind).classes(spec.task, data))


def _question(spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], reason: str) -> str:
    """What names cannot tell is asked for, with what the model's answers tell if anything."""
    names, found, where = checkpoint.names(), _labels_of(spec, data), next(iter(data.values()))
    if len(found) > len(names):
        return f"{where}: {reason}; leave such texts out, or {NEW_HEAD}"
    if spec.task.labels:
        return f"{where}: {reason}"
    fitting = _fitting(spec, checkpoint, data, [*found, *(name for name in names if name not in found)][: len(names)])
    asked = f"{where}: {reason}; say which output means which label, under `task`: "
    if fitting is None:
        block = labels_block(names, ["..."] * len(names)).replace('"..."', "...")
        return f"{asked}{block} (its answers fit no order); or {NEW_HEAD}"
    return f"{asked}{labels_block(names, fitting)} (what fits its answers to training texts best: check it)"


def _fitting(
    spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], labels: Sequence[str]
) -> tuple[str, ...] | None:
    """These labels in the order that the model's answers tell, if they tell any."""
    try:
        task = _task(spec, checkpoint, data, None, labels=labels)
    except SpecError:  # what is asked for comes first; this is told once it was answered
        return None
    if not isinstance(task, OfClasses):
        return None
    model = _model(spec, checkpoint, replace(task, labels=tuple(labels)), new_head=False).eval()
    return fitting_labels(task, lambda examples: _answers(spec, model, examples))


def _task(
    spec: StudySpec,
    checkpoint: Checkpoint,
    data: Mapping[str, Path],
    scoring: Scoring | None,
    *,
    labels: Sequence[str] | None = None,
) -> Task:
    """The study's, scored as it says. Raises SpecError when the model cannot read what the task gives it."""
    metric = spec.task.scored
    if metric.function is None:
        return _task_of(spec, checkpoint, data, labels=labels)
    ours = replace(spec, task=replace(spec.task, metric=None))
    return with_score(_task_of(ours, checkpoint, data, labels=labels), str(metric), scoring)


def _task_of(
    spec: StudySpec, checkpoint: Checkpoint, data: Mapping[str, Path], *, labels: Sequence[str] | None = None
) -> Task:
    """Raises SpecError when the model cannot read what the task gives it: texts for a model of images, texts longer
    than it has positions for, the tokens of another model's tokenizer (see `tasks.tokenization`), or a workload that
    its rows cannot be."""
    config, folder, kind = checkpoint.config, checkpoint.folder, task_named(spec.task.kind)
    checkpoint.check_modality(kind.kind)
    if form_of(kind.kind).modality != "text":
        task = kind.load(spec.task, data, folder, labels=labels, config=config)
        task.examples("train").served(spec.workload)
        return task
    places, family = places_of(config, checkpoint.family), checkpoint.family.model_type
    if problem := why_too_long(str(folder), family, places, spec.task.max_length, spec.model.positions):
        raise SpecError(problem)
    types = int(getattr(config, "type_vocab_size", 1) or 1)
    return kind.load(spec.task, data, folder, labels=labels, rows=int(config.vocab_size), types=types)


def _opened(spec: StudySpec, checkpoint: Checkpoint, task: Task, digest: str, notes: tuple[str, ...]) -> Teacher:
    model = _model(spec, checkpoint, task, new_head=False).eval()
    if task.settles:
        train = task.examples("train")
        some = train.take(np.random.default_rng(0).permutation(len(train))[:_SETTLING])
        task = task.settled(_outputs(spec, model, some), some)
    validation = task.examples("validation")
    score = task.score(_outputs(spec, model, validation), validation).value if can_score(task) else math.nan
    return Teacher(anatomy_of(model), checkpoint.folder, task, digest, score, notes, licence_of(checkpoint.folder))


def _model(spec: StudySpec, checkpoint: Checkpoint, task: Task, *, new_head: bool) -> Any:
    return load_model(
        checkpoint,
        task.head,
        task.labels,
        new_head=new_head,
        outputs=task.outputs,
        types=task.types,
        image_size=spec.task.image_size,
        audio_length=task.reading.length if isinstance(task.reading, AudioFiles) else None,
        max_length=spec.task.max_length,
        positions=spec.model.positions,
    )


def _answers(spec: StudySpec, model: torch.nn.Module, examples: Rows) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = _outputs(spec, model, examples).argmax(1)
    return answers


def _outputs(spec: StudySpec, model: torch.nn.Module, examples: Rows) -> Outputs:
    return predict(model, batches(examples, _BATCH), precision=spec.teacher.precision)


def _judged(spec: StudySpec, teacher: Teacher, names: Sequence[str], tried: str) -> Teacher:
    """The teacher, where its answers fit its labels and beat the commonest class. `names` are what a model that was not
    trained here calls its outputs."""
    task, model = teacher.task, teacher.anatomy.model
    problem, alike = None, "an answer that is always the same"
    if isinstance(task, OfClasses):
        alike = "always answering the commonest class"
    if names and isinstance(task, OfClasses):
        validation = _answers(spec, model, task.examples("validation"))
        problem = order_problem(task, names, validation, lambda examples: _answers(spec, model, examples))
    chance = task.chance(task.examples("validation"))
    if problem is None and teacher.validation <= chance and teacher.validation < 1:
        problem = (
            f"scores {teacher.validation:.3f} ({task.metric}) on validation {NOUNS[task.modality]}, no more than "
            f"{alike}, {chance:.3f}: {tried}"
        )
    if problem is None:
        return teacher
    if not spec.teacher.accept_poor:
        raise SpecError(f"teacher {teacher.folder}: {problem}; `teacher: {{accept_poor: true}}` goes on with it")
    return replace(teacher, notes=(*teacher.notes, f"a poor teacher was accepted: {problem}"))


def _task_identity(spec: StudySpec) -> dict[str, Any]:
    identity = asdict(spec.task)
    identity["data"] = spec.task.data.identity  # the content of files counts beside it, not where they came from
    metric = spec.task.scored
    if metric.label is None and metric.k is None and metric.function is None:
        identity["metric"] = metric.name
    elif metric.function is None and isinstance(identity["metric"], dict):
        identity["metric"].pop("function")
    for name in ("labels", "image_size", "audio_seconds"):  # teachers of before there was such a key keep their digest
        if not identity[name]:
            identity.pop(name)
    return identity


def _fine_tune(
    spec: StudySpec,
    checkpoint: Checkpoint,
    folder: Path,
    task: Task,
    on_progress: Callable[[Progress], None],
) -> None:
    model = _model(spec, checkpoint, task, new_head=True)
    model.requires_grad_(True)
    validation = judging(task.examples("validation"), EPOCH_ROWS)
    judged = batches(validation, _BATCH)

    def score(candidate: torch.nn.Module) -> float:
        return task.score(predict(candidate, judged, precision=spec.teacher.precision), validation).value

    progress = folder.with_suffix(".training")
    try:
        trained = train(
            model,
            task.examples("train"),
            answers(
                lambda outputs, batch: task.loss(outputs, batch.targets, label_smoothing=spec.teacher.label_smoothing)
            ),
            spec=spec.teacher.training,
            score=score,
            seed=spec.seed,
            checkpoint=progress,
            progress=on_progress,
        )
    except CandidateError as error:  # of a teacher it is no candidate's fault: there is no study without one
        raise SpecError(f"teacher: {error}") from error
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    with new_entry(folder, needed=size) as part, quiet():
        part.mkdir()
        model.save_pretrained(str(part))
        task.reading.write(part)
        history = {"validation_scores": trained.scores, "kept_epoch": trained.kept_epoch}
        (part / "training.json").write_text(json.dumps(history), encoding="utf-8")
    shutil.rmtree(progress, ignore_errors=True)
