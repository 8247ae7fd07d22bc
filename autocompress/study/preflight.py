"""What can be told of a study's own files before anything is trained: whether they are there, whether the texts can be
read, whether model, space and device fit each other. It reads settings, headers and texts, no weights, and needs no
torch: `autocompress check` answers in a moment."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from autocompress import config
from autocompress.assets import file_digest
from autocompress.assets.model_folders import model_folder_problems, tensor_shapes
from autocompress.core.data_spec import Asset
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.kept_tokens import TOKENS_ARE_GONE
from autocompress.core.parts import ModelParts
from autocompress.core.paths import expanded
from autocompress.core.positions import places_in, why_too_long
from autocompress.core.prediction import predictor_of
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import EVERY_TOKEN, NOUNS, form_of
from autocompress.core.training_spec import PER_LAYER
from autocompress.core.vocabulary import KINDS, why_all_tokens
from autocompress.errors import AutocompressError, CandidateError
from autocompress.families import FAMILIES
from autocompress.operators import bound, cuts_words, effective
from autocompress.operators.distill import Distill
from autocompress.operators.keep_tokens import keeps_in
from autocompress.operators.replace_attention import forms_in
from autocompress.pricing import draw
from autocompress.reading import read_labelled, read_texts

_SIZES: Final[Mapping[str, tuple[str, ...]]] = {
    "hidden": ("hidden_size", "dim"),
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "width": ("intermediate_size", "hidden_dim"),
    "rows": ("vocab_size",),
}
"""What a model's config calls its sizes, in whichever family."""
_DRAWN: Final = 30
"""Policies of a space that a device has to know."""
_MOST_BYTES: Final = 256 * 2**20
"""Texts of more are read when the study runs, not when it is checked."""


def problems_of(spec: StudySpec) -> list[str]:
    """One line for everything that a run would be refused for; empty when nothing is known to be wrong. What lies on a
    hub or in a package is not looked at."""
    return [*_of_model(spec), *_of_texts(spec)]


def misfits(spec: StudySpec, model: Path) -> list[str]:
    """Where a model's settings, by its folder, do not fit the study's space, task or device."""
    settings = json.loads((model / "config.json").read_bytes())
    family = FAMILIES.get(str(settings.get("model_type")))
    reads, wanted = family.modality if family else "text", form_of(spec.task.kind).modality
    if reads != wanted:
        mine, theirs = NOUNS[reads], NOUNS[wanted]
        return [
            f"{model}: a {settings.get('model_type')} reads {mine}, and task.kind {spec.task.kind} gives it "
            f"{theirs}; take a model of {theirs}, or a task of {mine}"
        ]
    if wanted == "image" and (wrong := _image_size(spec, settings)):
        return [wrong]
    if family and wanted == "audio" and spec.task.audio_seconds is None and family.fronts[0].strides == "conv_stride":
        return [f"task.audio_seconds: must be given for a {family.model_type}, which reads recordings of any length"]
    found = list(_words_needed(spec, model)) if cuts_words(spec.space) else []
    shape = _shape(settings, words=wanted == "text")
    if shape is None:
        return found
    try:
        bound(spec.policies, replace(shape, read=None) if _reads_every_token(spec) else shape)
    except ValueError as error:
        found.append(f"space {spec.space.name!r} does not fit the model: {error}")
    if wanted == "text" and (places := places_in(settings)) is not None:
        name, longest = str(settings.get("model_type")), spec.task.max_length
        problem = why_too_long(str(model), name, places, longest, spec.model.positions)
        found += [problem] if problem else []
    found += [*_windows_of_all(spec), *_tokens_compared(spec)] if wanted == "text" else []
    if spec.device != config.HOST and spec.workload.lengths == "padded" and wanted == "text":
        found += _unmeasured(spec, shape)
    return found


def _windows_of_all(spec: StudySpec) -> Iterator[str]:
    """Where every form of attention that a space may choose would see all of any text."""
    forms, longest = forms_in(spec.space), spec.task.max_length
    least = min((form.window if form.name in ("local", "sparse") else 0 for form in forms), default=0)
    if forms and least >= longest - 1:
        yield (
            f"space {spec.space.name!r}: replace_attention: a window of {least} sees all of at most {longest} tokens, "
            "which is full attention, and slower; take a smaller `window`, longer texts (`task.max_length`), or leave "
            "the step out"
        )


def _reads_every_token(spec: StudySpec) -> bool:
    return spec.task.kind in EVERY_TOKEN


def _tokens_compared(spec: StudySpec) -> Iterator[str]:
    """Where layers of a student would be compared with those of its teacher token by token, and it loses some."""
    if not keeps_in(spec.space):
        return
    told = [f"finalists.distillation.{name}" for name in PER_LAYER if getattr(spec.finalists.distillation, name)]
    steps = [step for step in spec.policies.steps if step.operator == Distill.name]
    told += [f"distill: {name}" for name in PER_LAYER if any({**one.knobs, **one.settings}.get(name) for one in steps)]
    if told:
        yield f"space {spec.space.name!r}: keep_tokens, beside {', '.join(told)}: {TOKENS_ARE_GONE}"


def _words_needed(spec: StudySpec, model: Path) -> Iterator[str]:
    """Where a space may take words that the task or the tokenizer cannot do without."""
    if form_of(spec.task.kind).targets == "tags":
        yield (
            f"space {spec.space.name!r}: prune_vocabulary: {spec.task.kind} learns and is judged by the first token of "
            "each word, which would be another one; leave the step out"
        )
    path = model / "tokenizer.json"
    if path.is_file() and (why := why_all_tokens(_kind_of(path))):
        yield f"space {spec.space.name!r}: prune_vocabulary: {why}; leave the step out"


def _kind_of(path: Path) -> object:
    """That of a tokenizer's model. What cannot be read is told when it is opened."""
    try:
        return json.loads(path.read_bytes())["model"].get("type", KINDS[-1])
    except (ValueError, KeyError, TypeError, AttributeError):
        return KINDS[-1]


def _of_model(spec: StudySpec) -> list[str]:
    path = _local(spec.model)
    if path is None:
        return []
    try:
        if not path.exists():
            return [_missing("model", path)]
        if getattr(spec.model, "convert", False):
            return []
        if problems := model_folder_problems(path):
            return problems
        tensor_shapes(path)
        if wrong := _other_content(spec.model, path):
            return [wrong]
        return misfits(spec, path)
    except AutocompressError as error:
        return str(error).splitlines()


def _of_texts(spec: StudySpec) -> Iterator[str]:
    form = form_of(spec.task.kind)
    data, unlabelled = spec.task.data, spec.finalists.transfer.texts
    files: dict[str, Path] = {}
    for name, asset in zip(data.parts, data.sources.values(), strict=True):
        path = _local(asset)
        if path is not None and not path.exists():
            yield _missing("task.data", path)
        elif path is not None and (wrong := _other_content(asset, path)):
            yield wrong
        elif path is not None:
            files[name] = path
    if files.keys() == data.parts.keys() and all(map(_is_small, files.values())):
        yield from _told(lambda: read_labelled(data, files, form.targets, form.modality))
    path = _local(unlabelled.source) if unlabelled else None
    if unlabelled is None or path is None:
        return
    if not path.exists():
        yield _missing("finalists.transfer.texts", path)
    elif _is_small(path):
        yield from _told(lambda: read_texts(unlabelled, path, seed=spec.seed))


def _told(read: Any) -> list[str]:
    """What a reader says against its file."""
    try:
        read()
    except AutocompressError as error:
        return str(error).splitlines()
    return []


def _unmeasured(spec: StudySpec, shape: ModelParts) -> list[str]:
    """What the device's profile does not know of the model, or of what the space may make of it."""
    profile = config.load_device(spec.device)
    try:
        predict = predictor_of(profile, hidden=shape.width, head_size=shape.head_size, workload=spec.workload)
    except ValueError as error:
        return [f"{error}; measure it with `autocompress profile`, or write `device: host`"]
    for one in some_of(spec, shape) if profile.tables else ():
        try:
            predict(one)
        except ValueError as error:
            return [f"device {profile.name!r}: {error}, or write `device: host`"]
    return []


def some_of(spec: StudySpec, shape: ModelParts) -> Iterator[ModelParts]:
    """What random policies make of a model; nothing where its space does not fit it, which is told elsewhere."""
    try:
        space = bound(spec.policies, shape)
    except ValueError:
        return
    generator, knobs = random.Random(0), space.knobs()
    for _ in range(_DRAWN):
        point = {name: draw(knob, generator) for name, knob in knobs.items()}
        try:
            yield effective(space.policy(lambda name, _, point=point: point[name]), shape)[1]  # type: ignore[misc]
        except CandidateError:
            continue


def _image_size(spec: StudySpec, settings: Mapping[str, Any]) -> str:
    """What is said of a size of images that the model's patches do not divide; empty where they do."""
    asked, patch = spec.task.image_size, settings.get("patch_size")
    if asked is None or not isinstance(patch, int) or patch < 1 or asked % patch == 0:
        return ""
    return f"task.image_size: must be a multiple of the model's patches of {patch} x {patch} pixels, got {asked}"


def _shape(settings: Mapping[str, Any], *, words: bool) -> ModelParts | None:
    """By a model's settings; None where they leave out what their family has a default for. Of one that reads no
    `words` the layers and the head."""
    found: dict[str, int] = {}
    for size, names in _SIZES.items():
        if size == "rows" and not words:
            continue
        value = next((settings[name] for name in names if name in settings), None)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            return None
        found[size] = value
    if found["layers"] > 1000 or found["hidden"] % found["heads"]:
        return None
    width, heads = found["hidden"], found["heads"]
    layers = (
        encoder_layer(index, width, heads=heads, head_size=width // heads, channels=found["width"])
        for index in range(found["layers"])
    )
    family = str(settings.get("model_type"))
    whole = encoder(width, layers, family=family, words=found.get("rows", 0), others=1, head=(2,))
    return whole if words else whole.without(frozenset({"embeddings"}))


def _local(asset: Asset) -> Path | None:
    if not asset.path:
        return None
    path = expanded(asset.path)
    return path / asset.member if asset.member else path


def _other_content(asset: Asset, path: Path) -> str:
    """What is said of a file or folder that is not the one whose hash a study gives; empty where it is."""
    if not asset.sha256 or (got := file_digest(path)) == asset.sha256:
        return ""
    return f"{path}: its SHA-256 is {got}, expected is {asset.sha256}; the study names another"


def _missing(key: str, path: Path) -> str:
    return f"{key}: {path}: no such file or folder; paths in a study are relative to the study's file"


def _is_small(path: Path) -> bool:
    files = [path] if path.is_file() else [inside for inside in path.rglob("*") if inside.is_file()]
    return sum(file.stat().st_size for file in files) <= _MOST_BYTES
