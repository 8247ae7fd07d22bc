"""A study out of a model and labelled data alone: what it is about is guessed, and every guess has its reason."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from autocompress import config
from autocompress.assets import Progress, check_model_folder, fetch
from autocompress.assets.hub import Kind, commit_of
from autocompress.config.document import Document
from autocompress.config.problems import Problems
from autocompress.config.validation import validated
from autocompress.core.data_spec import SPLITS, Asset, DataSpec, ModelAsset, TextFormat
from autocompress.core.paths import expanded
from autocompress.core.positions import way_to
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import NOUNS, OURS, form_of, kinds
from autocompress.errors import NotFoundError, SpecError, did_you_mean
from autocompress.guessing import (
    Checkpoint,
    Column,
    Lengths,
    Named,
    Reason,
    Roles,
    checkpoint_of,
    column_of,
    kind_of,
    label_of,
    lengths_of,
    roles_of,
)
from autocompress.operators import OPERATORS
from autocompress.reading.overview import Overview, cells_of, format_of, overview
from autocompress.study.preflight import misfits, problems_of

DEFAULT: Final = "default"
"""The model of the study that ships as `quickstart`."""
_DEFAULT_OF: Final = "quickstart"
_HUB: Final = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_SPACES: Final = {"text": "bert-uniform", "image": "vit-uniform", "audio": "audio-uniform"}
_FILE_KEYS: Final = ("format", "columns", "encoding", "delimiter", "quoted", "pattern")
"""Settings of `task.data` that say how its files are read, not what is read of them."""
_LOOKED_AT: Final = 1000
"""Rows whose tokens are counted."""
_HEADS: Final = {
    "text-classification": "text",
    "sentence-pairs": "text",
    "multi-label": "text",
    "regression": "text",
    "token-classification": "tokens",
    "image-classification": "image",
    "audio-classification": "audio",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of a study; what is None is guessed. `model` and `data` (`validation`, `test`) are a path, a
    repository on the hub, or an asset as a study file has it; `settings` are keys of a study with their values, as YAML
    writes them."""

    model: str
    data: str
    validation: str | None = None
    test: str | None = None
    kind: str | None = None
    named: Named = Named()
    minutes: float = 20.0
    max_latency_ms: float | None = None
    device: str = config.HOST
    name: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Begun:
    """The tree of a study's file, the study it stands for, and why it is so."""

    tree: Mapping[str, Any]
    spec: StudySpec
    reasons: tuple[Reason, ...]


def begin(asked: Asked, *, base: Path, progress: Progress | None = None) -> Begun:
    """Fetches the model and the data where they are not here, reads their settings and rows, and needs no torch. Paths
    are written as a file in the folder `base` has them.

    Raises SpecError, with the option that settles it, where a guess would not be sure, and for everything that a run of
    the study would be refused for; NotFoundError and HostError where something is not there or cannot be read.
    """
    settings = config.set_values(asked.settings)
    asked = _with_settings(asked, settings)
    if asked.kind is not None and asked.kind not in OURS and asked.kind not in kinds():
        raise SpecError(f"--task: no task is called {asked.kind!r}; {did_you_mean(asked.kind, kinds())}")
    model = _placed(asked.model, "MODEL", "model", base)
    sources = {"source": asked.data, "validation": asked.validation, "test": asked.test}
    data = {key: _placed(one, _OPTIONS[key], "dataset", base) for key, one in sources.items() if one is not None}
    folder = fetch(_asset(ModelAsset, model, base, "MODEL"), progress=progress)
    check_model_folder(folder)
    checkpoint = checkpoint_of(
        json.loads((folder / "config.json").read_bytes()), embeds=(folder / "modules.json").is_file()
    )
    path = fetch(_asset(Asset, data["source"], base, "--data"), kind="dataset", progress=progress)
    reading = _reading(settings)
    seen = overview(path, reading)
    guessed = _of_media(asked, seen, checkpoint, reading, settings) if _reads_media(seen, checkpoint) else None
    guessed = guessed or _of_texts(asked, seen, checkpoint, folder)
    others = _other_formats(data, seen, reading, base) if seen.format else {}
    tree, reasons = _whole(
        asked, guessed, model=model, data=data, seen=seen, checkpoint=checkpoint, path=path, others=others
    )
    tree = _within(config.merged(tree, settings), settings)
    spec = config.study_from_tree(tree, base=base, operators=OPERATORS, source="the study")
    if problems := list(dict.fromkeys([*misfits(spec, folder), *problems_of(spec)])):
        raise SpecError(*problems, "what belongs to a key of the study is said with `--set KEY=VALUE`")
    reasons = [one for one in reasons if _KEYS.get(one.what) not in asked.settings]
    reasons += [Reason(key, written, "you set it") for key, written in asked.settings.items()]
    return Begun(tree, spec, tuple(reasons))


_KEYS: Final = {
    "space": "space",
    "max length": "task.max_length",
    "timed at": "workload.length",
    "format": "task.data.format",
}
"""The keys that a user may have set in place of what was guessed."""
_OPTIONS: Final = {"source": "--data", "validation": "--validation", "test": "--test"}


@dataclass(frozen=True, slots=True)
class _Task:
    """The task's part of a study, all but its sources."""

    kind: str
    tree: Mapping[str, Any]
    columns: Mapping[str, Any]
    reasons: tuple[Reason, ...]
    label: Column
    lengths: Lengths | None = None


# Models and data, as a command line names them


def _placed(text: str, where: str, kind: Kind, base: Path) -> dict[str, Any]:
    """The mapping of an asset that a study's file in `base` has. Raises NotFoundError for what is none."""
    if text.lstrip().startswith("{"):
        return config.flow_mapping(text, source=where)
    if kind == "model" and text == DEFAULT:
        found = asdict(config.load_study(_DEFAULT_OF, operators=OPERATORS).model)
        return {key: value for key, value in found.items() if value}
    path = expanded(text)
    if path.exists():
        return {"path": _relative(path, base)}
    named = _HUB.fullmatch(text)
    if named is None or Path(text).parent.is_dir() or (kind == "dataset" and path.suffix):
        other = f", `owner/name` on the hub or `{DEFAULT}`" if kind == "model" else " or `owner/name` on the hub"
        raise NotFoundError(f"{where}: {text}: no such file or folder; give a path{other}")
    return {"hub": named["name"], "revision": commit_of(named["name"], named["revision"], kind=kind)}


def _relative(path: Path, base: Path) -> str:
    """Relative to `base` where both lie below the current folder: what belongs together may be moved together."""
    here, whole, folder = (os.path.abspath(one) for one in (Path.cwd(), path, base))
    if not all(one == here or one.startswith(here + os.sep) for one in (whole, folder)):
        return whole
    found = os.path.relpath(whole, folder)
    return f"./{found}" if found.startswith("~") else found


def _asset(kind: type[Asset], tree: Mapping[str, Any], base: Path, where: str) -> Any:
    placed = dict(tree)
    if isinstance(placed.get("path"), str):
        placed["path"] = os.path.abspath(base / expanded(placed["path"]))
    problems = Problems(Document(where, placed))
    found = validated(kind, placed, problems, stand_in={"path": "x"})
    problems.raise_any()
    return found


def _under(tree: Mapping[str, Any], *keys: str) -> Any:
    """The value there, None where there is none."""
    found: Any = tree
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _with_settings(asked: Asked, settings: Mapping[str, Any]) -> Asked:
    """With what the keys of the study say in place of options."""

    def text(*keys: str) -> str | None:
        found = _under(settings, "task", *keys)
        return found if isinstance(found, str) else None

    named = asked.named
    return replace(
        asked,
        kind=asked.kind or text("kind"),
        named=Named(
            named.text or text("data", "text"),
            named.pair or text("data", "text_pair"),
            named.label or text("data", "label"),
        ),
    )


def _within(tree: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A workload is no longer than texts are cut at: who sets one of the two sets the other as far as needed."""
    cut, timed = _under(tree, "task", "max_length"), _under(tree, "workload", "length")
    if not (isinstance(cut, int) and isinstance(timed, int) and timed > cut):
        return tree
    if _under(settings, "workload", "length") is None:
        return config.merged(tree, {"workload": {"length": cut}})
    if _under(settings, "task", "max_length") is None:
        return config.merged(tree, {"task": {"max_length": timed}})
    return tree


def _reading(settings: Mapping[str, Any]) -> DataSpec:
    """How files are read, by the user's settings of `task.data`."""
    data = _under(settings, "task", "data") or {}
    given = {key: value for key, value in data.items() if key in _FILE_KEYS} if isinstance(data, Mapping) else {}
    problems = Problems(Document("--set task.data", given))
    found = validated(DataSpec, given, problems, stand_in={})
    problems.raise_any()
    assert found is not None, "no value and no problem"
    return found


def _other_formats(data: Mapping[str, Any], seen: Overview, reading: DataSpec, base: Path) -> dict[str, TextFormat]:
    """Of validation and test files that are not written as the source is, whose name does not say how."""
    found = {}
    for key in data.keys() - {"source"}:
        path = fetch(_asset(Asset, data[key], base, _OPTIONS[key]), kind="dataset")
        form = format_of(path, reading)
        if form is not None and form != seen.format:
            found[key] = form
    return found


# What is guessed


def _reads_media(seen: Overview, checkpoint: Checkpoint) -> bool:
    return seen.media is not None or checkpoint.modality != "text"


def _of_media(
    asked: Asked, seen: Overview, checkpoint: Checkpoint, reading: DataSpec, settings: Mapping[str, Any]
) -> _Task:
    """Images and recordings: what the model reads says which."""
    modality = checkpoint.modality if checkpoint.modality != "text" else seen.media or "image"
    kind = asked.kind or f"{modality}-classification"
    reads = f"the model reads {NOUNS[checkpoint.modality]}, the data are {NOUNS[seen.media or modality]}"
    reasons = [Reason("task", kind, "you asked for it" if asked.kind else reads)]
    columns = _columns(seen)
    if seen.media is not None:
        label = next(one for one in columns if one.name == reading.label)
        reasons.append(Reason("label", f"{label.distinct} classes", "a folder for each"))
        return _Task(kind, {"kind": kind}, {}, tuple(reasons), label)
    files = [one.name for one in columns if one.holds == "files"] or [
        name for name in seen.table.columns if name in (modality, "img", "picture", "sound", "recording", "file")
    ]
    if (named := _under(settings, "task", "data", modality)) is not None:
        if named not in seen.table.columns:
            missing = did_you_mean(str(named), seen.table.columns)
            raise SpecError(f"task.data.{modality}: {seen.table.where} has no column {named!r}; {missing}")
        files = [named]
    if len(files) != 1:
        told = ", ".join(f"{one.name!r} {one.why}" for one in columns if not files or one.name in files)
        raise SpecError(
            f"{seen.table.where}: {'several columns' if files else 'no column'} could hold the {NOUNS[modality]} "
            f"({told}); name it with `--set task.data.{modality}=COLUMN`, from Python with "
            f"`'task': {{'data': {{{modality!r}: COLUMN}}}}`"
        )
    (held,) = (one for one in columns if one.name == files[0])
    why_file = "you named it" if named is not None else held.why
    label, why = label_of(seen.table.where, columns, checkpoint, asked.named, kind)
    reasons += [Reason(modality, repr(files[0]), why_file), Reason("label", repr(label.name), why)]
    return _Task(kind, {"kind": kind}, {modality: files[0], "label": label.name}, tuple(reasons), label)


def _of_texts(asked: Asked, seen: Overview, checkpoint: Checkpoint, model: Path) -> _Task:
    where, cells = seen.table.where, cells_of(seen.table)
    columns = _columns(seen)
    _refuse_unnamed(where, cells)
    roles = roles_of(where, columns, checkpoint, named=asked.named, kind=asked.kind, cells=cells)
    task = Reason("task", asked.kind, "you asked for it") if asked.kind else kind_of(where, roles, checkpoint)
    named = {"text": roles.text.name, "text_pair": roles.pair.name if roles.pair else None, "label": roles.label.name}
    found: dict[str, Any] = {key: name for key, name in named.items() if name is not None}
    if roles.ignored:
        found["ignore"] = list(roles.ignored)
    counts = _token_counts(model, roles, cells)
    lengths = lengths_of(counts, positions=checkpoint.positions, more=way_to(checkpoint.model_type))
    tree = {"kind": task.value, "max_length": lengths.max_length}
    return _Task(task.value, tree, found, (task, *roles.reasons, *lengths.reasons), roles.label, lengths)


def _columns(seen: Overview) -> list[Column]:
    return [column_of(name, cells) for name, cells in cells_of(seen.table).items()]


def _refuse_unnamed(where: str, cells: Mapping[str, Sequence[object]]) -> None:
    """A file without a line of names loses its first row, and columns are called by what it says."""
    found = [name for name, column in cells.items() if name in {str(cell).strip() for cell in column}]
    if found:
        raise SpecError(
            f"{where}: its first line seems to be a row, not the names of the columns: {found[0]!r} stands below it "
            "too; name the columns there, or with `--set task.data.columns=[text,label]`"
        )


def _token_counts(model: Path, roles: Roles, cells: Mapping[str, Sequence[Any]]) -> list[int]:
    """Of some rows, by the model's own tokenizer; by their words where it has no `tokenizer.json`."""
    from tokenizers import Tokenizer

    texts = [cells[roles.text.name], *([cells[roles.pair.name]] if roles.pair else [])]
    step = max(1, len(texts[0]) // _LOOKED_AT)
    rows = [tuple(map(_as_text, row)) for row in list(zip(*texts, strict=True))[::step]]
    try:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        found = tokenizer.encode_batch([row if len(row) > 1 else row[0] for row in rows])
        return [len(one.ids) for one in found]
    except Exception:  # noqa: BLE001 - the library raises bare exceptions; what is wrong with the file is told when it is opened
        return [round(1.4 * sum(len(text.split()) for text in row)) + 3 for row in rows]


def _as_text(cell: Any) -> str:
    return " ".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell)


def _whole(
    asked: Asked,
    task: _Task,
    *,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    seen: Overview,
    checkpoint: Checkpoint,
    path: Path,
    others: Mapping[str, TextFormat],
) -> tuple[dict[str, Any], list[Reason]]:
    """The tree of a study, in the order of its file."""
    head, why_head = _teacher(task, checkpoint)
    modality = form_of(task.kind).modality
    space = _SPACES[modality]
    form = {"format": seen.format} if seen.format else {}
    parts = {
        key: one if key == "source" else ({"source": one, "format": others[key]} if key in others else one)
        for key, one in data.items()
    }
    workload = {"batch": 1, **({"length": task.lengths.length} if task.lengths else {}), "threads": 1}
    bound = (
        {} if asked.max_latency_ms is None else {"constraints": {"latency_ms": {"max": _short(asked.max_latency_ms)}}}
    )
    tree = {
        "name": asked.name or _name_of(asked, path),
        "version": 1,
        "description": f"{task.kind} on {_stem(asked.data, path)}",
        "model": dict(model),
        "task": {**task.tree, "data": {**parts, **form, **task.columns}},
        "space": space,
        "device": asked.device,
        "workload": workload,
        "objectives": {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"},
        **bound,
        "budget": {"trials": 240, "minutes": _short(asked.minutes)},
        **({"teacher": {"head": "new"}} if head == "new" else {}),
    }
    written = Reason("format", seen.format, "by what the file holds") if seen.format else None
    reasons = [
        Reason("model", checkpoint.model_type, why_head),
        *([written] if written else []),
        *task.reasons,
        _splits(asked, seen),
        Reason("space", space, "layers, heads, feed-forward channels and bits of all layers alike"),
        Reason("device", asked.device, "this machine, measured" if asked.device == config.HOST else "you named it"),
    ]
    return tree, reasons


def _teacher(task: _Task, checkpoint: Checkpoint) -> tuple[str, str]:
    """Whether the head that a model has is the task's, and what becomes of it."""
    if task.kind == "sentence-embeddings":
        return "own", "its vectors are compared as they are"
    if not checkpoint.head:
        return "own", "it has no head for a task, so it is fine-tuned first"
    wanted = _HEADS.get(task.kind, checkpoint.head)
    if checkpoint.head != wanted:
        return "new", f"it was fine-tuned for another task ({checkpoint.head}), so it gets a new head and is fine-tuned"
    if task.label.classes and len(checkpoint.outputs) < task.label.distinct and not checkpoint.gives_amounts:
        told = f"it has {len(checkpoint.outputs)} answers, the data {task.label.distinct} classes"
        return "new", f"{told}, so it gets a new head and is fine-tuned"
    return "own", "it is fine-tuned already, and taken as it is"


def _splits(asked: Asked, seen: Overview) -> Reason:
    given = [name for name in ("validation", "test") if getattr(asked, name)]
    held = [name for name in SPLITS if name in seen.splits]
    if held:
        left = [name for name in ("validation", "test") if name not in {*held, *given}]
        more = f"; {' and '.join(left)} split off from train" if left else ""
        return Reason("splits", ", ".join(held), f"as the files are named{more}")
    if given:
        left = [name for name in ("validation", "test") if name not in given]
        more = f"; {' and '.join(left)} split off" if left else ""
        return Reason("splits", ", ".join(["train", *given]), f"files of their own{more}")
    return Reason("splits", "80 / 10 / 10", "one source: training, validation and test are drawn from it")


def _name_of(asked: Asked, path: Path) -> str:
    """`reviews-minilm`, of the data and the model."""
    model = "minilm" if asked.model == DEFAULT else _stem(asked.model, expanded(asked.model))
    words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{_stem(asked.data, path)}-{model}").strip("-.").lower()
    return words[:100].strip("-.") or "study"


def _stem(asked: str, path: Path) -> str:
    """What a file, a folder or a repository is called, without endings."""
    name = asked.partition("@")[0].rpartition("/")[2] if _HUB.fullmatch(asked) else path.absolute().name
    return name.split(".")[0] or name


def _short(number: float) -> float:
    return int(number) if float(number).is_integer() else number
