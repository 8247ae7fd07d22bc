"""What a Python program gives a study in place of files: a model, rows, a function that scores.

All of it is written once among the artifacts of the database, under the digest of what it holds, so that a study that
began in a notebook is gone on with from anywhere. A function is kept by the name it is imported by, if it has one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from autocompress import config
from autocompress.assets import check_model_folder, file_digest, host_errors, kept_place, write_atomically
from autocompress.core.data_spec import ModelAsset
from autocompress.core.functions import Function, kept_as
from autocompress.core.scores import MetricSpec
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import form_of
from autocompress.errors import SpecError
from autocompress.operators import OPERATORS
from autocompress.store import Store

_NEEDED: Final = tuple(
    one.name
    for one in dataclasses.fields(StudySpec)
    if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
)
"""What a study's file must say. A mapping that says less is filled in by guessing, where model and data are known."""
_WHOLE: Final = ("objectives", "constraints", "space")
"""What replaces a guess, and is not laid over it."""
_DATA: Final = "the study"
_WORD: Final = re.compile(r"[^A-Za-z0-9.]+")
_WRITTEN: Final = re.compile("\0(rows|train|validation|test)[.]jsonl")
_UNNAMED: Final = "scored"


@dataclass(frozen=True, slots=True)
class Given:
    """Objects in memory: a model with its `tokenizer` (or processor), rows, and a function that scores."""

    model: Any = None
    tokenizer: Any = None
    data: object = None
    score: Function | str | None = None


def settled(
    asked: StudySpec | Mapping[str, Any] | str | Path | None,
    given: Given,
    store: Store,
    *,
    name: str | None,
    note: Callable[[str], None],
) -> tuple[StudySpec, Given]:
    """The study that is meant, with what was given kept in the store, and what was given in the end: a mapping may hold
    objects too. What is guessed is told to `note`.

    Raises SpecError for everything that is wrong with it, and NotFoundError.
    """
    if isinstance(asked, Mapping):
        tree, given = _without_objects(asked, given)
        asked = _checked(tree)
    if given.model is None and given.tokenizer is not None:
        raise SpecError("tokenizer: belongs to a model in memory; give `model=` too, or name a folder with both")
    model = None if given.model is None else keep_model(given.model, given.tokenizer, store)
    if isinstance(asked, str | Path):
        asked = config.load_study(asked, operators=OPERATORS, data_given=given.data is not None)
    spec = asked if isinstance(asked, StudySpec) else _of_tree(asked, given, model, store, name, note)
    if name is not None:
        spec = replace(spec, name=name)
    if model is not None:
        spec = replace(spec, model=replace(model, positions=spec.model.positions))
    if given.score is not None:
        spec = replace(spec, task=replace(spec.task, metric=_metric(given.score)))
    return (spec if given.data is None else with_rows(spec, given.data, store)), given


def keep_model(model: Any, tokenizer: Any, store: Store) -> ModelAsset:
    """Writes a `transformers` model with its tokenizer or processor, or whatever else `save_pretrained` writes as such
    a folder. Raises SpecError for what is none, or cannot be loaded from what it wrote."""
    for what, one in (("model", model), ("tokenizer", tokenizer)):
        if one is not None and not hasattr(one, "save_pretrained"):
            raise SpecError(
                f"{what}: must be an object of transformers, with `save_pretrained`, got {type(one).__name__}; a "
                "folder is named in the study: `model: {path: ...}`"
            )
    home = kept_place(store.artifacts, "x").parent
    with host_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        try:
            for one in (model, tokenizer):
                if one is not None:
                    one.save_pretrained(str(draft))
            check_model_folder(draft)
            name = file_digest(draft)
            if not (home / name).exists():
                draft.replace(home / name)
        except SpecError as error:
            told = [line.replace(f"{draft}/", "").replace(f"{draft}: ", "") for line in error.problems]
            raise SpecError(*(f"model: as it was saved from memory: {line}" for line in told)) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return ModelAsset(kept=name)


def with_rows(spec: StudySpec, data: object, store: Store) -> StudySpec:
    """The study with these rows, which are kept under what they hold."""
    from autocompress.reading import kept, rows_given

    files, form = {}, form_of(spec.task.kind)
    for part, lines in rows_given(spec.task.data, data, form.targets, form.modality).items():
        files[part] = f"{hashlib.sha256(lines).hexdigest()}.jsonl"
        place = kept_place(store.artifacts, files[part])
        if not place.exists():
            write_atomically(place, lines)
    return replace(spec, task=replace(spec.task, data=kept(spec.task.data, files)))


def _metric(score: Function | str) -> MetricSpec:
    function = kept_as(score, "score")
    name = function.rpartition(":")[2] if isinstance(score, str) else str(getattr(score, "__name__", ""))
    try:
        return MetricSpec(name.strip("_<>") if name.isidentifier() else _UNNAMED, function=function)
    except ValueError as error:
        raise SpecError(f"score: {error}; call the function otherwise") from error


# A study as a mapping


def _without_objects(asked: Mapping[str, Any], given: Given) -> tuple[dict[str, Any], Given]:
    """A study's tree, and the objects that stood in it."""
    tree = dict(asked)
    found: dict[str, Any] = {}
    for key in ("model", "tokenizer"):
        if key in tree and not isinstance(tree[key], str | Mapping | Path):
            found[key] = tree.pop(key)
    task = dict(tree["task"]) if isinstance(tree.get("task"), Mapping) else None
    if task is not None:
        if "data" in task and not _is_plain(task["data"]):
            found["data"] = task.pop("data")
        if callable(task.get("metric")):
            found["score"] = task.pop("metric")
        tree["task"] = task
    if twice := [key for key in found if getattr(given, key) is not None]:
        raise SpecError(f"{', '.join(twice)}: given twice, in the study and beside it")
    return tree, replace(given, **found)


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value, default=_path)
    except (TypeError, ValueError):
        return False
    return True


def _path(value: object) -> str:
    """Paths stand for their texts. Raises TypeError for anything else."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(type(value).__name__)


def _checked(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as a file would hold it. Raises SpecError where one could not."""
    if wrong := [str(key) for key, value in tree.items() if not _is_plain(value)]:
        raise SpecError(
            *(f"{_DATA}: {key}: holds what a file cannot; write numbers, texts, lists and mappings" for key in wrong)
        )
    found: dict[str, Any] = json.loads(json.dumps(tree, default=_path))
    return found


def _of_tree(
    tree: Mapping[str, Any] | None,
    given: Given,
    model: ModelAsset | None,
    store: Store,
    name: str | None,
    note: Callable[[str], None],
) -> StudySpec:
    """As the mapping says, and where it leaves out what a study needs, as `compress` would guess it."""
    whole = dict(tree or {})
    if name is not None:
        whole["name"] = name
    if model is not None:
        whole["model"] = {"kept": model.kept}
    task = whole.get("task")
    data = (task.get("data") or {}) if isinstance(task, Mapping) else {}
    known = "model" in whole and (given.data is not None or "source" in data)
    if known and not whole.keys() >= set(_NEEDED):
        whole = _guessed(whole, given, model, store, note)
    elif tree is None:
        raise SpecError("a study is a file, its name or a mapping; without one give both `model=` and `data=`")
    return config.study_from_tree(
        whole, base=Path.cwd(), operators=OPERATORS, source=_DATA, data_given=given.data is not None
    )


def _guessed(
    tree: Mapping[str, Any], given: Given, model: ModelAsset | None, store: Store, note: Callable[[str], None]
) -> dict[str, Any]:
    """The whole tree of a study, by what rows and model are like."""
    from autocompress.study.beginning import Asked, begin

    task = dict(tree.get("task", {}))
    rows = dict(task.pop("data", {}))
    source = rows.pop("source", None)
    task |= {"data": rows} if rows else {}
    left = {key: value for key, value in tree.items() if key not in ("model", "task", "name", *_WHOLE)}
    settings = {key: json.dumps(value) for key, value in (left | ({"task": task} if task else {})).items()}
    with tempfile.TemporaryDirectory() as folder:
        found = {"data": _as_text(source)} if given.data is None else _written(given.data, Path(folder))
        place = _as_text(tree["model"]) if model is None else str(kept_place(store.artifacts, str(model.kept)))
        title = tree.get("name") or (None if model is None else _title(given.model))
        asked = replace(Asked(place, found.pop("data"), name=title, settings=settings), **found)  # type: ignore[arg-type]
        try:
            begun = begin(asked, base=Path.cwd())
        except SpecError as error:  # of files that are gone by then, and that nobody wrote
            told = [_WRITTEN.sub(_given_as, line.replace(f"{folder}{os.sep}", "\0")) for line in error.problems]
            raise SpecError(*told) from error
    for reason in begun.reasons:
        if reason.why != "you set it":
            note(f"{reason.what}: {reason.value}, {reason.why}")
    whole = {**begun.tree, **{key: tree[key] for key in _WHOLE if key in tree}}
    return whole if model is None else {**whole, "model": {"kept": model.kept}}


def _written(data: object, folder: Path) -> dict[str, str]:
    """Files of the rows with all their columns, by what `Asked` calls them."""
    from autocompress.reading import ALL, raw_lines

    found = {}
    for part, lines in raw_lines(data).items():
        path = folder / ("rows.jsonl" if part == ALL else f"{part}.jsonl")
        path.write_bytes(lines)
        found["data" if part in (ALL, "train") else part] = str(path)
    return found


def _given_as(file: re.Match[str]) -> str:
    return "data" if file[1] == "rows" else f"data[{file[1]!r}]"


def _as_text(asset: Any) -> str:
    return asset if isinstance(asset, str) else json.dumps(asset)


def _title(model: Any) -> str:
    """`minilm-from-python`, by what a model in memory calls itself."""
    of = getattr(model, "config", None)
    called = Path(str(getattr(of, "name_or_path", "") or getattr(of, "model_type", "") or "model")).name
    return f"{_WORD.sub('-', called).strip('-.').lower()[:80] or 'model'}-from-python"
